"""When an answer is right: by the source's scorer, as a number, as words or as mathematics; whatever a model wrote."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from synthagent.isolation import unavailable
from synthagent.reasoning.answers import EVALUATED, equal, same, scores_itself
from synthagent.records import Problem

pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed")


def of_gym(kind: str, answer: str, **metadata: Any) -> Problem:
    entry = {"question": "", "answer": answer, "metadata": metadata}
    return given(answer, f"reasoning-gym:{kind}", entry=entry)


def given(answer: str, source: str = "mine.jsonl", **provenance: Any) -> Problem:
    return Problem(
        id="problem-0000001",
        persona_id="",
        kind="given",
        split="train",
        instruction="?",
        answer=answer,
        source=source,
        tools=("python",),
        provenance=provenance,
    )


PUZZLE = of_gym("puzzle24", "10*(8 - 5) - 6", numbers=[8, 5, 10, 6])


@pytest.mark.parametrize(
    ("problem", "answer", "right"),
    [
        (of_gym("gcd", "4"), "4", True),
        (of_gym("gcd", "4"), " 4\n", True),
        (of_gym("gcd", "4"), "4.0", False),  # its scorer compares letter by letter
        (of_gym("chain_sum", "1000"), "+1,000.00", True),  # this one compares numbers
        (of_gym("chain_sum", "1000"), "1001", False),
        (of_gym("prime_factorization", "2 \N{MULTIPLICATION SIGN} 3"), "3 \N{MULTIPLICATION SIGN} 2", True),
        (of_gym("prime_factorization", "2 \N{MULTIPLICATION SIGN} 3"), "6", False),  # half a point is none
        (PUZZLE, "(8 - 5) * 10 - 6", True),
        (PUZZLE, "24", False),
        (PUZZLE, "", False),
    ],
)
def test_the_scorer_of_a_source_decides_and_only_the_whole_point_counts(
    problem: Problem, answer: str, right: bool
) -> None:
    assert same(problem, answer) is right


@pytest.mark.parametrize(
    ("truth", "answer", "right"),
    [
        ("27.0", "27", True),
        ("1,234", "1234", True),
        ("-5", "5", False),
        ("12", "1 2", False),
        ("12", "1/2", False),
        ("1/2", "0.5", True),
        (r"\frac{1}{2}", r"\boxed{\frac12}", True),
        (r"\sqrt{8}", r"2\sqrt{2}", True),
        ("(x+1)^2", "x^2 + 2x + 1", True),
        ("(x+1)^2", "x^2 + 1", False),
        ("Paris", "paris.", True),
        ("The Nile", "nile", True),
        ("Paris", "Paris, Texas", False),
        ("33", "$33$", True),
        ("5", "no idea", False),
        ("24", "x = 24", True),
        ("24", "24 apples", True),
        ("24", "23, 24", False),
        ("24", "23 or 24", False),
        ("24", "23 = 24", False),
        ("24", "23\n24", False),
        ("24", "$23$ $24$", False),
        ("24", r"\boxed{23} \boxed{24}", False),
    ],
)
def test_answers_of_a_file_are_compared_as_numbers_words_or_mathematics(truth: str, answer: str, right: bool) -> None:
    assert same(given(truth), answer) is right


def test_each_of_several_names_for_one_thing_is_right() -> None:
    problem = given("politician", aliases=["political leader"])
    assert same(problem, "Political leader")
    assert not same(problem, "baker")


@pytest.mark.skipif(bool(unavailable()), reason=unavailable())
def test_an_answer_that_a_scorer_would_evaluate_reaches_nothing(tmp_path: Path) -> None:
    """`puzzle24` parses the answer with sympy, which evaluates it."""
    assert "puzzle24" in EVALUATED
    mark = tmp_path / "mark"
    attack = f"__import__('pathlib').Path({str(mark)!r}).touch() or 24"
    assert not same(PUZZLE, attack)
    assert not same(given("24"), attack)
    assert not mark.exists()


@pytest.mark.parametrize("answer", ["9**9**9**9", "(" * 3000, "9" * 3999, "\x00", "\ud800", "x" * 5000, "1+" * 1500])
def test_an_answer_that_would_take_for_ever_is_wrong_and_the_next_is_judged(answer: str) -> None:
    before = time.monotonic()
    assert not same(PUZZLE, answer)
    assert not same(given("1/2"), answer)
    assert time.monotonic() - before < 60  # a bound, since without one this would not end
    assert same(PUZZLE, "10 * (8 - 5) - 6")


def test_a_process_that_was_forked_asks_a_scorer_of_its_own() -> None:
    assert equal("1/2", "0.5")
    child = os.fork()
    if child == 0:
        os._exit(0 if equal("1/2", "2/4") and not equal("1/2", "3/4") else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert equal("1/4", "0.25")


def test_a_source_whose_scorer_does_not_take_its_own_answer_is_found_out() -> None:
    assert scores_itself(PUZZLE)
    assert not scores_itself(of_gym("puzzle24", "1+1", numbers=[8, 5, 10, 6]))
