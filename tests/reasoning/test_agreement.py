"""Which problems are kept: asked once, scored by their source, and solved alike and rightly by all who tried."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthagent.reasoning.agreement import agreed, demonstrations, distinct, scorable, split_of
from synthagent.records import End, Problem, Rejected, Trajectory


def problem(number: int = 0, question: str = "6 * 7?", answer: str = "42", kind: str = "given") -> Problem:
    return Problem(
        id=f"problem-{number:07d}",
        persona_id="p",
        kind=kind,
        split="train",
        instruction=question,
        answer=answer,
        source="mine.jsonl",
        tools=("python",),
    )


def ended(answer: str | None, sample: int = 0, end: End = "answer", error: str | None = None) -> Trajectory:
    content = "" if answer is None else f"<answer>{answer}</answer>"
    return Trajectory(
        id=f"problem-0000000.teacher.{sample}",
        task_id="problem-0000000",
        policy="teacher",
        sample=sample,
        messages=({"role": "user", "content": "6 * 7?"}, {"role": "assistant", "content": content}),
        n_turns=1,
        n_tool_calls=0,
        n_questions=0,
        end=end,
        error=error,
    )


def test_a_problem_that_all_solve_rightly_is_kept_with_what_they_answered() -> None:
    kept = agreed(problem(), [ended("42"), ended("42.0"), ended("42")])
    assert isinstance(kept, Problem)
    assert kept.provenance["answers"] == {"42": 2, "42.0": 1}


@pytest.mark.parametrize(
    ("attempts", "reason", "said"),
    [
        ([ended("42"), ended("42"), ended("41")], "disagree", "'41' (1); the known one is '42'"),
        ([ended("41"), ended("43")], "disagree", "'43' (1)"),
        ([ended("41"), ended("41")], "wrong", "all attempts answer '41' (2); the known answer is '42'"),
        ([ended("42"), ended(None, end="turn_limit")], "unanswered", "1 of 2 attempts: turn_limit"),
        ([ended("42"), ended(None, end="error", error="teacher: refusal")], "unanswered", "teacher: refusal"),
        ([ended("42"), ended("")], "unanswered", "an empty answer"),
    ],
)
def test_a_problem_on_which_not_all_are_right_is_rejected_with_what_they_said(
    attempts: list[Trajectory], reason: str, said: str
) -> None:
    row = agreed(problem(), attempts)
    assert isinstance(row, Rejected)
    assert (row.id, row.stage, row.reason) == ("problem-0000000", "reasoning", reason)
    assert said in row.detail
    assert json.loads(row.payload)["provenance"]["answers"]


def test_without_attempts_a_problem_is_taken_as_it_is() -> None:
    assert isinstance(agreed(problem(), []), Problem)


def test_of_problems_that_ask_the_same_the_first_stays_and_none_whose_answers_differ() -> None:
    rows = distinct(
        [
            problem(0),
            problem(1, " 6  * 7?"),
            problem(2, "6 + 7?", "13"),
            problem(3, "who?", "Ann"),
            problem(4, "who?", "Bob"),
            problem(5, "6 * 7?", kind="other"),
        ]
    )
    assert [row.reason if isinstance(row, Rejected) else "kept" for row in rows] == [
        *("kept", "duplicate", "kept", "several_answers", "several_answers", "kept")
    ]


def test_mathematics_is_not_compared_by_words_alone() -> None:
    rows = distinct([problem(0, "7 - 6?", "1"), problem(1, "7 + 6?", "13")])
    assert all(isinstance(row, Problem) for row in rows)


def test_an_answer_that_its_scorer_does_not_take_is_rejected() -> None:
    pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed")
    entry = {"question": "", "answer": "1+1", "metadata": {"numbers": [8, 5, 10, 6]}}
    puzzle = problem(answer="1+1").model_copy(
        update={"source": "reasoning-gym:puzzle24", "provenance": {"entry": entry}}
    )
    row = scorable(puzzle)
    assert isinstance(row, Rejected)
    assert row.reason == "scorer"


@given(st.text(min_size=1, max_size=40), st.text(max_size=10))
@settings(max_examples=50, deadline=None)
def test_the_split_depends_on_what_is_asked_alone(question: str, answer: str) -> None:
    one = split_of(problem(0, question, answer), 0.5)
    other = split_of(problem(9, f" {question}\n", "7").model_copy(update={"persona_id": "q"}), 0.5)
    assert one.split == other.split
    assert split_of(one, 0.0).split == "train"
    assert split_of(one, 1.0).split == "heldout"


def test_attempts_with_the_same_messages_are_one_demonstration() -> None:
    attempts = [ended("42", 0), ended("42", 1), ended("42.0", 2)]
    assert [demo.sample for demo in demonstrations(attempts)] == [0, 2]
