"""What both trainings share: quiet settings of TRL's configs, progress, checkpoints, and the student at the end."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast
from safetensors import SafetensorError
from transformers import PrinterCallback, Trainer, TrainerCallback

from synthagent.errors import StoreError, SynthAgentError
from synthagent.params import StudentParams
from synthagent.stage import progress, say
from synthagent.store import write_text
from synthagent.student.attention import fast_attention
from synthagent.student.checkpoint import LOG
from synthagent.student.machine import arithmetic, keep_memory, uses_liger
from synthagent.student.memory import memory_told
from synthagent.student.model import Student, save_student
from synthagent.student.processes import is_first
from synthagent.student.resume import AT_ONCE, Checkpoints, last_sealed, seal, step_of
from synthagent.student.trainable import student_to_save
from synthagent.student.watch import LiveTable, Log, Watch, figures_of, line_of

_SHARE = 50  # of the time, at most one part in so many goes into checkpoints


def settings_of(params: StudentParams) -> dict[str, Any]:
    """Of TRL's configs, common to both: nothing reported, nothing saved but when `_When` says so, whatever device."""
    return {
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": not torch.cuda.is_available(),
        "ddp_find_unused_parameters": False,
        "gradient_checkpointing": params.gradient_checkpointing,
        "bf16": arithmetic(params) is torch.bfloat16,
        "use_liger_kernel": uses_liger(params),
    }


def finish(student: Student | None, params: StudentParams, out: Path, log: Any) -> None:
    """Leave the student, as it is kept, and the log of its training in `out`. None: another process has it."""
    if student is not None and is_first():
        save_student(student_to_save(student, params), out)
        write_text(out / LOG, json.dumps(log))


@dataclass(frozen=True, slots=True)
class Course:
    """How a training is run. `score`: of its log, higher is better. `lower`: what to lower where it diverges.

    `updates`: how often the weights move in a step; the Trainer calls each of these a step. `spare`: what to do where
    memory does not suffice.
    """

    stage: str
    steps: int
    checkpoints: Checkpoints | None
    optimizer: Callable[[Any], torch.optim.Optimizer]
    score: Callable[[Log], float]
    lower: str
    spare: str
    watch: Watch
    updates: int = 1


class Resumable(Trainer):  # type: ignore[misc]
    """Mixed into TRL's trainers: saves whole checkpoints or none, goes on from them, and stops where it diverges."""

    course: Course
    optimizer: torch.optim.Optimizer | None
    _told = False

    def run(self, course: Course) -> Log:
        """Train, from the checkpoint that the course names if there is one; return the log of all steps."""
        self.course = course
        self.remove_callback(PrinterCallback)
        self.add_callback(_Monitor(course))
        start = None
        if course.checkpoints:
            self._say_what_they_take(course.checkpoints)
            self.add_callback(_When(course.checkpoints.minutes))
            start = str(course.checkpoints.start) if course.checkpoints.start else None
        keep_memory()
        with memory_told(course.stage, course.spare), fast_attention(self.model):
            self.train(resume_from_checkpoint=start)
        log: Log = self.state.log_history
        return log

    def create_optimizer(self, model: Any = None) -> Any:
        """The course's: where weights are shared out, the Trainer takes none that was made before."""
        if self.optimizer is None:
            self.optimizer = self.course.optimizer(self.model if model is None else model)
        return self.optimizer

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """None: TRL would write one with each checkpoint."""

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """A step; raises SynthAgentError where its loss is not finite, before it changes anything."""
        loss = super().training_step(*args, **kwargs)
        self._check("loss", loss)
        return loss

    def _clip_grad_norm(self, model: Any) -> Any:
        norm = super()._clip_grad_norm(model)
        self._check("gradient", norm)
        return norm

    def _check(self, what: str, value: Any) -> None:
        if torch.isfinite(torch.as_tensor(value)).all():
            return
        kept = self.course.checkpoints and last_sealed(self.course.checkpoints.folder)
        left = f"the checkpoint of step {step_of(kept)} is kept ({kept})" if kept else "there is no checkpoint yet"
        raise SynthAgentError(
            f"{self.course.stage}: the {what} of step {self.state.global_step + 1} is not finite; "
            f"lower {self.course.lower} in params.yaml; {left}"
        )

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        assert self.course.checkpoints
        folder = self.course.checkpoints.folder / f"checkpoint-{self.state.global_step}"
        fault = _tried(lambda: super(Resumable, self)._save_checkpoint(model, trial))
        failed = torch.tensor([int(fault is not None)], device=self.args.device)
        any_failed = bool(self.accelerator.gather(failed).any())  # all have written, or given up
        if is_first():
            if not any_failed:
                fault = _tried(lambda: seal(folder, self.course.score(self.state.log_history)))
            if fault or any_failed:
                shutil.rmtree(folder, ignore_errors=True)
                self._tell(folder, fault)
        self.accelerator.wait_for_everyone()

    def _tell(self, folder: Path, fault: str | None) -> None:
        """Say once that nothing could be saved: a checkpoint is a safety net, and no reason to lose the training."""
        if self._told:
            return
        self._told = True
        last = last_sealed(folder.parent)
        there = f"that of step {step_of(last)} is unchanged" if last else "there is none yet"
        say(
            f"{self.course.stage}: {folder}: cannot be written: {fault or 'a process failed'}; make room, or set "
            f"compute.checkpoint_minutes to null; training goes on, and of its checkpoints {there}"
        )

    def _say_what_they_take(self, checkpoints: Checkpoints) -> None:
        """Weights, and of what is trained at most twice as much again, for the optimizer."""
        if not is_first():
            return
        parameters = [(p.numel() * p.element_size(), p.requires_grad) for p in self.model.parameters()]
        size = sum(size * (3 if trained else 1) for size, trained in parameters) / 1e6
        there = next(path for path in (checkpoints.folder, *checkpoints.folder.parents) if path.exists())
        say(
            f"{self.course.stage}: checkpoints of at most {size:.1f} MB, {AT_ONCE} at once, in {checkpoints.folder} "
            f"({shutil.disk_usage(there).free / 1e6:,.0f} MB are free); removed at the end"
        )


