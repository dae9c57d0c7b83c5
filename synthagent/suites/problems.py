"""What the problems of benchmarks say: a worker's answers -> `KnownProblem`; kept until suites change."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from synthagent.errors import InputError, IsolationError, SuiteError
from synthagent.isolation import REMEDY, unavailable
from synthagent.problems import KnownProblem, RightCall, Signature, read_problems, write_problems
from synthagent.stage import progress
from synthagent.suites.known import SUITES, suite_of
from synthagent.suites.run import FOLDER
from synthagent.suites.suite import Suite
from synthagent.suites.worker import Worker
from synthagent.teacher.variety import shape_of

_WORKERS = Path(__file__).parent / "workers"


def chosen_suites(names: str) -> list[Suite]:
    """`installed`: those whose environment is here; `none`; or names with commas between.

    Raises:
        SuiteError: no such suite.
    """
    match names:
        case "installed":
            return [suite for suite in SUITES.values() if not suite.environment.fault()]
        case "none":
            return []
    return [suite_of(name) for name in filter(None, names.split(","))]


def export_problems(folder: Path, names: str) -> list[str]:
    """Write a file of problems a suite, for `tasks.decontaminate.path`; say so in lines.

    Raises:
        SuiteError: no suite is installed, or one does not tell.
        StoreError: the disk refuses.
    """
    suites = chosen_suites(names)
    if not suites:
        raise SuiteError("export problems: no suite is installed; `make bench-suites` makes their environments")
    lines = []
    for suite in suites:
        path = folder / f"{suite.name}.jsonl"
        lines.append(f"{path}: {write_problems(path, problems_of(suite)):,} problems of {_source(suite)}")
    return [*lines, f"next: set tasks.decontaminate.path to {folder} in params.yaml, and `dvc repro`"]


def problems_of(suite: Suite) -> list[KnownProblem]:
    """All problems of a suite, in its order.

    Raises:
        SuiteError: its environment is missing, or it does not tell.
        IsolationError: nothing here keeps it apart.
    """
    suite.environment.check()
    kept = FOLDER / suite.name / f"problems-{_key(suite)}.jsonl"
    if kept.exists():
        try:
            return read_problems(kept, "suites")
        except InputError:
            kept.unlink()
    if fault := unavailable():
        raise IsolationError(f"suite {suite.name}: {fault}; {REMEDY}")
    problems = asyncio.run(_asked(suite))
    write_problems(kept, problems)
    return problems


async def _asked(suite: Suite) -> list[KnownProblem]:
    worker = Worker(suite, FOLDER / suite.name / "worker.log")
    found: list[KnownProblem] = []
    try:
        for category in progress(suite.categories, len(suite.categories), f"{suite.name} problems"):
            found += _read(suite, category, await worker.texts(category))
    finally:
        await worker.close()
    return found


def _read(suite: Suite, category: str, told: Sequence[Any]) -> list[KnownProblem]:
    try:
        return [
            KnownProblem(
                id=one["id"],
                source=_source(suite),
                category=category,
                instructions=tuple(text for text in one["instructions"] if text.strip()),
                tools=tuple(map(_signature, one["tools"])),
                answers=tuple(RightCall(**call) for call in one["answers"]),
            )
            for one in told
        ]
    except (ValidationError, LookupError, TypeError, AttributeError) as error:
        why = " ".join(str(error).split())[:200]
        raise SuiteError(
            f"suite {suite.name}: {category}: its worker tells no problems ({why}); see {_WORKERS}"
        ) from None


def _signature(tool: Mapping[str, Any]) -> Signature:
    """A tool as a worker tells it; `takes`, its schema of parameters, may be missing."""
    return Signature(name=tool["name"], parameters=tool["parameters"], shape=shape_of(tool.get("takes")))


def _source(suite: Suite) -> str:
    return f"{suite.name} {suite.environment.version}"


def _key(suite: Suite) -> str:
    digest = hashlib.sha256(f"{_source(suite)} {suite.categories}".encode())
    for path in sorted(_WORKERS.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
