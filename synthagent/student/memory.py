"""Out of memory, told in one line: what torch or the system raises -> the setting that halves what a pass takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from synthagent.errors import SynthAgentError
from synthagent.params import Params, SftParams, StudentParams

_SIGNS = ("not enough memory", "can't allocate memory", "out of memory", "cannot allocate memory")


@contextmanager
def memory_told(stage: str, remedy: str) -> Iterator[None]:
    """Raise SynthAgentError, which names the remedy, where a stage's memory does not suffice."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        place = "the GPU" if isinstance(error, torch.OutOfMemoryError) else "this machine"
        raise SynthAgentError(f"{stage}: out of memory on {place}; {remedy}") from None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is how torch, on whatever device, or Python says that there is no memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


def remedy_of_training(section: str, batch_tokens: int | None, row: int | None, student: StudentParams) -> str:
    """What to set in order to train in half of the memory; the nearest first.

    `row`: tokens of the longest episode, if known: a pass holds at least one.
    """
    if batch_tokens is None:
        wanted = f"set {section}.batch_tokens, such as to {2 * row if row else 2048}"
    elif row is None or batch_tokens > row:
        wanted = f"halve {section}.batch_tokens ({batch_tokens})"
    elif not student.gradient_checkpointing:
        wanted = "set student.gradient_checkpointing to true, as a pass is a single episode already"
    elif student.lora is None:
        wanted = "set student.lora, which needs no optimizer state for the weights themselves"
    else:
        wanted = "choose a smaller student.base, as passes, checkpointing and adapters save what they can"
    return f"{wanted} (params.yaml)"


def remedy_of_sft(params: SftParams, rows: list[int], student: StudentParams) -> str:
    """As `remedy_of_training`, for demonstrations of these lengths."""
    return remedy_of_training("sft", params.batch_tokens, max(rows, default=None), student)


def remedy_of_acting(params: Params) -> str:
    """What to set in order that fewer tokens of episodes are kept at once."""
    if params.student.dtype == "float32" and params.student.base != "tiny":
        return "set student.dtype to bfloat16 (params.yaml)"
    return f"halve episode.max_tokens ({params.episode.max_tokens}), or lower compute.processes (params.yaml)"
