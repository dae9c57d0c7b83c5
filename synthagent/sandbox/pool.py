"""Sandboxes for code that a model wrote: started ahead, lent to an episode each, cleared after it.

Limits (`params.yaml: reasoning.python`) -> a pool; code -> what it printed, and which limit ended it. A sandbox is a
process in the isolation that params name, with `keeper.py` in it. What comes out of it is untrusted text.
"""

from __future__ import annotations

import json
import os
import queue
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from synthagent import isolation
from synthagent.errors import IsolationError
from synthagent.params_reasoning import PythonParams
from synthagent.sandbox import filter

Fault = Literal["timeout", "cpu", "memory", "output", "killed"]
FAULTS: dict[Fault, str] = {
    "timeout": "the call took too long and was ended; what it had computed is gone",
    "cpu": "the CPU time of the episode is used up; what it had computed is gone",
    "memory": "the call wanted more memory than it may have",
    "output": "the call printed far too much and was ended; what it had computed is gone",
    "killed": "the call ended its process; what it had computed is gone",
}
REMEDY = f"{isolation.REMEDY}, or name a weaker isolation (`reasoning.python.isolation: rlimits`; docs/reasoning.md)"
PACKAGES = ("numpy", "sympy")  # there to import where this environment has them
_NEEDED_BY_THEM = ("mpmath",)
_MOST_PRINTED = 1_000_000  # bytes in a call
_MOST_FILES = 10_000
_MOST_CODE = 100_000  # characters
_GRACE_S = 10.0  # for the keeper, which ends a call itself
_START_S = 60.0
_ENVIRONMENT = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True)
class Ran:
    """What a call printed, cut to `output_chars`, and the limit that ended it.

    An exception is printed, as in a notebook, and ends nothing. State is lost with every error but `memory`.
    """

    output: str
    error: Fault | None = None
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

    def __init__(self, pool: Pool, sandbox: _Sandbox) -> None:
        self._pool, self.sandbox = pool, sandbox

    def run(self, code: str) -> Ran:
        """Run what a model wrote; its last expression is shown."""
        if len(code) > _MOST_CODE:
            return Ran(f"the code has {len(code):,} characters, more than {_MOST_CODE:,}; it was not run\n")
        answer = self.sandbox.ask({"do": "run", "code": code}, self._pool.patience_s)
        match answer:
            case {"output": str(output), "fault": None}:
                return Ran(output)
            case {"output": str(output), "fault": fault, "detail": str(detail)} if fault in FAULTS:
                return Ran(output, fault, detail)
        late = answer is _LATE
        self.sandbox.close()
        self.sandbox = self._pool.launch()
        return Ran("", "timeout") if late else Ran("", "killed", "and its sandbox with it")


class Pool:
    """Sandboxes that are ready. Made by `sandboxes`."""

    def __init__(self, limits: PythonParams, preloaded: tuple[str, ...]) -> None:
        self.patience_s = None if limits.isolation == "none" else limits.wall_s + _GRACE_S
        self._limits, self._preloaded = limits, preloaded
        # A sandbox dies with the thread that started it, so one thread starts them all and lasts as long as the pool.
        self._starter = ThreadPoolExecutor(1, "sandboxes")
        self._free: queue.SimpleQueue[_Sandbox] = queue.SimpleQueue()

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

    def launch(self) -> _Sandbox:
        """Start a sandbox; it is ready some time later."""
        return self._starter.submit(_Sandbox, self._limits, self._preloaded).result()

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
def sandboxes(limits: PythonParams, count: int = 1, preloaded: tuple[str, ...] = PACKAGES) -> Iterator[Pool]:
    """So many sandboxes, each for one episode at a time. `preloaded`: imported once, so that importing costs nothing.

    Raises:
        IsolationError: the isolation that params name is not here.
    """
    _check(limits.isolation)
    pool = Pool(limits, tuple(name for name in preloaded if _folder_of(name)))
    try:
        pool.fill(count)
        yield pool
    finally:
        pool.close()


