"""Runs training on several processes of this machine, and shares independent work among processes.

A million-parameter student does not gain from threads, but two processes nearly halve the time. Children die with
their parent, however it ends.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue

from synthagent.errors import SynthAgentError
from synthagent.student.model import single_threaded


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
        spawn(_run_rank, (processes, port, job, told), nprocs=processes, daemon=True)  # type: ignore[no-untyped-call]
    except ProcessRaisedException:
        if told.empty():
            raise
        raise told.get() from None


@contextmanager
def workers(processes: int) -> Iterator[Executor | None]:
    """Single-threaded processes that share work; None where there is to be one, which is then this one."""
    if processes == 1:
        single_threaded()
        yield None
        return
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=_become_child) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


def rank() -> int:
    """The number of this process among those of a training."""
    return int(os.environ.get("RANK", "0"))


def is_first() -> bool:
    """Whether this process is the one that reports and saves."""
    return rank() == 0


def _run_rank(
    number: int, processes: int, port: int, job: Callable[[], None], told: SimpleQueue[SynthAgentError]
) -> None:
    os.environ |= {
        "RANK": str(number),
        "LOCAL_RANK": str(number),
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
