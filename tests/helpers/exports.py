"""What the tests of exports share: the rows of the project they export, and rollouts with rewards of every value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from helpers.tasks import reward_row
from synthagent.records import Reward, Task, Trajectory
from synthagent.stage import Paths
from synthagent.store import read_records, write_records


def tasks() -> list[Task]:
    return list(read_records(Paths.tasks, Task))


def demos() -> list[Trajectory]:
    return list(read_records(Paths.demos, Trajectory))


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def with_rollouts(rewards: bool = True) -> list[Trajectory]:
    """Make the demonstrations rollouts of a student; their rewards are 0, .1, .2 .. 1, 0 .. and every 12th unknown."""
    rows = [row.model_copy(update={"policy": "sft"}) for row in demos()]
    write_records(Paths.rollouts, Trajectory, rows)
    if rewards:
        write_records(Paths.rewards, Reward, (reward(row, n % 12) for n, row in enumerate(rows)))
    return rows


def reward(row: Trajectory, tenths: int) -> Reward:
    value = None if tenths == 11 else tenths / 10
    return reward_row(row.id, row.task_id, value)
