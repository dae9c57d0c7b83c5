"""Runs training on several processes of this machine, and spreads independent batches over them.

A million-parameter student does not gain from threads, but two processes nearly halve the time. Children die with
their parent, however it ends.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue
from typing import TypeVar

from synthagent.errors import SynthAgentError
from synthagent.student.model import single_threaded

Item = TypeVar("Item")
Result = TypeVar("Result")


def train(job: Callable[[], None], processes: int) -> None:
    """Run a picklable `job` as one distributed training of `processes` ranks (gloo on a CPU, NCCL on GPUs)."""
    if processes == 1:
        single_threaded()
        job()
        return
    from torch.multiprocessing.spawn import ProcessRaisedException, spawn

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    told: SimpleQueue[SynthAgentError] = get_context("spawn").SimpleQueue()
    try:
        spawn(_rank, (processes, port, job, told), nprocs=processes, daemon=True)  # type: ignore[no-untyped-call]
    except ProcessRaisedException:
        if told.empty():
            raise
        raise told.get() from None


def spread(function: Callable[[Item], Result], items: Sequence[Item], processes: int) -> Iterator[Result]:
    """`map(function, items)` in order, over `processes` single-threaded processes."""
    if processes == 1 or len(items) <= 1:
        single_threaded()
        yield from map(function, items)
        return
    with ProcessPoolExecutor(min(processes, len(items)), get_context("spawn"), initializer=_become_child) as pool:
        yield from pool.map(function, items)


def is_first() -> bool:
    """Whether this process is the one that reports and saves."""
    return os.environ.get("RANK", "0") == "0"


def _rank(rank: int, processes: int, port: int, job: Callable[[], None], told: SimpleQueue[SynthAgentError]) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    _become_child()
    try:
        job()
    except SynthAgentError as error:
        told.put(error)
        raise


def _become_child() -> None:
    """A child leaves Ctrl-C to its parent, and ends when the parent does, even by SIGKILL."""
    single_threaded()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
