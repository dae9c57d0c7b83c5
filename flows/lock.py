"""One run a worktree at a time: a lock that is held as long as the run, or anything that it started, lives."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from synthagent.errors import LockedError
from synthagent.stage import CACHE

LOCK = CACHE / "locks" / "flow.lock"


@contextmanager
def only_run(who: str) -> Iterator[int]:
    """Hold the lock; yields its descriptor, which a guard is to inherit: should we be killed, it still holds it.

    Raises:
        LockedError: another run holds it; `who` it said it was.
    """
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = os.pread(descriptor, 1000, 0).decode(errors="replace")
            raise LockedError(
                f"another run is at work in this worktree: {other}; wait for it to end, or cancel it ({LOCK})"
            ) from None
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{who}, process {os.getpid()}".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)
