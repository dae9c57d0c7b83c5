"""What tests of processes share: waiting for something to happen, whether a process is alive, a free port."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TypeVar

import psutil

T = TypeVar("T")
PATIENCE = 300.0


def eventually(what: str, value: Callable[[], T | None], patience: float = PATIENCE) -> T:
    """Wait until `value` gives something true, and return that."""
    deadline = time.monotonic() + patience
    while not (found := value()):
        assert time.monotonic() < deadline, f"in {patience} s not seen: {what}"
        time.sleep(0.05)
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs: a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def free_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
