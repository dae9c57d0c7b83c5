"""A student whose weights are shared out over processes (FSDP2, ZeRO-3): made whole, to act and to be saved.

Where each process has the whole student, as with DDP, nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import DistributedType
from torch.distributed.fsdp import FSDPModule

from synthagent.student.model import Student
from synthagent.student.processes import is_first


def gathered(trainer: Any, student: Student, fresh: Callable[[], Student]) -> Student | None:
    """The student that a trainer trained. Where it is shared out, `fresh` makes the whole one, in the first process.

    None in the other processes, which take part all the same.
    """
    if not _is_sharded(trainer.accelerator):
        return student
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if not is_first():
        return None
    whole = fresh()
    whole.model.load_state_dict(weights)
    return whole


@contextmanager
def acting(trainer: Any) -> Iterator[Any]:
    """The model of a trainer with all weights in each process, which may now go through it as often as each likes."""
    accelerator = trainer.accelerator
    model = accelerator.unwrap_model(trainer.model)
    if not _is_sharded(accelerator):
        yield model
    elif accelerator.distributed_type == DistributedType.DEEPSPEED:
        from trl.models import unwrap_model_for_generation

        with unwrap_model_for_generation(trainer.model_wrapped, accelerator) as whole:
            yield whole
    else:
        parts = [part for part in model.modules() if isinstance(part, FSDPModule)]
        with torch.no_grad():
            for part in parts:
                part.set_reshard_after_forward(False, recurse=False)
                part.unshard()
            yield model
            for part in parts:
                part.set_reshard_after_forward(True, recurse=False)
                part.reshard()


def _is_sharded(accelerator: Any) -> bool:
    return accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED)
