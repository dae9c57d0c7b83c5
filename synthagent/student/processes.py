"""Runs training on several processes of this machine, and shares the student's episodes out (`synthagent.spread`).

A million-parameter student does not gain from threads, but two processes nearly halve the time; a larger one shares the
cores among the processes (`machine.threads_of`). Children die with their parent, however it ends.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.queues import SimpleQueue
from typing import Any, NoReturn

import torch

from synthagent.errors import SynthAgentError
from synthagent.params import ComputeParams
from synthagent.spread import Pool, become_child, spread

Job = Callable[[], None]


def train(job: Job, processes: int, threads: int = 1) -> None:
    """Run a picklable `job` as one distributed training of `processes` ranks (gloo on a CPU, NCCL on GPUs)."""
    with ranks(processes, threads) as run:
        run(job)


@contextmanager
def ranks(processes: int, threads: int = 1, module: str | None = None) -> Iterator[Callable[[Job], None]]:
    """Who runs a job as `train` does. They start at once, and import `module` while the job is being made."""
    if processes == 1:
        yield partial(_run_here, threads)
        return
    from torch.multiprocessing.spawn import spawn

    context = get_context("spawn")
    told: SimpleQueue[SynthAgentError] = context.SimpleQueue()
    pipes = [context.Pipe(duplex=False) for _ in range(processes)]
    receivers, senders = zip(*pipes, strict=True)
    waiting = (processes, threads, module, receivers, told)
    group = spawn(_run_rank, waiting, nprocs=processes, join=False, daemon=True)  # type: ignore[no-untyped-call]
    for receiver in receivers:
        receiver.close()
    try:
        yield partial(_hand_over, group, senders, told)
    finally:
        for sender in senders:
            sender.close()
        for process in group.processes:  # there was no job for them, or it failed
            process.terminate()


def _run_here(threads: int, job: Job) -> None:
    torch.set_num_threads(threads)
    job()


def _hand_over(group: Any, senders: Sequence[Connection], told: SimpleQueue[SynthAgentError], job: Job) -> None:
    """Give the job to all ranks, and wait for its end; raise what one of them raised."""
    from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    try:
        with suppress(BrokenPipeError):  # it has ended already: `join` says why
            for sender in senders:
                sender.send((port, job))
        while not group.join():
            pass
    except ProcessRaisedException:
        if told.empty():
            raise
        raise told.get() from None
    except ProcessExitedException as error:
        if error.signal_name != "SIGKILL":
            raise
        raise _killed("halve sft.batch_tokens or grpo.batch_tokens") from None


@contextmanager
def workers(compute: ComputeParams, threads: int = 1, module: str | None = None) -> Iterator[Pool | None]:
    """Processes of so many threads that share the student's work, on a GPU where there is one.

    They start at once, and import `module` while the work is being made.
    """
    with spread(compute, partial(as_worker, threads, module=module), gpu=True) as pool:
        try:
            yield pool
        except BrokenProcessPool:
            raise _killed("halve episode.max_tokens") from None


def as_worker(threads: int, number: int, module: str | None = None) -> None:
    """So many threads; of several GPUs, the one that falls to this worker; and `module`, which its work will need."""
    if module is not None:
        importlib.import_module(module)
    torch.set_num_threads(threads)
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())


def end_with_parent() -> None:
    """Have this process, which its parent started by a command, end when the parent does, even by SIGKILL."""
    threading.Thread(target=_end_without, args=(os.getppid(),), daemon=True).start()


def run_and_end(job: Job) -> NoReturn:
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
    number: int,
    processes: int,
    threads: int,
    module: str | None,
    receivers: Sequence[Connection],
    told: SimpleQueue[SynthAgentError],
) -> None:
    become_child()
    for other, receiver in enumerate(receivers):
        if other != number:
            receiver.close()  # else what is sent to a rank that has died would wait for ever
    if module is not None:
        importlib.import_module(module)
    try:
        port, job = receivers[number].recv()
    except EOFError:
        return  # there is no job
    os.environ |= {
        "RANK": str(number),
        "LOCAL_RANK": str(number),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
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
