"""What an evaluation says of problems: shares of right answers by kind and policy, and what GRPO gained."""

from __future__ import annotations

import pytest
from helpers.evaluations import evaluation, solved

from synthagent.showing.kinds import details_of_kinds, headline_of_kinds, printed_kinds, right_by_kind
from synthagent.showing.statistics import summarise

ROWS = [
    *evaluation(),
    *solved("sft", "gcd", 0, [1, 0, 0, 0]),
    *solved("sft", "gcd", 0, [1, 1, 0, 0], decoding="greedy"),
    *solved("sft", "lcm", 4, [0, 0], gate=0.0),
    *solved("grpo", "gcd", 0, [1, 1, 1, 0]),
    *solved("grpo", "lcm", 4, [0, 1]),
]


def test_right_answers_are_counted_by_kind_and_policy_and_over_all_kinds() -> None:
    board = right_by_kind(ROWS, 0)
    assert board is not None
    found = {(line.kind, line.policy): line for line in board.rows}
    assert [*found] == [(kind, policy) for kind in ("all", "gcd", "lcm") for policy in ("sft", "grpo")]
    sft, grpo = found["all", "sft"], found["all", "grpo"]
    assert (sft.n, sft.right.mean, sft.greedy) == (6, pytest.approx(1 / 6), 0.5)
    assert sft.over_limit == pytest.approx(1 / 3)
    assert (grpo.right.mean, grpo.greedy, grpo.over_limit) == (pytest.approx(4 / 6), None, 0)
    assert board.gained is not None
    assert board.gained.mean == pytest.approx(0.5)
    assert board.gained.low <= 0.5 <= board.gained.high


def test_a_policy_that_always_answers_alike_stands_above_the_students() -> None:
    board = right_by_kind([*ROWS, *solved("constant", "gcd", 0, [1, 0, 0, 1], decoding="scripted")], 0)
    assert board is not None
    found = [(line.kind, line.policy, line.right.mean) for line in board.rows if line.kind != "lcm"]
    assert found[0] == ("all", "constant", 0.5)
    assert ("gcd", "constant", 0.5) in found
    assert "constant: always the commonest answer of a kind's train problems" in [*printed_kinds(board)]


def test_details_headlines_and_lines_say_the_same() -> None:
    board = right_by_kind(ROWS, 0)
    assert board is not None
    kinds = details_of_kinds(board)["kinds"]
    assert kinds["gcd"]["grpo"]["right"] == 0.75
    assert headline_of_kinds(board) == {"reasoning_sft": 0.1667, "reasoning_grpo": 0.6667}
    lines = [*printed_kinds(board)]
    assert [line.split()[:4] for line in lines if line.startswith("gcd")] == [
        ["gcd", "sft", "4", "0.250"],
        ["gcd", "grpo", "4", "0.750"],
    ]
    assert lines[-1].startswith("grpo - sft on problems: +0.500 [")


def test_without_problems_there_is_nothing_to_say() -> None:
    assert right_by_kind(evaluation(), 0) is None
    assert headline_of_kinds(None) == {}
    assert [*printed_kinds(None)] == []


def test_problems_are_never_averaged_with_tasks() -> None:
    assert summarise(ROWS, 0) == summarise(evaluation(), 0)
