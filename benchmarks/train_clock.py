"""How training is timed: steps of a real training, and a product of matrices beside them.

Times are of the wall clock, which is what a user waits for; beside it CPU time, which a busy neighbour changes less.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from transformers import TrainerCallback

from synthagent.student.machine import narrow_type
from synthagent.student.training import Course, Resumable
from synthagent.student.watch import Log

SHAPE = (2048, 576, 1536)


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of wall clock and of CPU time."""

    wall: float
    cpu: float

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.wall + other.wall, self.cpu + other.cpu)


def spent_in(work: Callable[[], Any]) -> Spent:
    """Time one call."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def product(device: torch.device, times: int = 20) -> Spent:
    """Products of matrices in narrow arithmetic, as many as say something on this device; for one of them."""
    rows, inner, columns = SHAPE
    left = torch.randn(rows, inner, dtype=narrow_type(device.type), device=device)
    right = torch.randn(inner, columns, dtype=narrow_type(device.type), device=device)
    torch.mm(left, right)
    spent = spent_in(lambda: [torch.mm(left, right) for _ in range(times)])
    return Spent(spent.wall / times, spent.cpu / times)


def product_flops() -> int:
    """Of one such product."""
    rows, inner, columns = SHAPE
    return 2 * rows * inner * columns


def timed_steps(job: Callable[[], None], between: Callable[[], None] = lambda: None) -> list[Spent]:
    """Run one of our trainings; how long each of its steps took. `between`: done after each, and not counted."""
    steps = Steps(between)
    run = Resumable.run

    def watched(trainer: Resumable, course: Course) -> Log:
        trainer.add_callback(steps)
        return run(trainer, course)

    with patch.object(Resumable, "run", watched):
        job()
    return steps.spent


class Steps(TrainerCallback):  # type: ignore[misc]
    """Times the steps of a trainer: from the end of one to the end of the next, logging included."""

    def __init__(self, between: Callable[[], None] = lambda: None) -> None:
        self.spent: list[Spent] = []
        self._between = between

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._start()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.spent.append(Spent(time.perf_counter() - self._wall, time.process_time() - self._cpu))
        self._between()
        self._start()

    def _start(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()


def median(spent: Sequence[Spent]) -> Spent:
    """The median of each clock."""
    return Spent(statistics.median(s.wall for s in spent), statistics.median(s.cpu for s in spent))
