"""Sandboxes for code that a model wrote: started ahead, lent to an episode each, cleared after it.

Limits (`params.yaml: reasoning.python`) -> a pool; code -> what it printed, and which limit ended it. A sandbox is a
process in the isolation that params name, with `keeper.py` in it. What comes out of it is untrusted text.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from synthagent import isolation
from synthagent.errors import IsolationError
from synthagent.lines import DEAD, LATE
from synthagent.params_reasoning import PythonIsolation, PythonParams
from synthagent.sandbox import filter
from synthagent.sandbox.process import PACKAGES, REMEDY, Sandbox, folder_of

SandboxFault = Literal["timeout", "cpu", "memory", "output", "killed"]
FAULTS: dict[SandboxFault, str] = {
    "timeout": "the call took too long and was ended; what it had computed is gone",
    "cpu": "the CPU time of the episode is used up; what it had computed is gone",
    "memory": "the call wanted more memory than it may have",
    "output": "the call printed far too much and was ended; what it had computed is gone",
    "killed": "the call ended its process; what it had computed is gone",
}
_MOST_CODE = 100_000  # characters
_GRACE_S = 10.0  # for the keeper, which ends a call itself


@dataclass(frozen=True, slots=True)
class Ran:
    """What a call printed, cut to `output_chars`, and the limit that ended it.

    An exception is printed, as in a notebook, and ends nothing. State is lost with every error but `memory`.
    """

    output: str
    error: SandboxFault | None = None
    detail: str = ""

    @property
    def observation(self) -> str:
        """What the agent is told: untrusted text."""
        if self.error is None:
            return self.output
        told = f"[{self.error}: {FAULTS[self.error]}{f' ({self.detail})' if self.detail else ''}]"
        return f"{self.output.rstrip()}\n{told}".lstrip()


class Session:
    """An episode's Python: state lasts from call to call. Not to be used by two threads at once."""

    def __init__(self, pool: SandboxPool, sandbox: Sandbox) -> None:
        self._pool, self.sandbox = pool, sandbox

    def run(self, code: str) -> Ran:
        """Run what a model wrote; its last expression is shown."""
        if len(code) > _MOST_CODE:
            return Ran(f"the code has {len(code):,} characters, more than {_MOST_CODE:,}; it was not run\n")
        fresh = self.sandbox.fresh
        answer = self.sandbox.ask({"do": "run", "code": code}, self._pool.patience_s)
        if answer is DEAD and fresh and self.sandbox.ended:  # it may have died before, while it was waiting
            self.sandbox.close()
            self.sandbox = self._pool.launch()
            answer = self.sandbox.ask({"do": "run", "code": code}, self._pool.patience_s)
        match answer:
            case {"output": str(output), "fault": None}:
                return Ran(output)
            case {"output": str(output), "fault": fault, "detail": str(detail)} if fault in FAULTS:
                return Ran(output, fault, detail)
        late = answer is LATE
        self.sandbox.close()
        self.sandbox = self._pool.launch()
        return Ran("", "timeout") if late else Ran("", "killed", "and its sandbox with it")


class SandboxPool:
    """Sandboxes that are ready. Made by `sandboxes`."""

    def __init__(self, limits: PythonParams, preloaded: tuple[str, ...]) -> None:
        self.patience_s = None if limits.isolation == "none" else limits.wall_s + _GRACE_S
        self._limits, self._preloaded = limits, preloaded
        # A sandbox dies with the thread that started it, so one thread starts them all and lasts as long as the pool.
        self._starter = ThreadPoolExecutor(1, "sandboxes")
        self._free: queue.SimpleQueue[Sandbox] = queue.SimpleQueue()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A sandbox to oneself; waits until one is free.

        Raises:
            IsolationError: none can be started any more.
        """
        sandbox = self._free.get()
        try:
            sandbox.wait()
        except IsolationError:
            self._free.put(self.launch())
            raise
        session = Session(self, sandbox)
        try:
            yield session
        finally:
            left = session.sandbox
            if left.fresh or left.ask({"do": "end"}, _GRACE_S) == {"clean": True}:
                self._free.put(left)
            else:
                left.close()
                self._free.put(self.launch())

    def launch(self) -> Sandbox:
        """Start a sandbox; it is ready some time later."""
        return self._starter.submit(Sandbox, self._limits, self._preloaded).result()

    def fill(self, count: int) -> None:
        """Start so many, and wait for one."""
        started = [self.launch() for _ in range(count)]
        for sandbox in started:
            self._free.put(sandbox)
        started[0].wait()

    def close(self) -> None:
        """End those that are free; one that is lent ends with the thread that started it."""
        with suppress(queue.Empty):
            while True:
                self._free.get_nowait().close()
        self._starter.shutdown()


@contextmanager
def sandboxes(limits: PythonParams, count: int = 1, preloaded: tuple[str, ...] = PACKAGES) -> Iterator[SandboxPool]:
    """So many sandboxes, each for one episode at a time. `preloaded`: imported once, so that importing costs nothing.

    Raises:
        IsolationError: the isolation that params name is not here.
    """
    _check(limits.isolation)
    pool = SandboxPool(limits, tuple(name for name in preloaded if folder_of(name)))
    try:
        pool.fill(count)
        yield pool
    finally:
        pool.close()


@lru_cache(maxsize=3)
def available(kind: PythonIsolation) -> str | None:
    """Why code cannot be run in such an isolation here, or None if it can: it was tried."""
    limits = PythonParams(
        isolation=kind,
        wall_s=20,
        cpu_s=20,
        memory_mb=256,
        processes=4,
        output_chars=1000,
        file_mb=1,
    )
    try:
        with sandboxes(limits, preloaded=()) as pool, pool.session() as session:
            ran = session.run("6 * 7")
            return None if ran == Ran("42\n") else f"6 * 7 gives {ran.observation.strip()[:200]!r}"
    except IsolationError as error:
        return str(error).removeprefix("isolation: ").removesuffix(f"; {REMEDY}")


def _check(kind: str) -> None:
    fault = "" if kind == "none" else filter.unsupported()
    if not fault and kind == "bubblewrap":
        fault = isolation.unavailable()
    if fault:
        raise IsolationError(f"isolation: {fault}; {REMEDY}")
