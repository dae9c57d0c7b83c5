"""What this machine has for a student: type of the arithmetic, threads, kernels; params -> what is used of it."""

from __future__ import annotations

import ctypes
import os
from functools import cache

import torch
from transformers.utils import is_liger_kernel_available

from synthagent.errors import ParamsError
from synthagent.params import Params, StudentParams
from synthagent.stage import say

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of mallopt(3)


def arithmetic(params: StudentParams) -> torch.dtype:
    """The type that a student computes in: that of the params, or float32 on a CPU without instructions for bfloat16.

    There it would be many times slower; the weights are saved in the type of the params all the same.
    """
    dtype: torch.dtype = getattr(torch, params.dtype)
    if dtype is torch.bfloat16 and narrow_type("cuda" if torch.cuda.is_available() else "cpu") is not dtype:
        _say_once("student.dtype is bfloat16, for which this CPU has no instructions: float32 is computed, no faster")
        return torch.float32
    return dtype


def narrow_type(device: str) -> torch.dtype:
    """The type of narrow arithmetic on a type of device: bfloat16, but float32 on a CPU without instructions for it."""
    return torch.bfloat16 if device != "cpu" or cpu_has_bfloat16() else torch.float32


def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies matrices of bfloat16 by instructions of its own."""
    found = torch.cpu.get_capabilities()
    return any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))


def threads_of(params: Params) -> int:
    """How many threads each process of a training, or of its episodes, computes with: its share of the cores.

    The built-in student has one: at its size a second gives nothing, and sums come out the same every time.
    """
    if params.student.base == "tiny":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // params.compute.processes)


def uses_liger(params: StudentParams) -> bool:
    """Whether Liger's kernels are used: as the params say, or where they are installed and a GPU is there.

    Raises:
        ParamsError: they are asked for, and cannot be used.
    """
    there, gpu = is_liger_kernel_available(), torch.cuda.is_available()
    if params.liger and not there:
        raise ParamsError("params.yaml: student.liger: liger-kernel is not installed; pip install it, or set null")
    if params.liger and not gpu:
        raise ParamsError("params.yaml: student.liger: its kernels need a GPU, and there is none here; set it to null")
    return there and gpu if params.liger is None else params.liger


def keep_memory() -> None:
    """Have the C library (glibc, else nothing changes) keep the memory that tensors leave, for those to come.

    As it is, it gives each large piece back to the system, which clears every page of the next: a twelfth of a step.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, -1)


@cache
def _say_once(text: str) -> None:
    say(text)
