"""A small training by GRPO whose episodes a server writes, and what it earns, whatever it does."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from helpers.grpo import job_of
from synthagent.judging.reward import Score
from synthagent.params import LoraParams, Params
from synthagent.student import live
from synthagent.student.checkpoint import LOG
from synthagent.student.model import Student, load_student
from synthagent.student.processes import train

if TYPE_CHECKING:
    from synthagent.student.grpo import GrpoJob

LORA = LoraParams(rank=4, alpha=64, targets=("q_proj", "down_proj"))


def served_at(base_url: str, params: Params, wait_s: float = 30) -> Params:
    """Params by which the student is served, as `student`; `wait_s`: how long a server that is gone is waited for."""
    policy = params.roles.policy.model_copy(update={"base_url": base_url, "model": "student"})
    return params.model_copy(
        update={
            "grpo": params.grpo.model_copy(update={"generation": "served"}),
            "llm": params.llm.model_copy(update={"max_concurrency": 4, "timeout_s": 60}),
            "roles": params.roles.model_copy(update={"policy": policy}),
            "serve": params.serve.model_copy(update={"start_timeout_s": wait_s}),
        }
    )


def job_at(
    base_url: str, folder: Path, student: Student, steps: int, lora: LoraParams | None, processes: int = 1
) -> GrpoJob:
    """A training of a student that is served."""
    job = job_of(folder, student, steps, processes)
    params = served_at(base_url, job.params)
    return replace(job, params=params.model_copy(update={"student": params.student.model_copy(update={"lora": lora})}))


def run(job: GrpoJob, processes: int = 1) -> list[dict[str, Any]]:
    """The log of a training whose episodes earn something, so that something is learnt."""
    train(partial(_rewarded, job), processes)
    log: list[dict[str, Any]] = json.loads((job.out / LOG).read_text())
    return log


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_student(folder).model.state_dict()
    return found


def _rewarded(job: GrpoJob) -> None:
    earned = cycle((1.0, 0.0, 0.25))

    async def score_episode(*_: Any) -> Any:
        value = next(earned)
        return SimpleNamespace(score=Score(value, value, value, value, value))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "score_episode", score_episode)
        job()
