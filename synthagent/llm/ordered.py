"""Runs coroutines over items, many at once: items -> results, in the items' order, in memory that does not grow."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
_AHEAD = 4  # so many times `concurrency` items are begun before the first has to end


async def _nothing() -> None:
    return None


def ordered(
    work: Callable[[T], Awaitable[R]],
    items: Iterable[T],
    concurrency: int,
    close: Callable[[], Coroutine[Any, Any, None]] = _nothing,
) -> Generator[R, None, None]:
    """Yield `await work(item)` for each item, at most `concurrency` of them at work at once.

    Should one raise, or the caller take no more, the others that are under way still end (what they wait for may have
    been paid for) before the error goes up; on an interrupt they are cancelled. `close` runs last, in the same loop.
    """
    with asyncio.Runner() as runner:
        places = asyncio.Semaphore(concurrency)
        window: deque[asyncio.Task[R]] = deque()
        failed = False

        async def placed(item: T) -> R:
            async with places:
                if failed:
                    raise asyncio.CancelledError
                return await work(item)

        def next_result() -> R:
            task = window.popleft()
            return task.result() if task.done() else runner.run(_wait(task))

        try:
            for item in items:
                window.append(runner.get_loop().create_task(placed(item)))
                if len(window) >= _AHEAD * concurrency:
                    yield next_result()
            while window:
                yield next_result()
        except (Exception, GeneratorExit):
            failed = True
            runner.run(_settle(window))
            raise
        finally:
            for task in window:
                task.cancel()
            runner.run(close())


async def _wait(task: asyncio.Task[R]) -> R:
    return await task


async def _settle(tasks: Iterable[asyncio.Task[R]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)
