"""Runs training on several processes of this machine, and shares the student's episodes out (`synthagent.spread`).

A million-parameter student does not gain from threads, but two processes nearly halve the time; a larger one shares the
cores among the processes (`machine.threads_of`). Children die with their parent, however it ends.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from typing import NoReturn

import torch

from synthagent.errors import SynthAgentError
from synthagent.params import ComputeParams
from synthagent.spread import Pool, become_child, spread


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
def workers(compute: ComputeParams, threads: int = 1) -> Iterator[Pool | None]:
    """Processes of so many threads that share the student's work, on a GPU where there is one."""
    with spread(compute, partial(as_worker, threads), gpu=True) as pool:
        try:
            yield pool
        except BrokenProcessPool:
            raise _killed("halve episode.max_tokens") from None


def as_worker(threads: int, number: int) -> None:
    """So many threads; and of several GPUs, the one that falls to this worker."""
    torch.set_num_threads(threads)
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())


def end_with_parent() -> None:
    """Have this process, which its parent started by a command, end when the parent does, even by SIGKILL."""
    threading.Thread(target=_end_without, args=(os.getppid(),), daemon=True).start()


def run_and_end(job: Callable[[], None]) -> NoReturn:
    """Run the part that falls to this process; then leave the group that torch made for it, and end the process.

    It does not return; what the job raises passes. It ends without what a process does at its end: there threads of
    libraries that are still under way abort it now and then ("terminate called without an active exception").
    """
    job()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


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
    become_child()
    torch.set_num_threads(threads)
    try:
        run_and_end(job)
    except SynthAgentError as error:
        told.put(error)
        raise


def _end_without(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
