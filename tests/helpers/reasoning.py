"""Problems for tests, and the sandbox that this machine has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from helpers.projects import default_params
from synthagent.episodes.episode import Episode
from synthagent.episodes.real_tools import RealEnvironment, real_environment, task_of
from synthagent.episodes.turn import ToolCall, Turn
from synthagent.params import Params
from synthagent.records import Problem
from synthagent.sandbox import available


def params_here(**python: Any) -> Params:
    """The default params, with the strongest isolation that can be had here."""
    params = default_params()
    isolation = next(name for name in ("bubblewrap", "rlimits", "none") if available(name) is None)
    limits = params.reasoning.python.model_copy(update={"isolation": isolation, **python})
    return params.model_copy(update={"reasoning": params.reasoning.model_copy(update={"python": limits})})


def problem(number: int = 0, **changes: Any) -> Problem:
    """What is 6 * 7?"""
    given = {
        "id": f"problem-{number:07d}",
        "persona_id": "persona-0",
        "kind": "given",
        "split": "train",
        "instruction": f"What is {6 + number} * 7?",
        "answer": str((6 + number) * 7),
        "source": "mine.jsonl",
        "tools": ("python",),
    }
    return Problem(**(given | changes))


@contextmanager
def environment(at_once: int = 2, names: tuple[str, ...] = ("python",), **python: Any) -> Iterator[RealEnvironment]:
    """What answers in so many episodes at once."""
    with real_environment(params_here(**python).reasoning, names, at_once, preloaded=()) as answering:
        yield answering


def run(code: str) -> Turn:
    """The turn that has some code run."""
    return Turn(calls=(ToolCall("python", {"code": code}),))


def answer(text: str) -> Turn:
    return Turn(f"<answer>{text}</answer>")


def episode_of(answering: RealEnvironment, *turns: Turn, **changes: Any) -> Episode:
    """An episode of the problem in which these turns were taken."""
    episode = Episode(task_of(problem(**changes)), answering)
    for turn in turns:
        episode.step(turn)
    return episode
