"""Which problems are kept: no two ask the same, and all who solved one agree on its answer, which is the known one.

Problems and the episodes of their solver -> problems with their split and what was answered, or rejected rows.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from synthagent.episodes.turn import turn_of
from synthagent.reasoning.answers import same, scores_itself
from synthagent.records import Problem, Rejected, Trajectory


@dataclass(frozen=True, slots=True)
class Solved:
    """A problem as it was solved, the attempts at it, and those of them that may be shown to a student if right."""

    problem: Problem
    attempts: tuple[Trajectory, ...]
    shown: tuple[Trajectory, ...]


def distinct(rows: Iterable[Problem | Rejected]) -> list[Problem | Rejected]:
    """The rows; of problems that ask the same the first stays, and none of those whose answers differ."""
    found = list(rows)
    answers: dict[str, dict[str, str]] = {}  # what is asked -> an answer -> the first problem that has it
    for row in found:
        if isinstance(row, Problem):
            answers.setdefault(_asked(row), {}).setdefault(row.answer, row.id)
    return [_one_of(row, answers[_asked(row)]) if isinstance(row, Problem) else row for row in found]


def _asked(problem: Problem) -> str:
    """What a problem asks: all its characters count, since in mathematics they do."""
    return f"{problem.kind} {' '.join(problem.instruction.split())}"


def _one_of(problem: Problem, answers: dict[str, str]) -> Problem | Rejected:
    if len(answers) > 1:
        others = ", ".join(f"{answer!r} of {id}" for answer, id in list(answers.items())[:3])
        return rejected(problem, "several_answers", f"the same question has the answers {others}"[:500])
    first = answers[problem.answer]
    return problem if first == problem.id else rejected(problem, "duplicate", f"asks the same as {first}")


def scorable(problem: Problem) -> Problem | Rejected:
    """The problem, if its own answer is right to whoever compares answers to it."""
    if scores_itself(problem):
        return problem
    return rejected(problem, "scorer", f"its scorer does not take the known answer {problem.answer!r} for right"[:500])


def split_of(problem: Problem, heldout_share: float) -> Problem:
    """The problem with its split, by what it asks: the same in every run."""
    heldout = random.Random(f"reasoning-split-{_asked(problem)}").random() < heldout_share
    return problem.model_copy(update={"split": "heldout" if heldout else "train"})


def agreed(problem: Problem, attempts: Sequence[Trajectory]) -> Problem | Rejected:
    """The problem, if all attempts gave the same answer and it is right."""
    answers = [answer_of(trajectory) for trajectory in attempts]
    told = Counter("" if answer is None else answer for answer in answers)
    problem = problem.model_copy(update={"provenance": {**problem.provenance, "answers": dict(sorted(told.items()))}})
    faults = [_fault(trajectory) for trajectory in attempts if not answer_of(trajectory)]
    if faults:
        return rejected(
            problem, "unanswered", f"{len(faults)} of {len(attempts)} attempts: {', '.join(sorted(set(faults)))}"
        )
    right = {answer: same(problem, answer) for answer in told}
    if all(right.values()):
        return problem
    others = ", ".join(f"{answer!r} ({count})" for answer, count in told.most_common(4))[:400]
    if len(told) > 1:
        return rejected(problem, "disagree", f"answers {others}; the known one is {problem.answer!r}"[:500])
    return rejected(problem, "wrong", f"all attempts answer {others}; the known answer is {problem.answer!r}"[:500])


def answer_of(trajectory: Trajectory) -> str | None:
    """What an episode ended with; None where it ended otherwise."""
    return turn_of(trajectory.messages[-1]).answer if trajectory.end == "answer" else None


def _fault(trajectory: Trajectory) -> str:
    """Why an episode has no answer."""
    return trajectory.error or ("an empty answer" if trajectory.end == "answer" else trajectory.end)


def demonstrations(attempts: Sequence[Trajectory]) -> list[Trajectory]:
    """The attempts, of those with the same messages the first."""
    return [attempt for n, attempt in enumerate(attempts) if attempt.messages not in [a.messages for a in attempts[:n]]]


def rejected(problem: Problem, reason: str, detail: str) -> Rejected:
    """The row of a problem that is not kept."""
    return Rejected(id=problem.id, stage="reasoning", reason=reason, detail=detail, payload=problem.model_dump_json())
