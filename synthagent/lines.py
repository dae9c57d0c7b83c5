"""A process that is asked: a request in, an answer out, a JSON object on a line each. What it says is untrusted."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

DEAD: dict[str, Any] = {"dead": True}
LATE: dict[str, Any] = {"late": True}
_MOST_BYTES = 20_000_000  # of an answer


class LineProcess:
    """The process, in a session of its own. `said`: where its standard error goes."""

    def __init__(
        self,
        command: Sequence[str],
        said: IO[bytes] | int = subprocess.DEVNULL,
        folder: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._waiting = b""
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            start_new_session=True,
            bufsize=0,
            cwd=folder,
            env=environment,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def code(self) -> int | None:
        """What it ended with; None while it runs."""
        return self._process.poll()

    def ask(self, request: Mapping[str, Any], patience_s: float | None) -> dict[str, Any]:
        """Send a request and wait for its answer: anything at all, `LATE`, or `DEAD`."""
        text = json.dumps(request).encode() + b"\n"
        assert self._process.stdin is not None
        try:
            while text:
                text = text[self._process.stdin.write(text) :]
        except OSError:
            return DEAD
        return self.answer(patience_s)

    def answer(self, patience_s: float | None) -> dict[str, Any]:
        """Wait for what it says next, as `ask`; None: for ever."""
        pipe = self._process.stdout
        assert pipe is not None
        deadline = None if patience_s is None else time.monotonic() + patience_s
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        while b"\n" not in self._waiting:
            left = None if deadline is None else deadline - time.monotonic()
            if (left is not None and left <= 0) or not poll.poll(None if left is None else left * 1000 + 1):
                return LATE
            chunk = pipe.read(1 << 16)
            if not chunk or len(self._waiting) > _MOST_BYTES:
                return DEAD
            self._waiting += chunk
        line, _, self._waiting = self._waiting.partition(b"\n")
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            return DEAD
        return answer if isinstance(answer, dict) else DEAD

    def close(self) -> None:
        """Kill it and whatever is in its session."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()
