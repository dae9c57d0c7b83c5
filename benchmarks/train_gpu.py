"""Row d of `benchmarks.train`: what a student takes on a GPU: its warm start, its episodes, a step of its GRPO.

Beside each is what this GPU can do, measured in the same run: of training the rate of a large product of bfloat16
matrices (6 x parameters a token, padding not counted), of writing its memory's bandwidth (each token of all episodes
at once takes one reading of the weights, 2 bytes each).
"""

from __future__ import annotations

import copy
import gc
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.train_clock import Spent, median, spent_in, timed_steps
from benchmarks.train_data import Taught, shipped
from benchmarks.train_episodes import LIMITS, Talkative, episodes_of
from benchmarks.train_grpo import never_ending
from benchmarks.train_sft import parameters_of
from synthagent.records import Task
from synthagent.student.grpo import GrpoJob
from synthagent.student.model import Student, device, save_student
from synthagent.student.rows import Rows
from synthagent.student.sampler import run_episodes
from synthagent.student.sft import SftJob

_SIDE, _COPIED = 8192, 2**30  # rows and columns of the product; bytes of the copy
_ROWS = 64  # of a batch of demonstrations, and episodes at once
_PASS = 16_384  # tokens
_RATE = 1e-5


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What the GPU can do: operations and bytes a second."""

    flops: float
    bandwidth: float


@dataclass(frozen=True, slots=True)
class OnGpu:
    """Of one kind of work: seconds of a step, tokens a second, the share of the ceiling, the most memory in MB."""

    step_s: float
    tokens: float
    share: float
    peak_mb: float


def ceilings() -> Ceilings:
    """Medians of ten products and of ten copies, whose bytes count as read and as written."""
    left, right = (torch.randn(_SIDE, _SIDE, dtype=torch.bfloat16, device=device()) for _ in range(2))
    source = torch.randn(_COPIED // 4, device=device())
    target = torch.empty_like(source)
    products, copies = [], []
    for _ in range(13):
        products.append(spent_in(lambda: torch.mm(left, right)))
        copies.append(spent_in(lambda: target.copy_(source)))
    return Ceilings(2 * _SIDE**3 / median(products[3:]).wall, 2 * _COPIED / median(copies[3:]).wall)


def sft(student: Student, rows: Sequence[dict[str, Any]], most: Ceilings, steps: int, **chosen: Any) -> OnGpu:
    """Steps of stage `sft`'s job, the first two a warm-up. `chosen`: values of the params' `student`."""
    params = shipped(base="given", dtype="bfloat16", **chosen)
    update = {"batch_size": _ROWS, "batch_tokens": _PASS, "adam_rate": _RATE}
    taken = [rows[i % len(rows)] for i in range(_ROWS * (steps + 2))]
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "start"
        save_student(student, start)
        settings = params.sft.model_copy(update=update)
        job = SftJob(start, Path(folder) / "out", taken, settings, 0, 1, params.student)
        _fresh()
        spent = timed_steps(job)[2:]
        peak = _peak_mb()
    tokens = sum(len(row["input_ids"]) for row in taken[2 * _ROWS :])
    return _of_training(spent, tokens, student, most, peak)


def grpo(
    student: Student, data: Taught, most: Ceilings, steps: int, length: int, recorded: bool = True, **chosen: Any
) -> OnGpu:
    """Steps of stage `grpo`'s job, written in process: eight groups of eight, single turns of `length` tokens."""
    params = shipped(base="given", dtype="bfloat16", **chosen)
    update = {"steps": steps + 2, "tasks_per_step": 8, "group_size": 8, "batch_tokens": _PASS, "adam_rate": _RATE}
    limits = {"max_turns": 1, "max_tokens": length, "max_turn_tokens": length}
    params = params.model_copy(
        update={
            "grpo": params.grpo.model_copy(update=update | {"probe": None}),
            "episode": params.episode.model_copy(update=limits),
        }
    )
    task = data.tasks[0]
    order = [task.id] * (8 * params.grpo.steps)
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "start"
        save_student(student, start)
        job = GrpoJob(start, Path(folder) / "out", order, {task.id: task}, data.rubrics, params, None)
        _fresh()
        with never_ending(student), replaying(recorded):
            spent = timed_steps(job)[2:]
        peak = _peak_mb()
    tokens = len(spent) * 64 * (len(student.format.prompt_ids(task)) + length)
    return _of_training(spent, tokens, student, most, peak)


def episodes(student: Student, tasks: Sequence[Task], most: Ceilings, repeats: int, recorded: bool = True) -> OnGpu:
    """Episodes of six turns, all at once, by one cache; a step is a token of each.

    `recorded`: whether steps are replayed. Where not, an observation goes through as on a CPU, with several tokens.
    """
    acting = Talkative(copy.deepcopy(student.model).to(device(), torch.bfloat16).eval(), student.tokenizer)
    chosen = [tasks[number % len(tasks)] for number in range(_ROWS)]
    total, tokens = 0.0, 0
    with patch.object(Rows, "forward", autospec=True, side_effect=Rows.forward) as forward, replaying(recorded):
        run_episodes(acting, episodes_of(chosen[:8]), LIMITS, greedy=True)
        _fresh()
        forward.reset_mock()
        for _ in range(repeats):
            begun = time.perf_counter()
            sampled = run_episodes(acting, episodes_of(chosen), LIMITS, greedy=True)  # which ends on the CPU
            total += time.perf_counter() - begun
            tokens += sum(len(row.completion) for row in sampled)
        steps = forward.call_count
    read = 2 * parameters_of(student) * steps
    return OnGpu(total / steps, tokens / total, read / total / most.bandwidth, _peak_mb())


@contextmanager
def replaying(recorded: bool) -> Iterator[None]:
    """Have steps of one token a row replayed, as they are (`synthagent.student.replay`), or not."""
    with nullcontext() if recorded else patch("synthagent.student.rows.can_replay", return_value=False):
        yield


def _of_training(spent: Sequence[Spent], tokens: int, student: Student, most: Ceilings, peak: float) -> OnGpu:
    total = sum(each.wall for each in spent)
    work = 6 * parameters_of(student) * tokens
    return OnGpu(median(spent).wall, tokens / total, work / total / most.flops, peak)


def _fresh() -> None:
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def _peak_mb() -> float:
    return torch.cuda.max_memory_allocated() / 1e6
