"""Figures of a suite: with intervals, and such that refusing everything, or calling always, leads nowhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import combinations

import pytest

from synthagent.suites.bfcl import BFCL
from synthagent.suites.run import Result
from synthagent.suites.scores import Figure, details, figures_in, figures_of, harmonic, pass_hat, printed


def made(category: str, scores: Sequence[float], called: Sequence[bool], failed: str | None = None) -> list[Result]:
    return [
        Result(id=f"{category}_{i}", category=category, score=score, called=calls, steps=1, failed=failed)
        for i, (score, calls) in enumerate(zip(scores, called, strict=True))
    ]


def figure(figures: Sequence[Figure], category: str) -> Figure:
    (found,) = (figure for figure in figures if figure.category == category)
    return found


def test_who_refuses_everything_and_who_calls_always_have_nothing_where_nothing_is_to_be_called() -> None:
    never = made("simple_python", [0] * 20, [False] * 20) + made("irrelevance", [1] * 20, [False] * 20)
    always = made("simple_python", [1] * 20, [True] * 20) + made("irrelevance", [0] * 20, [True] * 20)
    for rows, refused, calls in ((never, 1.0, 0.0), (always, 0.0, 1.0)):
        found = figure(figures_of(BFCL, "p", rows, 0), "irrelevance")
        assert found.lead is not None
        assert (found.lead.mean, found.refused, found.calls) == (0.0, refused, calls)


def test_the_harmonic_mean_lies_in_its_interval_and_is_the_share_where_both_are_the_same() -> None:
    found = harmonic([1.0] * 50 + [0.0] * 50, [1.0] * 50 + [0.0] * 50, 0)
    assert found.mean == pytest.approx(0.5)
    assert 0.35 < found.low < 0.5 < found.high < 0.65
    assert harmonic([1.0, 1.0], [1.0], 0).mean == 1.0


def test_without_a_category_in_which_calls_are_right_nothing_leads() -> None:
    found = figure(figures_of(BFCL, "p", made("irrelevance", [1, 1], [False, False]), 0), "irrelevance")
    assert (found.lead, found.calls) == (None, None)
    assert any("a call where one is right not run" in line for line in printed(BFCL, [found]))


def test_live_irrelevance_is_held_against_the_live_categories_only() -> None:
    rows = (
        made("simple_python", [1], [True])
        + made("live_multiple", [0, 0], [False, False])
        + made("live_irrelevance", [1], [False])
    )
    assert figure(figures_of(BFCL, "p", rows, 0), "live_irrelevance").calls == 0.0


def test_failures_are_counted_by_their_kind() -> None:
    rows = made("multiple", [0, 0], [False, False], "policy: too_long: 9,000 tokens and 512 to write, of 8,192")
    rows += made("multiple", [0], [False], "its worker died")
    found = figure(figures_of(BFCL, "p", rows, 0), "multiple")
    assert found.failed == {"policy: too_long": 2, "its worker died": 1}
    assert "failed: policy: too_long (2), its worker died (1)" in "\n".join(printed(BFCL, [found]))


def test_figures_are_the_same_after_they_were_stored() -> None:
    rows = made("simple_python", [1, 0], [True, True]) + made("irrelevance", [1, 0], [False, True])
    figures = figures_of(BFCL, "p", rows, 0)
    stored = json.loads(json.dumps(details(figures)))
    assert printed(BFCL, figures_in(stored)) == printed(BFCL, figures)


def trials(*problems: Sequence[float]) -> list[Result]:
    """Results of problems, of each its trials' scores."""
    return [
        Result(id=f"p{i}", category="multiple", trial=trial, score=score, called=True, steps=1)
        for i, scores in enumerate(problems)
        for trial, score in enumerate(scores)
    ]


def test_pass_hat_k_is_the_share_of_choices_of_k_trials_that_are_all_right() -> None:
    problems = [(1, 1, 0, 1), (0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 0, 0)]
    for k, found in enumerate(pass_hat(trials(*problems), 4, 0), start=1):
        chosen = [[all(choice) for choice in combinations(scores, k)] for scores in problems]
        assert found.mean == pytest.approx(sum(sum(some) / len(some) for some in chosen) / 4)
        assert found.low <= found.mean <= found.high


def test_trials_of_a_problem_are_drawn_together_and_the_score_is_the_mean_of_all() -> None:
    (found,) = figures_of(BFCL, "p", trials((1, 1), (0, 0), (1, 0)), 0)
    assert found.lead is not None
    assert (found.n, found.trials, found.lead.mean) == (3, 2, 0.5)
    assert (found.lead.low, found.lead.high) == (0.0, 1.0)
    assert [round(each.mean, 3) for each in found.passes] == [0.5, 0.333]
    assert any("pass^2 33.3 [0.0, 100.0]" in line for line in printed(BFCL, [found]))
    assert figures_in(json.loads(json.dumps(details([found]))))[0].passes[1].mean == pytest.approx(0.3333)


def test_a_score_that_is_not_whole_is_no_pass() -> None:
    assert [each.mean for each in pass_hat(trials((0.5, 1.0)), 2, 0)] == [0.5, 0.0]


def test_what_others_have_published_stands_below_only_for_what_was_run() -> None:
    lines = printed(BFCL, figures_of(BFCL, "p", made("multiple", [1], [True]), 0))
    (qwen,) = (line for line in lines if "Qwen3-0.6B" in line)
    assert qwen == "  Qwen3-0.6B: multiple 86"
    assert any(line.startswith("published: official board") and "harness: " in line for line in lines)
