"""Runs training on several processes of this machine, and shares independent work among processes.

A million-parameter student does not gain from threads, but two processes nearly halve the time; a larger one shares the
cores among the processes (`machine.threads_of`). Children die with their parent, however it ends.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from multiprocessing.queues import SimpleQueue

import torch

from synthagent.errors import SynthAgentError


def train(job: Callable[[], None], processes: int, threads: int = 1) -> None:
    """Run a picklable `job` as one distributed training of `processes` ranks (gloo on a CPU, NCCL on GPUs)."""
    if processes == 1:
        torch.set_num_threads(threads)
        job()
        return
    from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, spawn

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    told: SimpleQueue[SynthAgentError] = get_context("spawn").SimpleQueue()
    try:
        spawn(_run_rank, (processes, port, threads, job, told), nprocs=processes, daemon=True)  # type: ignore[no-untyped-call]
    except ProcessRaisedException:
        if told.empty():
            raise
        raise told.get() from None
    except ProcessExitedException as error:
        if error.signal_name != "SIGKILL":
            raise
        raise _killed("halve sft.batch_tokens or grpo.batch_tokens") from None


@contextmanager
def workers(processes: int, threads: int = 1) -> Iterator[Executor | None]:
    """Processes of so many threads that share work; None where there is to be one, which is then this one."""
    if processes == 1:
        torch.set_num_threads(threads)
        yield None
        return
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=_become_child, initargs=(threads,)) as pool:
        try:
            yield pool
        except BrokenProcessPool:
            raise _killed("halve episode.max_tokens") from None
        finally:
            pool.shutdown(cancel_futures=True)


def _killed(remedy: str) -> SynthAgentError:
    """What is told where a process is gone without a word."""
    return SynthAgentError(
        "a process was killed (SIGKILL), as the system does where memory runs out; "
        f"lower compute.processes, or {remedy} (params.yaml)"
    )


def rank() -> int:
    """The number of this process among those of a training."""
    return int(os.environ.get("RANK", "0"))


def is_first() -> bool:
    """Whether this process is the one that reports and saves."""
    return rank() == 0


def _run_rank(
    number: int, processes: int, port: int, threads: int, job: Callable[[], None], told: SimpleQueue[SynthAgentError]
) -> None:
    os.environ |= {
        "RANK": str(number),
        "LOCAL_RANK": str(number),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    _become_child(threads)
    try:
        job()
    except SynthAgentError as error:
        told.put(error)
        raise


def _become_child(threads: int) -> None:
    """A child leaves Ctrl-C to its parent, and ends when the parent does, even by SIGKILL."""
    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
