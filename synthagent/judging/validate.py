"""Proves the tasks of a file again: Parquet of tasks -> one line for each that fails, and a summary.

No stored verdict is believed: every proof is found anew by running the task, `decisive` by running it and its twin. Of
a simulated task, only `no_leak` and `unique` can be known.

Launch: `synthagent validate TASKS.parquet`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from synthagent.judging.criteria import Derived
from synthagent.judging.proofs import PROOFS, Uniqueness, decisive, leaked, prove
from synthagent.records import Task
from synthagent.stage import progress
from synthagent.store import read_keys, read_records


@dataclass(frozen=True, slots=True)
class ProofLine:
    """A line to print. `failed`: it tells of a failure."""

    text: str
    failed: bool


def validate_file(path: Path) -> Iterator[ProofLine]:
    """Yield a line for every task that fails, in file order, and a summary.

    Raises:
        StoreError: the file cannot be read as tasks.
    """
    ids = read_keys(path, Task)
    if not ids:
        yield ProofLine(f"{path}: no task in it; run `dvc repro tasks`, or give another file", failed=True)
        return
    failed = simulated = 0
    for found in _in_order(progress(read_records(path, Task), len(ids), "validate"), set(ids)):
        failed += bool(found.faults)
        simulated += found.simulated
        if found.faults:
            yield ProofLine(f"{found.name}: {'; '.join(found.faults)}", failed=True)
    some = f"; {simulated} of them simulated, of which only no_leak and unique are known" if simulated else ""
    yield ProofLine(f"{path}: {len(ids) - failed} of {len(ids)} tasks hold all proofs{some}", failed=False)


@dataclass(slots=True)
class _Found:
    """What a task fails. `task` and `path`: only until its twin has come; `path`: None where it cannot be run."""

    name: str
    simulated: bool
    faults: list[str]
    task: Task | None
    path: Derived | None = None

    def settle(self) -> None:
        """Nothing more is to be found; let go of what it was found by."""
        self.task = self.path = None


def _in_order(tasks: Iterator[Task], ids: set[str]) -> Iterator[_Found]:
    """What each task fails, in file order. A task whose twin comes later is kept until then, and holds up the lines."""
    index, twins, come, held = Uniqueness(), _Twins(ids), set[str](), deque[_Found]()
    for task in tasks:
        found = _alone(task, index)
        held.append(found)
        if task.id in come:
            found.faults.append("unique: the id occurs more than once")
            found.settle()
        else:
            come.add(task.id)
            twins.come(found, task)
        while held and not held[0].task:
            yield held.popleft()


def _alone(task: Task, index: Uniqueness) -> _Found:
    """What a task fails without regard to its twin; of unknown origin, it may be broken in any way."""
    found = _Found(task.id, task.world_kind == "simulated", [], task)
    try:
        if found.simulated:
            leaks = leaked(task)
            found.faults += [f"no_leak: values in plain sight: {', '.join(leaks)}"] if leaks else []
        else:
            proved = prove(task)
            found.faults += [f"{name}: {proved.detail[name]}" for name in PROOFS if proved.holds.get(name) is False]
            found.path = proved.extracted
            if task.workflow != found.path.workflow:
                found.faults.append(f"workflow: the reference's is {' > '.join(found.path.workflow) or 'empty'}")
        if like := index.near_duplicate_of(task):
            found.faults.append(f"unique: nearly the same as {like}")
    except Exception as error:
        found.faults, found.path = [f"solvable: it cannot be run: {_told(error)}"], None
    return found


class _Twins:
    """Finds what is wrong with a task's twin, once it has come. Keeps the tasks whose twin is still to come."""

    def __init__(self, ids: set[str]) -> None:
        self._ids = ids
        self._waiting: dict[str, list[_Found]] = {}  # by the id that they wait for
        self._why_not: dict[str, str] = {}  # by the id of a task that has come

    def come(self, found: _Found, task: Task) -> None:
        """Compare a task with its twin, or keep it until that comes."""
        twin = None if found.simulated else task.twin_of
        met = False
        self._why_not[task.id] = _why_not(task)
        for other in self._waiting.pop(task.id, []):
            if other.name == twin:
                met = True
                _compare(other, found)
            else:
                other.faults.append(f"decisive: its twin {task.id} {_why_not(task)}")
            other.settle()
        if twin and not met and not (fault := self._fault(task.id, twin)):
            self._waiting.setdefault(twin, []).append(found)
            return
        if twin and not met:
            found.faults.append(f"decisive: {fault}")
        elif found.simulated and task.twin_of:
            found.faults.append(f"decisive: a simulated task has no twin, but it names {task.twin_of}: {_REMEDY}")
        found.settle()

    def _fault(self, name: str, twin: str) -> str | None:
        """Why there is no use in waiting for a twin."""
        if name == twin:
            return f"it names itself as its twin: {_REMEDY}"
        if twin not in self._ids:
            return f"its twin {twin} is not in the file: add it, or {_REMEDY}"
        return f"its twin {twin} {self._why_not[twin]}" if twin in self._why_not else None


_REMEDY = "set twin_of to null"


def _why_not(task: Task) -> str:
    """Why a task is not the twin of one that it does not name."""
    if task.world_kind == "simulated":
        return "is a simulated task, which has no twin"
    return f"names {task.twin_of} as its own twin" if task.twin_of else "names no twin"


def _compare(first: _Found, second: _Found) -> None:
    """Tell each of two twins what is wrong with the pair."""
    assert first.task
    assert second.task
    faults = []
    if first.task.split != second.task.split:
        where = f"{first.name} is in {first.task.split} and {second.name} in {second.task.split}"
        faults.append(f"{where}: twins share a split")
    if first.path and second.path:
        try:
            proved = decisive(first.task, second.task, first.path, second.path)
            faults += [] if proved.holds else [proved.detail]
        except Exception as error:
            faults.append(f"{first.name} and {second.name} cannot be run by each other's path: {_told(error)}")
    else:
        unable = " and ".join(found.name for found in (first, second) if not found.path)
        faults.append(f"{unable} cannot be run")
    for found in (first, second):
        found.faults += [f"decisive: {fault}" for fault in faults]


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
