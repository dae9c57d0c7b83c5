"""How every side of a comparison is timed: batches on the CPU clock -> the median rate. Standard library only."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

Batch = Callable[[], int]
"""Makes some calls and says how many; a batch is one sample, so it should take tens of milliseconds."""


def calls_per_second(batches: Iterator[Batch], seconds: float) -> float:
    """Median calls per second of CPU time, over batches worth `seconds` in all.

    What the iterator does between two batches (fresh state, checks, clearing up) is not timed, and the first batch is
    a warm-up. CPU time, not wall time: a neighbour on a shared machine costs this process little of it.
    """
    next(batches)()
    rates: list[float] = []
    timed = 0.0
    while timed < seconds:
        batch = next(batches)
        start = time.process_time()
        calls = batch()
        spent = time.process_time() - start
        timed += spent
        rates.append(calls / spent)
    return statistics.median(rates)
