"""A small training by GRPO, on two pairs of twins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from helpers.projects import default_params
from helpers.student import LIMITS
from helpers.tasks import accepted_tasks, rubric_of
from synthagent.params import Params
from synthagent.student.model import Student, save_student

if TYPE_CHECKING:
    from synthagent.student.grpo import GrpoJob

TASKS = {task.id: task for task in accepted_tasks()[:4]}
GROUP = 4


def params_of(steps: int) -> Params:
    """Two tasks a step."""
    params = default_params()
    grpo = params.grpo.model_copy(update={"steps": steps, "tasks_per_step": 2, "group_size": GROUP})
    compute = params.compute.model_copy(update={"processes": 1})
    episode = LIMITS.model_copy(update={"max_tokens": 120})
    return params.model_copy(update={"grpo": grpo, "compute": compute, "episode": episode})


def job_of(folder: Path, start: Student, steps: int, processes: int = 1) -> GrpoJob:
    """A training from `start` to `folder`: a pair of twins in one step, another in the next, and again."""
    from synthagent.student.grpo import GrpoJob  # trl takes seconds: not where the tests are only collected

    save_student(start, folder / "start")
    rubrics = {task.id: rubric_of(task) for task in TASKS.values()}
    order = [*TASKS] * -(-steps // 2)
    params = params_of(steps)
    params = params.model_copy(update={"compute": params.compute.model_copy(update={"processes": processes})})
    return GrpoJob(folder / "start", folder / "out", order, TASKS, rubrics, params, None)
