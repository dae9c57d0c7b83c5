"""Trajectories -> JSON lines for fine-tuning: `messages` and `tools` in OpenAI's format, and their origin.

Launch: `synthagent export messages FILE.jsonl --source rollouts --min-reward 0.5`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from synthagent.errors import InputError, StoreError
from synthagent.exchange.files import dataset, has, openai_tools, read, replaceable_lines
from synthagent.records import Reward, Task, Trajectory
from synthagent.stage import Paths, progress
from synthagent.store import read_keys, read_records, write_lines

Source = Literal["demos", "rollouts"]
_KEYS = ("messages", "tools", "id", "task_id", "policy")


def export_messages(out: Path, source: Source, min_reward: float | None = None, data: Path = Paths.data) -> str:
    """Write the trajectories of `source` to `out`, the faulty left out, and say how many.

    Args:
        min_reward: rollouts only: the least reward that a trajectory must have earned.

    Raises:
        InputError: `out` holds something else, demonstrations have no rewards, or no trajectory is left.
        StoreError: a dataset is missing, or of another run; names the stage that writes it.
    """
    if min_reward is not None and source == "demos":
        raise InputError("export messages: demonstrations have no rewards; use --source rollouts, or no --min-reward")
    replaceable_lines(out, _KEYS, ("reward",))
    trajectories = dataset(data, source)
    tools = {task.id: openai_tools(task) for task in read(data, "tasks", Task)}
    rewards = _rewards(data) if source == "rollouts" and (min_reward is not None or has(data, "rewards")) else {}
    counts: Counter[str] = Counter()

    def lines() -> Iterator[str]:
        total = len(read_keys(trajectories, Trajectory))
        for row in progress(read_records(trajectories, Trajectory), total, "export"):
            reward = rewards.get(row.id)
            if row.end == "error" or row.error:
                counts["faulty"] += 1
            elif min_reward is not None and (reward is None or reward < min_reward):
                counts["below the reward asked for"] += 1
            elif row.task_id not in tools:
                raise StoreError(f"{trajectories}: {row.id}: its task is not in {data / 'tasks.parquet'}; `dvc repro`")
            else:
                yield _line(row, tools[row.task_id], reward)
        if not total - sum(counts.values()):
            raise InputError(f"{trajectories}: no trajectory to export ({_left_out(counts)}); {out} is as it was")

    written = write_lines(out, lines())
    return f"{out}: {written} trajectories{f'; left out: {_left_out(counts)}' if counts else ''}"


def _line(row: Trajectory, tools: Sequence[Mapping[str, Any]], reward: float | None) -> str:
    line = dict(zip(_KEYS, (row.messages, tools, row.id, row.task_id, row.policy), strict=True))
    return json.dumps(line if reward is None else {**line, "reward": reward}, ensure_ascii=False)


def _left_out(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {why}" for why, count in sorted(counts.items())) or "it has none"


def _rewards(data: Path) -> dict[str, float]:
    """Trajectory id -> reward; one that could not be judged has none."""
    return {row.trajectory_id: row.reward for row in read(data, "rewards", Reward) if row.reward is not None}
