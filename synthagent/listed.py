"""Which tasks there are, by a few of their columns: `data/tasks.parquet` -> names, splits, twins.

A stage that chooses some of many thousand tasks by these reads the worlds of the chosen ones only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from synthagent.records import Split, Task, WorldKind
from synthagent.stage import Paths
from synthagent.store import read_columns


@dataclass(frozen=True, slots=True)
class ListedTask:
    """A task without all that makes it one."""

    id: str
    twin_of: str | None
    split: Split
    world_kind: WorldKind


AnyTask = TypeVar("AnyTask", ListedTask, Task)
"""What can be chosen: tasks as they are listed, or whole ones."""


def listed_tasks() -> list[ListedTask]:
    """All tasks, in the order of their ids.

    Raises:
        StoreError: as `read_columns`.
    """
    rows = read_columns(Paths.tasks, Task, ("id", "twin_of", "split", "world_kind"))
    return [ListedTask(**row) for row in rows]
