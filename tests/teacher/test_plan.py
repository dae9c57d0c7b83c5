"""Levels of difficulty: which features a plan has."""

from __future__ import annotations

import random

from synthagent.episodes.user import CONFIRM
from synthagent.teacher.plan import FEATURES, RULES, features_of, make_plan


def test_a_level_has_the_features_it_is_meant_to_have() -> None:
    draws = [features_of(level, random.Random(seed)) for level in (1, 2, 3) for seed in range(50)]
    assert {len(features) for features in draws[:50]} == {0}
    assert {len(features) for features in draws[50:100]} == {2, 3}
    assert set().union(*draws[50:100]) == set(FEATURES)
    assert set(draws[100:]) == {frozenset(FEATURES)}


def test_the_first_level_has_none_of_what_makes_the_third_hard() -> None:
    easy, hard = ([make_plan(level, random.Random(seed)) for seed in range(200)] for level in (1, 3))
    assert not any(p.decoy or p.receipt or p.contact or p.reports for p in easy)
    assert {p.rule for p in easy} == {"check", "confirm"}
    assert {p.turns_on for p in easy} == {"row", "consent"}
    assert all(p.decoy and p.reports for p in hard)
    assert {p.turns_on for p in hard} == {"row", "consent", "existence"}
    assert {p.rule for p in hard} == set(RULES)


def test_what_twins_differ_in_is_what_the_rule_looks_at() -> None:
    plans = [make_plan(level, random.Random(seed)) for level in (1, 2, 3) for seed in range(300)]
    for plan in plans:
        if plan.turns_on == "existence":
            assert plan.goal != "new"  # what is to be made is not there in either
        else:
            assert (plan.turns_on == "consent") == (plan.rule == CONFIRM)
    gone = [plan.turns_on == "existence" for plan in plans]
    assert 0.02 < sum(gone) / len(gone) < 0.2
