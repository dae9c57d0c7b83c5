"""The gradients of trainings, to compare ways of computing them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch


@dataclass(frozen=True)
class Recorded:
    """A job that leaves, beside what it leaves, the gradient of each of its steps in `folder`.

    `as_trl`: each pass is the whole one that TRL asks its model for.
    """

    job: Callable[[], None]
    folder: Path
    as_trl: bool = False

    def __call__(self) -> None:
        from synthagent.student import grpo_trainer, sft  # trl takes seconds: not where the tests are only collected
        from synthagent.student.processes import rank
        from synthagent.student.training import Resumable

        clip = Resumable._clip_grad_norm

        def recorded(trainer: Any, model: Any) -> Any:
            parts = [p.grad.flatten().float() for p in model.parameters() if p.requires_grad]
            torch.save(torch.cat(parts), self.folder / f"gradient-{rank()}-{trainer.state.global_step}.pt")
            return clip(trainer, model)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Resumable, "_clip_grad_norm", recorded)
            if self.as_trl:
                patch.setattr(sft, "Labelled", _Itself)
                patch.setattr(grpo_trainer, "Labelled", _Itself)
            self.job()


class _Itself:
    """What would stand in for a model is the model."""

    def __new__(cls, model: Any, *_: Any) -> Any:
        return model


def gradient(folder: Path, step: int = 0, rank: int = 0) -> torch.Tensor:
    """The gradient of a step in one of the processes."""
    found: torch.Tensor = torch.load(folder / f"gradient-{rank}-{step}.pt")
    return found


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """How far two gradients are apart, as a share of their size."""
    return float((one - other).norm() / other.norm())
