"""A suite's worker, as this process sees it: requests -> answers, over the pipe of an isolated process.

What it sends is untrusted: an answer is a JSON object of a bounded size, or the worker is as good as dead. One that has
died is started anew with the next request; problems that were under way in it have failed.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from synthagent.errors import SuiteError
from synthagent.isolation import Limits, isolated
from synthagent.suites.suite import Suite

_SCRIPTS = Path(__file__).resolve().parent / "workers"
MOST_BYTES = 1_000_000  # of what a policy says at once
_MOST_ANSWER_BYTES = 16_000_000
_PATIENCE_S = 180.0  # for one answer
DIED = "its worker died"
_STARTS = 20  # so often a worker that dies is started


class FailedError(Exception):
    """One problem has failed; its text says why. Others go on."""


class Worker:
    """The process behind a suite. Close it in the event loop in which it was used."""

    def __init__(self, suite: Suite, log: Path) -> None:
        self.suite, self._log = suite, log
        self._process: asyncio.subprocess.Process | None = None
        self._listener: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._number = self._starts = 0
        self._starting = asyncio.Lock()

    async def problems(self, category: str) -> list[str]:
        """The ids of a category.

        Raises:
            SuiteError: the worker does not tell.
        """
        return [str(id) for id in await self._listed("problems", category)]

    async def texts(self, category: str) -> list[Any]:
        """What tasks may have been copied from, of a category: untrusted, as all that it says.

        Raises:
            SuiteError: the worker does not tell.
        """
        return await self._listed("texts", category)

    async def gold(self, id: str, style: str) -> list[dict[str, Any]]:
        """The messages that the suite's own answers come to.

        Raises:
            FailedError: it has none.
        """
        return list((await self._ask({"do": "gold", "id": id, "style": style})).content.get("messages", ()))

    async def start(self, id: str, style: str) -> Started:
        """Begin a problem.

        Raises:
            FailedError: it does not begin.
        """
        return Started(self, await self._ask({"do": "start", "id": id, "style": style}))

    async def close(self) -> None:
        """End it."""
        if self._process is not None:
            await _stop(self._process)
        if self._listener is not None:
            await self._listener

    async def _listed(self, what: str, category: str) -> list[Any]:
        try:
            return list((await self._ask({"do": what, "category": category})).content[what])
        except (FailedError, KeyError, TypeError) as fault:
            raise SuiteError(f"suite {self.suite.name}: {category}: {fault}; {self._see()}") from None

    async def _ask(self, request: dict[str, Any], of: _Answered | None = None) -> _Answered:
        """`of`: the start of the problem that this is about."""
        process = await self._running()
        if of is not None:
            if of.process is not process:
                raise FailedError(DIED)
            request = {**request, "of": of.number}
        self._number += 1
        number = self._number
        line = json.dumps({"n": number, **request}).encode() + b"\n"
        if len(line) > MOST_BYTES:
            raise FailedError(f"a message of {len(line):,} bytes, more than {MOST_BYTES:,}")
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            assert process.stdin is not None
            async with asyncio.timeout(_PATIENCE_S):
                process.stdin.write(line)
                with suppress(ConnectionError):  # it has died: the listener says so
                    await process.stdin.drain()
                answer = await future
        except TimeoutError:
            raise FailedError(f"no answer within {_PATIENCE_S:.0f} s") from None
        finally:
            self._waiting.pop(number, None)
        if "failed" in answer:
            raise FailedError(str(answer["failed"])[:500])
        return _Answered(process, number, answer)

    async def _running(self) -> asyncio.subprocess.Process:
        async with self._starting:
            if self._process is not None and self._process.returncode is None:
                return self._process
            self.suite.environment.check()
            if self._starts == _STARTS:
                raise SuiteError(f"suite {self.suite.name}: its worker died {_STARTS} times; {self._see()}")
            self._starts += 1
            if self._listener is not None:
                await self._listener
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("ab") as log:
                self._process = await self._started(log)
            await self._check_version(self._process)
            self._listener = asyncio.create_task(self._listen(self._process))
            return self._process

    async def _started(self, log: IO[bytes]) -> asyncio.subprocess.Process:
        # As an interpreter by its full path, though it may be a link: that is how it knows its environment.
        python, limits = self.suite.environment.python.absolute(), Limits(self.suite.memory_mb, processes=256)
        # Of our package only the workers are there, under their own names.
        where = {"PYTHONPATH": str(_SCRIPTS.parents[2]), "PYTHONDONTWRITEBYTECODE": "1"}
        command = isolated(python, ["-m", self.suite.worker], [_SCRIPTS], limits, where)
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=log, limit=_MOST_ANSWER_BYTES, start_new_session=True
        )

    async def _check_version(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        try:
            told = json.loads(await asyncio.wait_for(process.stdout.readline(), _PATIENCE_S))["version"]
        except (ValueError, LookupError, TypeError, TimeoutError):
            await _stop(process)
            raise SuiteError(f"suite {self.suite.name}: its worker does not start; {self._see()}") from None
        if told != self.suite.environment.version:
            await _stop(process)
            raise SuiteError(f"suite {self.suite.name}: is version {told}; {self.suite.environment.remedy}")

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        try:
            while line := await process.stdout.readline():
                answer = json.loads(line)
                future = self._waiting.get(answer["n"])
                if future is not None and not future.done():
                    future.set_result(answer)
        except (ValueError, LookupError, TypeError):
            pass  # not of the protocol: it is stopped, and what waits is told
        await _stop(process)
        for future in self._waiting.values():
            if not future.done():
                future.set_result({"failed": DIED})

    def _see(self) -> str:
        with suppress(OSError):
            lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            if lines:
                return f"{self._log} ends with {lines[-1][:200]!r}"
        return f"see {self._log}"


async def _stop(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):  # not by its own `kill`, which takes its end away from who waits for it
        os.kill(process.pid, signal.SIGKILL)
    await process.wait()


@dataclass(frozen=True, slots=True)
class _Answered:
    """What a process has answered to a request of this number."""

    process: asyncio.subprocess.Process
    number: int
    content: dict[str, Any]


class Started:
    """A problem under way. `state`: what was new last."""

    def __init__(self, worker: Worker, start: _Answered) -> None:
        self._worker, self._start, self.state = worker, start, start.content

    async def step(self, message: dict[str, Any]) -> None:
        """Say what was wanted.

        Raises:
            FailedError: the problem has failed, and is over.
        """
        self.state = (await self._worker._ask({"do": "step", "message": message}, self._start)).content

    async def drop(self) -> None:
        """Give it up."""
        with suppress(FailedError):
            await self._worker._ask({"do": "drop"}, self._start)
