"""Tasks that others act in: Parquet files -> tasks with what judges them; turns -> an episode, and what it came to.

Light on purpose: no model, no training library. `synthagent export verifiers` and `export openenv` copy it, with all
that it imports, into packages for environments of others.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from synthagent.episodes.episode import MAX_TURNS, Episode, play
from synthagent.episodes.turn import Turn
from synthagent.episodes.world import is_simulated
from synthagent.errors import InputError, StoreError
from synthagent.frozen import Record
from synthagent.judging.reward import reward_of, score_by_rule, verdicts_by_check
from synthagent.params import RewardParams
from synthagent.records import Reward, Rubric, Task
from synthagent.store import find_record, read_keys, read_records
from synthagent.text import visible


class Rules(Record):
    """What the episodes of a run have in common, as its `params.yaml` says."""

    max_turns: int = Field(default=MAX_TURNS, ge=1)
    reward: RewardParams


class Playable(Record):
    """A task, and what its episodes are judged by."""

    task: Task
    rubric: Rubric


def by_code_alone(task: Task, rubric: Rubric) -> bool:
    """Whether episodes need no model beside the policy: neither for the world nor for the verdicts."""
    return not is_simulated(task) and all(criterion.check is not None for criterion in rubric.criteria)


def read_playables(tasks: Path, rubrics: Path, split: str | None = None) -> Iterator[Playable]:
    """The tasks of a file that have a rubric and need no model, in their order.

    Raises:
        InputError: there is none.
        StoreError: a file is missing, or cannot be read; says which stage writes it.
    """
    judged = {rubric.task_id: rubric for rubric in read_records(written(rubrics, "rubrics"), Rubric)}
    found = 0
    for task in read_records(written(tasks, "tasks"), Task):
        rubric = judged.get(task.id)
        if rubric is not None and split in (None, task.split) and by_code_alone(task, rubric):
            found += 1
            yield Playable(task=task, rubric=rubric)
    if not found:
        which = f"of the split {split} " if split else ""
        raise InputError(
            f"{tasks}: no task {which}has a rubric in {rubrics} and needs no model; run `dvc repro rubrics`"
        )


def task_of(tasks: Path, id: str) -> Task:
    """The task of a file with this id.

    Raises:
        InputError: there is none; names the nearest ids.
        StoreError: the file is missing, or cannot be read.
    """
    task = find_record(written(tasks, "tasks"), Task, id)
    if task is None:
        keys = read_keys(tasks, Task)
        if not keys:
            raise InputError(f"{tasks}: has no tasks; run `dvc repro tasks`")
        near = ", ".join(difflib.get_close_matches(id, keys, 3, 0.0))
        raise InputError(visible(f"{id[:100]}: no such task in {tasks}; the nearest are {near}"))
    return task


def written(path: Path, stage: str) -> Path:
    """The file, if it is there.

    Raises:
        StoreError: it is not; names the stage that writes it.
    """
    if not path.exists():
        raise StoreError(f"{path}: no such file; the stage {stage} writes it: run `dvc repro {stage}` first")
    return path


def played(task: Task, turns: Iterable[Turn], rules: Rules) -> Episode:
    """The episode that turns make in a fresh world, whoever took them, and wherever.

    Only the turns count: what a record says that a tool or the user answered is not looked at, so it cannot be forged.
    """
    return play(Episode(task, max_turns=rules.max_turns), iter(turns))


def judged(episode: Episode, rubric: Rubric, rules: Rules, name: str = "live") -> Reward:
    """What an episode earned, by checks alone, as the stage `rewards` would say; on record under `name`."""
    verdicts = verdicts_by_check(rubric, episode.world)
    earned = score_by_rule(rubric.criteria, verdicts, episode.end, rules.reward)
    return reward_of(earned, episode.task.id, verdicts, name)


def outcome_of(reward: Reward, episode: Episode) -> Mapping[str, Any]:
    """What an agent is told when its episode has ended, as a JSON object; null values where it could not be judged."""
    return {"end": episode.end, **reward.model_dump(mode="json", exclude={"trajectory_id"})}