@lru_cache(maxsize=3)
def available(kind: str) -> str | None:
    """Why code cannot be run in such an isolation here, or None if it can: it was tried."""
    limits = PythonParams(
        isolation=kind,  # type: ignore[arg-type]  # checked by it
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


_DEAD: dict[str, Any] = {"dead": True}
_LATE: dict[str, Any] = {"late": True}


class _Sandbox:
    """One keeper. `fresh`: no code has been run in it since it was started or cleared."""

    def __init__(self, limits: PythonParams, preloaded: tuple[str, ...]) -> None:
        self.fresh, self._ready, self._waiting = True, False, b""
        self._folder = None if limits.isolation == "bubblewrap" else tempfile.mkdtemp(prefix="sandbox-")
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            _command(limits, preloaded),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            start_new_session=True,
            bufsize=0,
            cwd=self._folder,
            env=None if self._folder is None else {**_ENVIRONMENT, "LC_ALL": "C.UTF-8", "HOME": self._folder},
        )

    def wait(self) -> None:
        """Until it is ready.

        Raises:
            IsolationError: it does not start.
        """
        if not self._ready and self._answer(_START_S) != {"ready": True}:
            self.close()
            raise IsolationError(f"isolation: a sandbox does not start: {self._last_words()}; {REMEDY}")
        self._ready = True

    def ask(self, request: dict[str, Any], patience_s: float | None) -> dict[str, Any]:
        """Send a request and wait for its answer: anything at all, `_LATE`, or `_DEAD`."""
        self.wait()
        self.fresh = request["do"] == "end"
        text = json.dumps(request).encode() + b"\n"
        assert self._process.stdin is not None
        try:
            while text:
                text = text[self._process.stdin.write(text) :]
        except OSError:
            return _DEAD
        return self._answer(patience_s)

    def close(self) -> None:
        """Kill it and whatever is in it."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()
        if self._folder is not None:
            # Not shutil's, which gives up where folders lie deep in one another.
            subprocess.run(["rm", "-rf", "--", self._folder], stderr=subprocess.DEVNULL, check=False)

    def _answer(self, patience_s: float | None) -> dict[str, Any]:
        pipe = self._process.stdout
        assert pipe is not None
        deadline = None if patience_s is None else time.monotonic() + patience_s
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        while b"\n" not in self._waiting:
            left = None if deadline is None else deadline - time.monotonic()
            if (left is not None and left <= 0) or not poll.poll(None if left is None else left * 1000 + 1):
                return _LATE
            chunk = pipe.read(1 << 16)
            if not chunk or len(self._waiting) > 20 * _MOST_PRINTED:
                return _DEAD
            self._waiting += chunk
        line, _, self._waiting = self._waiting.partition(b"\n")
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            return _DEAD
        return answer if isinstance(answer, dict) else _DEAD

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = self._said.read(10_000).decode("utf-8", "replace").strip().splitlines()
        return lines[-1][:200] if lines else f"it ends with {self._process.returncode}"


def _command(limits: PythonParams, preloaded: tuple[str, ...]) -> list[str]:
    """The interpreter that this environment was made from, with the keeper's text, in its isolation."""
    kind, mega = limits.isolation, 2**20
    packages = {name: folder for name in (*PACKAGES, *_NEEDED_BY_THEM) if (folder := _folder_of(name))}
    settings = {
        "limits": {}
        if kind == "none"
        else {"RLIMIT_AS": limits.memory_mb * mega, "RLIMIT_FSIZE": limits.file_mb * mega},
        "wall_s": None if kind == "none" else limits.wall_s,
        "cpu_s": None if kind == "none" else limits.cpu_s,
        "filter": "" if kind == "none" else filter.program().hex(),
        "output_chars": limits.output_chars,
        "most_bytes": _MOST_PRINTED,
        "most_files": _MOST_FILES if kind == "bubblewrap" else None,
        "packages": sorted({str(folder.parent) for folder in packages.values()}),
        "preloaded": preloaded,
    }
    keeper = Path(__file__).with_name("keeper.py").read_text(encoding="utf-8")
    # Not -I, by which the seed of hashes is not heeded; without -S it would see all that is installed.
    arguments = ["-s", "-P", "-S", "-c", keeper, json.dumps(settings)]
    python = Path(getattr(sys, "_base_executable", sys.executable))
    if kind != "bubblewrap":
        return [str(python), *arguments]
    readable = [path for folder in packages.values() for path in (folder, folder.with_name(f"{folder.name}.libs"))]
    most = isolation.Limits(limits.memory_mb, limits.processes, limits.file_mb)
    return isolation.isolated(python, arguments, [path for path in readable if path.exists()], most, _ENVIRONMENT)


def _folder_of(name: str) -> Path | None:
    found = find_spec(name)
    return Path(found.origin).parent.resolve() if found is not None and found.origin else None
