"""What the report counts of tasks and rubrics while it reads them once, and which of them it keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from synthagent.records import Rubric, Task


@dataclass(frozen=True, slots=True)
class TaskCounts:
    """How many tasks there are of each domain, split, level and number of tools, and with each tool."""

    domains: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    levels: Counter[int] = field(default_factory=Counter)
    sizes: Counter[int] = field(default_factory=Counter)
    tools: Counter[str] = field(default_factory=Counter)
    kept: dict[str, Task] = field(default_factory=dict)
    twins: dict[str, str] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.domains.values())


@dataclass(frozen=True, slots=True)
class RubricCounts:
    """How many rubrics, criteria, and criteria that a check decides."""

    total: int
    criteria: int
    decidable: int
    kept: dict[str, Rubric]


def count_tasks(tasks: Iterable[Task], wanted: Container[str]) -> TaskCounts:
    """Count the tasks, one after the other, and keep the wanted ones."""
    counts = TaskCounts()
    for task in tasks:
        counts.domains[task.domain] += 1
        counts.splits[task.split] += 1
        counts.levels[task.difficulty] += 1
        counts.sizes[len(task.tools)] += 1
        counts.tools.update(tool.name for tool in task.tools)
        if task.twin_of:
            counts.twins[task.id] = task.twin_of
        if task.id in wanted:
            counts.kept[task.id] = task
    return counts


def count_rubrics(rubrics: Iterable[Rubric], wanted: Container[str]) -> RubricCounts:
    """Count the criteria of each rubric, and keep the rubrics of the wanted tasks."""
    total, decidable, kept = list[int](), 0, dict[str, Rubric]()
    for rubric in rubrics:
        total.append(len(rubric.criteria))
        decidable += sum(c.check is not None for c in rubric.criteria)
        if rubric.task_id in wanted:
            kept[rubric.task_id] = rubric
    return RubricCounts(len(total), sum(total), decidable, kept)