class _When(TrainerCallback):  # type: ignore[misc]
    """Has a checkpoint saved after so many minutes, at a step that is logged, lest a part of a loss be lost.

    The first process's clock decides for all. Saving draws no random number: when it happens changes nothing else.
    """

    def __init__(self, minutes: float) -> None:
        self._seconds = 60 * minutes
        self._next = time.monotonic() + self._seconds
        self._began = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % args.logging_steps or state.global_step >= state.max_steps:
            return
        due = torch.tensor([time.monotonic() >= self._next], dtype=torch.uint8, device=args.device)
        control.should_save = control.should_save or self._seconds == 0 or bool(broadcast(due).item())
        self._began = time.monotonic()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        now = time.monotonic()
        self._next = now + max(self._seconds, _SHARE * (now - self._began))


class _Monitor(TrainerCallback):  # type: ignore[misc]
    """Shows progress, and what is watched: behind a bar on a terminal, else on a line for each step that is logged."""

    def __init__(self, course: Course) -> None:
        self._course, self._figures, self._before = course, "", 0
        self._on_terminal = sys.stdout.isatty() and sys.stderr.isatty()
        self._table: LiveTable | None = None
        steps = course.steps
        self._bar = progress(range(steps), steps, course.stage, lambda: self._figures) if is_first() else iter(())
        next(self._bar, None)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for _step in range(state.global_step // self._course.updates):  # of before it went on
            next(self._bar, None)
        self._before = state.global_step
        if is_first():
            live = self._course.watch.live
            before = state.global_step // self._course.updates
            self._table = LiveTable(live and live / f"{self._course.stage}.csv", before)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not control.should_log and self._course.updates == 1:  # the bar of a step that is logged waits for that
            next(self._bar, None)

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        watch, log = self._course.watch, state.log_history
        row = watch.row(log) if self._table else None
        if self._table is None or row is None:
            return
        row = self._table.timed(row, watch.tokens([entry for entry in log if entry["step"] > self._before]))
        if row.get("pair_rate") is None:  # that of the last probe stays in sight
            row["pair_rate"] = next((e["pair_rate"] for e in reversed(log) if "pair_rate" in e), None)
        self._figures = figures_of(row)
        if not self._on_terminal:
            say(line_of(self._course.stage, self._course.steps, row))
        next(self._bar, None)


def _tried(save: Callable[[], None]) -> str | None:
    """Do it; return why it could not be done."""
    try:
        save()
    except (OSError, RuntimeError, SafetensorError, StoreError) as error:
        return " ".join(str(error).split())[:200]
    return None
