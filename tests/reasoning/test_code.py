"""The programs of the embedded solver print what reasoning-gym knows, from the text of the problem alone."""

from __future__ import annotations

import contextlib
import io
import random
from typing import Any

import pytest

from synthagent.reasoning.code import RECIPES, broken, misread, programs
from synthagent.reasoning.gym import pose
from synthagent.reasoning.weave import weave
from synthagent.records import Persona, Problem

pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed")
BAKER = Persona(id="p1", text="a baker who sails and counts 7 loaves", source="mine")


def printed(program: str) -> str:
    """What one of our own programs prints, or how it fails."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            exec(program, {})
        except Exception as error:
            return type(error).__name__
    return out.getvalue().strip()


def problems(kind: str, count: int) -> list[Problem]:
    posed = [problem for problem in pose({kind: 1.0}, {}, count, seed=3) if isinstance(problem, Problem)]
    return [weave(problem, BAKER, seed=3) for problem in posed]


def scored(problem: Problem, answer: str) -> Any:
    from reasoning_gym.factory import get_score_answer_fn

    score: Any = get_score_answer_fn(problem.kind)
    return score(answer, problem.provenance["entry"])


@pytest.mark.parametrize("kind", RECIPES)
def test_every_program_of_a_kind_earns_the_whole_point_from_the_scorer_of_its_source(kind: str) -> None:
    for problem in problems(kind, 12):
        written = programs(kind, problem.instruction)
        assert written, problem.instruction
        for program in written:
            assert scored(problem, printed(program)) == 1.0, (problem.instruction, program)


@pytest.mark.parametrize("kind", ["chain_sum", "gcd", "prime_factorization", "base_conversion", "spell_backward"])
def test_a_text_that_is_misread_mostly_gives_another_answer(kind: str) -> None:
    wrong = 0
    for number, problem in enumerate(problems(kind, 12)):
        text = misread(kind, problem.instruction, random.Random(number))
        wrong += any(scored(problem, printed(program)) < 1 for program in programs(kind, text)[:1])
    assert wrong >= 6


@pytest.mark.parametrize("kind", RECIPES)
def test_a_broken_program_fails_so_that_python_tells(kind: str) -> None:
    for number, problem in enumerate(problems(kind, 4)):
        program = broken(programs(kind, problem.instruction)[0], random.Random(number))
        assert printed(program) == "NameError"


def test_a_kind_without_a_recipe_and_a_text_without_the_question_have_no_program() -> None:
    assert programs("sokoban", "Calculate 1 + 1.") == ()
    assert programs("gcd", "How are you?") == ()


@pytest.mark.parametrize("text", ["'); import os; print('", "__import__('os').getcwd()", "\\", "'''"])
def test_words_of_a_text_are_quoted_in_a_program(text: str) -> None:
    question = f'How many times does the letter "a" appear in the text: "{text}"?'
    for program in programs("letter_counting", question):
        assert printed(program) == str(text.count("a"))
