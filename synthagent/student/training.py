"""What both trainings share: quiet settings of TRL's configs, progress and log, and the checkpoint at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from synthagent.params import StudentParams
from synthagent.stage import progress
from synthagent.store import write_text
from synthagent.student.checkpoint import LOG
from synthagent.student.model import Student, save_student
from synthagent.student.processes import is_first

# Common to both: whatever device there is, nothing reported or saved on the side.
QUIET: dict[str, Any] = {
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
    "gradient_checkpointing": False,
    "bf16": False,
    "use_cpu": not torch.cuda.is_available(),
    "ddp_find_unused_parameters": False,
}


def settings_of(params: StudentParams) -> dict[str, Any]:
    """`QUIET`, and what the params say of memory and arithmetic."""
    return QUIET | {
        "gradient_checkpointing": params.gradient_checkpointing,
        "bf16": params.dtype == "bfloat16",
    }


def finish(student: Student, out: Path, log: Any) -> None:
    """Leave the student and the log of its training in `out`."""
    if is_first():
        save_student(student, out)
        write_text(out / LOG, json.dumps(log))


class Monitor(TrainerCallback):  # type: ignore[misc]
    """Shows progress, and keeps what the trainer logs."""

    def __init__(self, stage: str, total: int) -> None:
        self._bar = progress(range(total), total, stage) if is_first() else iter(())
        self.logs: list[dict[str, Any]] = []
        next(self._bar, None)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        next(self._bar, None)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        self.logs.append({**(logs or {}), "step": state.global_step})
