"""Supervised training on demonstrations, by TRL: (checkpoint, tokenised episodes) -> checkpoint, losses.

The job is a picklable value, so that it can run on several processes (`synthagent.student.processes.train`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from datasets import Dataset
from torch.utils.data import SequentialSampler
from trl import SFTConfig, SFTTrainer

from synthagent.params import SftParams, StudentParams
from synthagent.student.labelled import Labelled
from synthagent.student.memory import remedy_of_sft
from synthagent.student.optimizer import optimizer_of
from synthagent.student.passes import InPasses
from synthagent.student.resume import Checkpoints
from synthagent.student.sharded import gathered
from synthagent.student.trainable import trainable_student
from synthagent.student.training import Course, Resumable, finish, settings_of
from synthagent.student.watch import Log, StepRow, Watch

_WINDOW = 10  # logged losses, by whose mean the best checkpoint is chosen


@dataclass(frozen=True, slots=True)
class SftJob:
    """Train on tokenised episodes, once each, in the given order; leaves the losses in `LOG`."""

    start: Path
    out: Path
    rows: Sequence[dict[str, Any]]
    params: SftParams
    seed: int
    processes: int
    student: StudentParams
    launcher: str | None = None  # decides the form of a checkpoint
    checkpoints: Checkpoints | None = None
    live: Path | None = None

    def __call__(self) -> None:
        student = trainable_student(self.start, self.student, self.seed)
        params = self.params
        steps = -(-len(self.rows) // params.batch_size)
        config = SFTConfig(
            output_dir=str(self.checkpoints.folder if self.checkpoints else self.out),
            per_device_train_batch_size=params.batch_size // self.processes,
            num_train_epochs=1,
            learning_rate=params.adam_rate,
            lr_scheduler_type="warmup_stable_decay",
            lr_scheduler_kwargs={"num_decay_steps": int(0.6 * steps), "decay_type": "linear"},
            warmup_steps=20,
            max_length=None,
            logging_steps=min(10, steps),
            seed=self.seed,
            **settings_of(self.student),
        )
        trainer = _InOrder(
            model=student.model,
            args=config,
            train_dataset=Dataset.from_list(list(self.rows)),
            processing_class=student.tokenizer,
        )
        trainer.most = params.batch_tokens
        course = Course(
            stage="sft",
            steps=steps,
            checkpoints=self.checkpoints,
            optimizer=partial(
                optimizer_of, params=self.student, muon_rate=params.muon_rate, adam_rate=params.adam_rate
            ),
            score=_recent_score,
            lower="sft.muon_rate or sft.adam_rate",
            spare=remedy_of_sft(params, [len(row["input_ids"]) for row in self.rows], self.student),
            watch=Watch(_row, _tokens, self.live),
        )
        losses = _losses(trainer.run(course))
        trained = gathered(trainer, student, partial(trainable_student, self.start, self.student, self.seed))
        finish(trained, self.student, self.out, losses)


class _InOrder(Resumable, SFTTrainer, InPasses):  # type: ignore[misc]
    """SFTTrainer that takes the rows as they come: the caller has ordered them."""

    def compute_loss(self, model: Any, inputs: Any, **more: Any) -> Any:
        """As TRL's, of a smaller pass."""
        return super().compute_loss(Labelled(model, self.accelerator.unwrap_model(model)), inputs, **more)

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        return SequentialSampler(dataset if dataset is not None else self.train_dataset)


def _losses(log: Log) -> list[float]:
    return [entry["loss"] for entry in log if "loss" in entry]


def _row(log: Log) -> StepRow | None:
    if "loss" not in log[-1]:
        return None
    return {name: log[-1].get(name) for name in ("step", "loss", "entropy", "learning_rate", "grad_norm")}


def _tokens(log: Log) -> float:
    """Of the steps since the one that was logged before."""
    counts = [float(entry["num_tokens"]) for entry in log if "num_tokens" in entry]
    return counts[-1] - (counts[-2] if len(counts) > 1 else 0) if counts else 0.0


def _recent_score(log: Log) -> float:
    return -fmean(_losses(log)[-_WINDOW:])
