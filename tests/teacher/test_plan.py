"""Levels of difficulty: which features a plan has."""

from __future__ import annotations

import random

from synthagent.teacher.plan import FEATURES, RULES, features_of, make_plan


def test_a_level_has_the_features_it_is_meant_to_have() -> None:
    draws = [features_of(level, random.Random(seed)) for level in (1, 2, 3) for seed in range(50)]
    assert {len(features) for features in draws[:50]} == {0}
    assert {len(features) for features in draws[50:100]} == {2, 3}
    assert set().union(*draws[50:100]) == set(FEATURES)
    assert set(draws[100:]) == {frozenset(FEATURES)}


def test_the_first_level_has_none_of_what_makes_the_third_hard() -> None:
    easy, hard = ([make_plan(level, random.Random(seed)) for seed in range(200)] for level in (1, 3))
    assert not any(p.decoys or p.missing or p.receipt or p.contact or p.reports for p in easy)
    assert {p.rule for p in easy} == {"check", "confirm"}
    assert all(p.decoys and p.reports for p in hard)
    assert any(p.missing for p in hard)
    assert {p.rule for p in hard} == set(RULES)
