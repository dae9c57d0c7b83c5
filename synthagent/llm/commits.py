"""Answers that come in a burst -> few transactions of the store; each is kept before who waits for it goes on.

A server works in batches, so answers come in bursts. A transaction for each would cost more than what is written; one
for all would let no next request go out until all are looked at. So what waits is kept and let go in small groups, a
group a turn of the event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple

from synthagent.llm.store import NewReply, Reply, ResponseStore

_GROUP = 8


class _Waiting(NamedTuple):
    answer: NewReply
    kept: asyncio.Future[Reply]


class Commits:
    """Puts answers into `store`, for the coroutines of one event loop."""

    def __init__(self, store: ResponseStore) -> None:
        self._store = store
        self._queue: deque[_Waiting] = deque()

    async def put(self, answer: NewReply) -> Reply:
        """Keep an answer; return the one that stands, which is the first. It is kept even if the caller is cancelled.

        Raises:
            StoreError: as `ResponseStore.put`.
        """
        loop = asyncio.get_running_loop()
        if not self._queue:
            loop.call_soon(self._next, loop)
        waiting = _Waiting(answer, loop.create_future())
        self._queue.append(waiting)
        return await waiting.kept

    def flush(self) -> None:
        """Keep all that waits, now. Call it before the store is closed."""
        self._commit(len(self._queue))

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        self._commit(min(len(self._queue), _GROUP))
        if self._queue:
            loop.call_soon(self._next, loop)

    def _commit(self, size: int) -> None:
        group = [self._queue.popleft() for _ in range(size)]
        if not group:
            return
        try:
            replies = self._store.put_all([waiting.answer for waiting in group])
        except Exception as error:  # whatever it is, nobody may wait for ever
            for waiting in group:
                if not waiting.kept.done():  # it may have been cancelled
                    waiting.kept.set_exception(error)
            return
        for waiting, reply in zip(group, replies, strict=True):
            if not waiting.kept.done():
                waiting.kept.set_result(reply)
