"""Runs training on several processes of this machine, and spreads independent batches over them.

A million-parameter student does not gain from threads, but two processes nearly halve the time. Children die with
their parent, however it ends.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

from synthagent.student.model import single_threaded

Item = TypeVar("Item")
Result = TypeVar("Result")


def train(job: Callable[[], None], processes: int) -> None:
    """Run a picklable `job` as one distributed training of `processes` ranks (gloo on a CPU, NCCL on GPUs)."""
    if processes == 1:
        single_threaded()
        job()
        return
    from torch.multiprocessing import spawn

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    spawn(_rank, (processes, port, job), nprocs=processes)


def spread(
    function: Callable[[Item], Result], items: Sequence[Item], processes: int, prepare: Callable[[], None]
) -> Iterator[Result]:
    """`map(function, items)` in order, over `processes` processes; each calls `prepare` first."""
    if processes == 1 or len(items) == 1:
        prepare()
        yield from map(function, items)
        return
    with ProcessPoolExecutor(min(processes, len(items)), get_context("spawn"), initializer=prepare) as pool:
        yield from pool.map(function, items)


def is_first() -> bool:
    """Whether this process is the one that reports and saves."""
    return os.environ.get("RANK", "0") == "0"


def _rank(rank: int, processes: int, port: int, job: Callable[[], None]) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    single_threaded()
    job()


