"""Whether proposals become tasks: pairs of twins, or single tasks -> judged by running -> accepted, or rejected rows.

A pair is accepted or rejected as a whole. Last, tasks are compared with problems of benchmarks and with each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from synthagent.judging.natural_proofs import NATURAL_PROOFS
from synthagent.judging.proofs import PROOFS, Proved, Uniqueness, decisive, prove
from synthagent.records import Rejected, Task
from synthagent.teacher.decontaminate import Decontamination, in_batches

COPIED = "contaminated"  # the reason to reject what is like a problem of a benchmark
OF_NATURAL = (*PROOFS, *NATURAL_PROOFS)  # what natural tasks are held to


@dataclass(frozen=True, slots=True)
class PairProved:
    """A pair of twins, or a single task, that was run: for each the first proof that failed, and what the others say.

    A fault is the proof and the detail.
    """

    tasks: tuple[Task, ...]
    faults: tuple[tuple[str, str] | None, ...]
    updates: tuple[dict[str, Any], ...]


def judge(tasks: Sequence[Task], required: Sequence[str] = PROOFS) -> PairProved:
    """Prove a pair of twins, or a single task: all but that nothing is nearly the same."""
    proved = [prove(task) for task in tasks]
    faults = [_first_failed(found, required) for found in proved]
    if len(tasks) == 2 and not any(faults):
        whole = decisive(tasks[0], tasks[1], proved[0].extracted, proved[1].extracted)
        faults = [None if whole.holds else ("decisive", whole.detail)] * 2
    pair_holds: dict[str, Any] = {"decisive": True} if len(tasks) == 2 else {}
    updates = [
        {**found.columns, "unique": True, "workflow": found.extracted.workflow, **pair_holds} for found in proved
    ]
    return PairProved(tuple(tasks), tuple(faults), tuple(updates))


def judge_proposals(proposals: Iterable[Sequence[Task]], required: Sequence[str] = PROOFS) -> Iterator[Task | Rejected]:
    """Prove every pair of twins, or single task; yield its tasks as accepted, or as rejected rows with the reason.

    That is the first proof that failed; or `twin`, where it was the twin's.
    """
    return accept(judge(tasks, required) for tasks in proposals)


def accept(judged: Iterable[PairProved], comparison: Decontamination | None = None) -> Iterator[Task | Rejected]:
    """The tasks in their order, accepted where no problem and nothing before is nearly the same, or rejected."""
    index = Uniqueness()
    for compared in in_batches(judged, lambda one: () if any(one.faults) else one.tasks, comparison):
        one, copies = compared.group, compared.hits
        faults = list(one.faults)
        if not any(faults):
            faults = [(COPIED, copies[task.id]) if task.id in copies else None for task in one.tasks]
        if not any(faults):  # last, so that nothing is too like a task that is not accepted
            likes = [index.near_duplicate_of(task) for task in one.tasks]
            faults = [("unique", f"nearly the same as {like}") if like else None for like in likes]
        for task, update, fault in zip(one.tasks, one.updates, faults, strict=True):
            if fault:
                yield rejected(task, *fault)
            elif any(faults):
                yield rejected_with_twin(task)
            else:
                yield task.model_copy(update=update)


def _first_failed(proved: Proved, required: Sequence[str]) -> tuple[str, str] | None:
    """The first required proof that a task fails by itself, and the detail."""
    failed = next((name for name in required if proved.holds.get(name) is False), None)
    return (failed, proved.detail[failed]) if failed else None


def rejected(task: Task, reason: str, detail: str) -> Rejected:
    """The row of a task that was not accepted."""
    return Rejected(id=task.id, stage="tasks", reason=reason, detail=detail, payload=task.model_dump_json())


def rejected_with_twin(task: Task) -> Rejected:
    """The row of a task whose twin was not accepted."""
    return rejected(task, "twin", f"its twin {task.twin_of} was rejected")


def alone(task: Task) -> Task:
    """A task whose twin is left out."""
    return task.model_copy(update={"twin_of": None, "decisive": None})
