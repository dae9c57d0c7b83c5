"""Work that is shared out, by params: (a function, items) -> results in the order of the items.

`compute.runner: processes`: over processes of this machine, which die with their parent, however it ends; `ray`: over
a Ray cluster (`synthagent.cluster`). Whatever the runner, each item gives the same result: it depends on nothing else.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from typing import Any, Protocol, TypeVar

from synthagent.params import ComputeParams

T = TypeVar("T")
R = TypeVar("R")


class Pool(Protocol):
    """What shares work out. A function and its items are picklable."""

    def map(self, work: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]:
        """The results in the order of the items; work on all of them begins at once."""


Prepare = Callable[[int], None]
"""What a worker does first, by its number."""


def nothing(_: int) -> None:
    """Workers that need no preparation."""


@contextmanager
def spread(compute: ComputeParams, prepare: Prepare = nothing, gpu: bool = False) -> Iterator[Pool | None]:
    """Who shares work out; None where there is to be one process, which is then this one.

    `prepare` is run in each worker, or here. `gpu`: the work takes a GPU where there is one.
    """
    if compute.runner == "ray":
        from synthagent.cluster import cluster

        with cluster(compute, prepare, gpu) as pool:
            yield pool
    elif compute.processes == 1:
        prepare(0)
        yield None
    else:
        context = get_context("spawn")
        first = (prepare, context.Value("i", 0))
        with ProcessPoolExecutor(compute.processes, context, initializer=_become_worker, initargs=first) as executor:
            for _ in range(compute.processes):  # they start, and prepare themselves, while the work is being made
                executor.submit(nothing, 0)
            try:
                yield _Processes(executor)
            finally:
                executor.shutdown(cancel_futures=True)


def shared_out(
    compute: ComputeParams, work: Callable[[T], R], items: Sequence[T], size: int
) -> Generator[R, None, None]:
    """The results of `items` in their order, worked on in pieces of `size`; what is one piece is done here."""
    pieces = [items[first : first + size] for first in range(0, len(items), size)]
    if len(pieces) <= 1:
        yield from map(work, items)
        return
    with spread(compute) as pool:
        yield from chain.from_iterable((pool.map if pool else map)(partial(_piece, work), pieces))


def become_child() -> None:
    """A child leaves Ctrl-C to its parent, and ends when the parent does, even by SIGKILL."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


@dataclass(frozen=True, slots=True)
class _Processes:
    executor: ProcessPoolExecutor

    def map(self, work: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]:
        return self.executor.map(work, items)


def _become_worker(prepare: Prepare, counter: Any) -> None:
    become_child()
    with counter.get_lock():
        number = counter.value
        counter.value += 1
    prepare(number)


def _piece(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    return [work(item) for item in items]


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)
