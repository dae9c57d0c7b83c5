"""One sandbox: a process in the isolation that params name, with `keeper.py` in it. Requests -> answers, over pipes."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from synthagent import isolation
from synthagent.errors import IsolationError
from synthagent.lines import LineProcess
from synthagent.params_reasoning import PythonParams
from synthagent.sandbox import filter

REMEDY = f"{isolation.REMEDY}, or name a weaker isolation (`reasoning.python.isolation: rlimits`; docs/reasoning.md)"
PACKAGES = ("numpy", "sympy")  # there to import where this environment has them
_NEEDED_BY_THEM = ("mpmath",)
MOST_PRINTED = 1_000_000  # bytes in a call
_MOST_FILES = 10_000
_START_S = 60.0
_ENVIRONMENT = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"}


class Sandbox:
    """One keeper. `fresh`: no code has been run in it since it was started or cleared."""

    def __init__(self, limits: PythonParams, preloaded: tuple[str, ...]) -> None:
        self.fresh, self._ready = True, False
        self._folder = None if limits.isolation == "bubblewrap" else tempfile.mkdtemp(prefix="sandbox-")
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        own = None if self._folder is None else {**_ENVIRONMENT, "LC_ALL": "C.UTF-8", "HOME": self._folder}
        self._process = LineProcess(_command(limits, preloaded), self._said, self._folder, own)

    def wait(self) -> None:
        """Until it is ready.

        Raises:
            IsolationError: it does not start.
        """
        if not self._ready and self._process.answer(_START_S) != {"ready": True}:
            self.close()
            raise IsolationError(f"isolation: a sandbox does not start: {self._last_words()}; {REMEDY}")
        self._ready = True

    def ask(self, request: dict[str, Any], patience_s: float | None) -> dict[str, Any]:
        """Send a request and wait for its answer: anything at all, `LATE`, or `DEAD`."""
        self.wait()
        self.fresh = request["do"] == "end"
        return self._process.ask(request, patience_s)

    @property
    def ended(self) -> bool:
        """Whether its process is gone."""
        return self._process.code is not None

    def close(self) -> None:
        """Kill it and whatever is in it."""
        self._process.close()
        if self._folder is not None:
            # Not shutil's, which gives up where folders lie deep in one another.
            subprocess.run(["rm", "-rf", "--", self._folder], stderr=subprocess.DEVNULL, check=False)

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = self._said.read(10_000).decode("utf-8", "replace").strip().splitlines()
        return lines[-1][:200] if lines else f"it ends with {self._process.code}"


def _command(limits: PythonParams, preloaded: tuple[str, ...]) -> list[str]:
    """The interpreter that this environment was made from, with the keeper's text, in its isolation."""
    kind, mega = limits.isolation, 2**20
    packages = {name: folder for name in (*PACKAGES, *_NEEDED_BY_THEM) if (folder := folder_of(name))}
    settings = {
        "limits": {}
        if kind == "none"
        else {"RLIMIT_AS": limits.memory_mb * mega, "RLIMIT_FSIZE": limits.file_mb * mega},
        "wall_s": None if kind == "none" else limits.wall_s,
        "cpu_s": None if kind == "none" else limits.cpu_s,
        "filter": "" if kind == "none" else filter.program().hex(),
        "output_chars": limits.output_chars,
        "most_bytes": MOST_PRINTED,
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


def folder_of(name: str) -> Path | None:
    found = find_spec(name)
    return Path(found.origin).parent.resolve() if found is not None and found.origin else None
