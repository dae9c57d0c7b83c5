"""The twin of a task that a model wrote: an executable task -> the pair, proved, where its rule says how.

Nothing is asked of a model: the rule names what the act depends on, and running both says whether they are twins.
"""

from __future__ import annotations

from synthagent.judging.proofs import decisive, prove
from synthagent.records import Task
from synthagent.teacher.twins import changes, pair


def proved_pair(task: Task, name: str) -> tuple[Task, Task] | None:
    """The task and its twin, called `name`, all of whose proofs hold; None where no change makes one."""
    for change in changes(task):
        own, twin = pair(task, change, name)
        try:
            known, found = prove(own), prove(twin)
            holds = False not in found.holds.values() and decisive(own, twin, known.extracted, found.extracted).holds
        except Exception:  # a world of unknown origin may break in any way
            continue
        if holds:
            update = {"workflow": found.extracted.workflow, "provenance": {**twin.provenance, "tokens": 0}}
            both = {"decisive": True}
            return own.model_copy(update=both), twin.model_copy(update=update | both)
    return None
