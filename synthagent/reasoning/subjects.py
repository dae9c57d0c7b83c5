"""What episodes are of: a run's folder, ids -> tasks, and problems as the tasks that they are to a policy; rubrics."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from synthagent.episodes.real_tools import task_of
from synthagent.errors import StoreError
from synthagent.reasoning.reward import rubric_of
from synthagent.records import Problem, Rubric, Task
from synthagent.stage import Paths
from synthagent.store import find_records
from synthagent.text import visible


@dataclass(frozen=True, slots=True)
class Subjects:
    """Tasks by their ids, problems among them, and the rubrics that are there."""

    tasks: dict[str, Task]
    rubrics: dict[str, Rubric]


def read_subjects(data: Path, names: Collection[str]) -> Subjects:
    """Those of these ids, from a run's `data`.

    Raises:
        StoreError: one is in no dataset, or a dataset cannot be read.
    """
    wanted, tasks_file, problems_file = set(names), data / Paths.tasks.name, data / Paths.reasoning.name
    tasks = {task.id: task for task in find_records(tasks_file, Task, wanted)}
    left = wanted - tasks.keys()
    problems = list(find_records(problems_file, Problem, left)) if left and problems_file.exists() else []
    tasks |= {problem.id: task_of(problem) for problem in problems}
    if strange := sorted(wanted - tasks.keys()):
        raise StoreError(f"{tasks_file}: lacks the task {visible(strange[0])} of an episode; run `dvc repro`")
    rubrics = {rubric.task_id: rubric for rubric in find_records(data / Paths.rubrics.name, Rubric, wanted)}
    return Subjects(tasks, rubrics | {problem.id: rubric_of(problem) for problem in problems})
