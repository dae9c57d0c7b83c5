"""The figures of how reliable verdicts are: repeats that contradict each other, and agreement beyond chance."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthagent.judging.agreement import Place, agreement, cohens_kappa, paired, score_variance, stability


def repeats(*rows: Sequence[bool | None]) -> dict[Place, Sequence[bool | None]]:
    return {Place(f"t{n}", "s1"): row for n, row in enumerate(rows)}


def test_flip_rate_is_the_share_of_criteria_that_are_not_unanimous() -> None:
    found = stability(repeats([True] * 4, [False] * 4, [True, True, False, False], [True, True, True, False]))
    assert (found.places, found.flip_rate) == (4, 0.5)
    # 2 of 2 differ in 4 of 6 pairs, 3 of 1 in 3 of 6.
    assert found.disagreement == pytest.approx((0 + 0 + 4 / 6 + 3 / 6) / 4)


def test_what_has_fewer_than_two_verdicts_says_nothing_about_stability() -> None:
    found = stability(repeats([True, None], [None, None], [True, None, False]))
    assert (found.places, found.flip_rate) == (1, 1)
    assert stability(repeats([True], [None])).flip_rate is None


def test_score_variance_is_the_mean_of_the_variances_of_repeats() -> None:
    assert score_variance([[1.0, 0.0], [0.5, 0.5, None], [1.0], [None, None]]) == pytest.approx(0.25)
    assert score_variance([[1.0]]) is None


def test_kappa_of_a_known_table() -> None:
    # Cohen's textbook case: 20 yes-yes, 15 no-no, 5 and 10 apart: observed .7, by chance .5.
    assert cohens_kappa(20, 15, 5, 10) == pytest.approx(0.4)
    assert cohens_kappa(5, 0, 0, 0) is None
    assert cohens_kappa(0, 0, 0, 0) is None
    assert cohens_kappa(0, 0, 3, 3) == pytest.approx(-1)


PAIRS = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40)


@given(PAIRS)
def test_agreement_counts_every_pair_and_does_not_depend_on_who_is_first(pairs: list[tuple[bool, bool]]) -> None:
    found, mirrored = agreement(pairs), agreement([(b, a) for a, b in pairs])
    assert found.n == found.both_passed + found.both_failed + found.only_first + found.only_second == len(pairs)
    assert (found.accuracy, found.kappa) == (mirrored.accuracy, mirrored.kappa)
    assert (found.only_first, found.only_second) == (mirrored.only_second, mirrored.only_first)
    if found.kappa is not None:
        assert -1 <= found.kappa <= found.accuracy <= 1  # type: ignore[operator]


@given(st.lists(st.booleans(), min_size=1))
def test_kappa_is_1_for_who_agrees_always_and_with_both_answers(verdicts: list[bool]) -> None:
    found = agreement([(verdict, verdict) for verdict in verdicts])
    assert found.accuracy == 1
    assert found.kappa == (1 if len(set(verdicts)) == 2 else None)


def test_only_places_that_both_know_are_compared_and_each_repeat_counts() -> None:
    found = paired(repeats([True, None, False], [True]), {Place("t0", "s1"): True, Place("t9", "s1"): True})
    assert found == [(True, True), (False, True)]
