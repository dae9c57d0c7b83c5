"""Natural tasks for tests: proposed by number, proved, acted in."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from helpers.projects import default_params
from synthagent.episodes.episode import Episode, play
from synthagent.episodes.scripted import Style, reference
from synthagent.judging.criteria import extract
from synthagent.judging.natural_proofs import NATURAL_PROOFS
from synthagent.judging.proofs import PROOFS
from synthagent.judging.reward import Score, score_world
from synthagent.records import Rejected, Rubric, Task
from synthagent.stages.personas import built_in
from synthagent.teacher.acceptance import accept, judge
from synthagent.teacher.natural.library import load_domains
from synthagent.teacher.natural.propose import propose_natural


def proposed(start: int, end: int) -> list[tuple[Task, ...]]:
    params, personas = default_params(), list(built_in())
    numbers = [range(number, number + 2) for number in range(start, end, 2)]
    groups = (propose_natural(two, personas, load_domains(), params.tasks, 0) for two in numbers)
    return [group for found in groups for group in found]


@cache
def judged() -> tuple[Task | Rejected, ...]:
    """Four hundred proposals and what became of them."""
    return tuple(accept(judge(group, (*PROOFS, *NATURAL_PROOFS)) for group in proposed(0, 400)))


def tasks(pattern: str | None = None) -> list[Task]:
    found = [row for row in judged() if isinstance(row, Task)]
    return [task for task in found if pattern in (None, task.provenance["pattern"])]


def acted(task: Task, style: Style | None = None) -> Episode:
    episode = Episode(task)
    return play(episode, reference(episode, style or Style()))


def calls_of(episode: Episode) -> list[list[dict[str, object]]]:
    """The calls of each turn that has any."""
    return [[call["function"] for call in m["tool_calls"]] for m in episode.messages if m.get("tool_calls")]


def score_of(task: Task, episode: Episode) -> Score:
    """What an episode earns by the rubric of the task."""
    rubric = Rubric(task_id=task.id, criteria=extract(task, Episode(task).world).criteria, coverage=1.0)
    return score_world(rubric, episode.world)


def pairs(pattern: str) -> Iterator[tuple[Task, Task]]:
    """The pairs of twins of a pattern."""
    known = {task.id: task for task in tasks(pattern)}
    yield from ((task, known[task.twin_of]) for task in known.values() if task.twin_of and task.id < task.twin_of)
