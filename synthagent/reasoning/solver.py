"""The embedded solver: a problem and a number -> a script that writes Python, runs it, reads what it printed, answers.

It errs at a rate. What is wrong is the reading of the text: of an attempt, so that another attempt answers otherwise;
or, more rarely, of the problem, so that all attempts agree on a wrong answer. As often as it misreads, an attempt makes
a mistake that Python tells of, and mends it.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence

from synthagent.episodes.episode import Episode
from synthagent.episodes.turn import ToolCall, Turn, turn_of
from synthagent.reasoning.code import broken, misread, programs
from synthagent.records import Message, Problem, Trajectory

_SHARED = 0.1  # of the rate: all attempts at a problem misread it alike
_FAILED = re.compile(r"^[\w.]*(Error|Exception|Interrupt)\b", re.MULTILINE)


def plan(problem: Problem, sample: int, error_rate: float, seed: int) -> tuple[str, ...]:
    """The programs of attempt `sample` at a problem: the next is run where one fails.

    There are none where its text does not say what to compute.
    """
    text, kind = problem.instruction, problem.kind
    right = programs(kind, text)
    if not right:
        return ()
    of_problem = random.Random(f"misread-{seed}-{problem.id}")
    rng = random.Random(f"solve-{seed}-{problem.id}-{sample}")
    ways = right
    if of_problem.random() < error_rate * _SHARED:
        ways = programs(kind, misread(kind, text, of_problem)) or right
    elif rng.random() < error_rate:
        ways = programs(kind, misread(kind, text, rng)) or right
    program = rng.choice(ways)
    first = (broken(program, rng),) if rng.random() < error_rate else ()
    return (*first, program, *(() if program in right else right[:1]))


def attempt(planned: Sequence[str], episode: Episode) -> Iterator[Turn]:
    """A script: run the programs until one does not fail, and answer what it printed."""
    for program in planned:
        yield Turn(calls=(ToolCall("python", {"code": program}),))
        printed = _printed(episode.messages[-1])
        if printed is not None:
            yield Turn(f"<answer>{printed}</answer>")
            return
    yield Turn("<answer></answer>")


def is_sound(problem: Problem, attempt: Trajectory) -> bool:
    """Whether the program that gave the answer is right, and the answer not so by luck."""
    calls = [call for message in attempt.messages if message["role"] == "assistant" for call in turn_of(message).calls]
    return bool(calls) and calls[-1].arguments["code"] in programs(problem.kind, problem.instruction)


def _printed(message: Message) -> str | None:
    """The last line that a call printed; None where it failed, or was stopped."""
    try:
        result = json.loads(message["content"])
        output, error = str(result["output"]).strip(), result.get("error")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return None if error or not output or _FAILED.search(output) else output.split("\n")[-1].strip()
