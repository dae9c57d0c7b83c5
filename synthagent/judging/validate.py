"""Proves the tasks of a file again: Parquet of tasks -> one line for each that fails, and a summary.

No stored verdict is believed: every proof is found anew by running the task. Of a simulated task, only `no_leak` and
`unique` can be known.

Launch: `synthagent validate TASKS.parquet`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from synthagent.judging.proofs import PROOFS, Uniqueness, leaked, prove
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
    total = len(read_keys(path, Task))
    if not total:
        yield ProofLine(f"{path}: no task in it; run `dvc repro tasks`, or give another file", failed=True)
        return
    index, ids = Uniqueness(), set[str]()
    failed = simulated = 0
    for task in progress(read_records(path, Task), total, "validate"):
        faults = _faults(task, index, ids)
        failed += bool(faults)
        simulated += task.world_kind == "simulated"
        if faults:
            yield ProofLine(f"{task.id}: {'; '.join(faults)}", failed=True)
    some = f"; {simulated} of them simulated, of which only no_leak and unique are known" if simulated else ""
    yield ProofLine(f"{path}: {total - failed} of {total} tasks hold all proofs{some}", failed=False)


def _faults(task: Task, index: Uniqueness, ids: set[str]) -> list[str]:
    """All that a task fails; a task of unknown origin may be broken in any way, and is then not to be run."""
    again = task.id in ids
    ids.add(task.id)
    try:
        faults, like = _own_faults(task), index.near_duplicate_of(task)
    except Exception as error:
        return [f"solvable: it cannot be run: {type(error).__name__}: {' '.join(str(error).split())[:200]}"]
    if again:
        return [*faults, "unique: the id occurs more than once"]
    return [*faults, f"unique: nearly the same as {like}"] if like else faults


def _own_faults(task: Task) -> list[str]:
    """What a task fails by itself."""
    if task.world_kind == "simulated":
        leaks = leaked(task)
        return [f"no_leak: values in plain sight: {', '.join(leaks)}"] if leaks else []
    proved = prove(task)
    faults = [f"{name}: {proved.detail[name]}" for name in PROOFS if not proved.holds.get(name, True)]
    if task.workflow != proved.extracted.workflow:
        faults.append(f"workflow: the reference's is {' > '.join(proved.extracted.workflow) or 'empty'}")
    return faults
