"""A small run without any training: its datasets, as the report and the notebook read them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.projects import default_params, write_params
from helpers.tasks import rubric_of
from synthagent.episodes.scripted import BASELINES, RECKLESS, Style, play
from synthagent.episodes.world import fresh_world
from synthagent.params import load_params
from synthagent.records import Evaluation, Rubric, Task, Trajectory
from synthagent.stage import Paths
from synthagent.stages import personas, rewards, rubrics, tasks
from synthagent.stages.evaluate import Acted, Decoding, evaluation_of
from synthagent.stages.rewards import reward_of
from synthagent.store import read_records, write_records, write_text

STUDENTS = {"base": 0.1, "sft": 0.5, "grpo": 0.95}
CURVE = ["step,reward,reward_std,perfect,dead_groups,violations,questions,tokens,entropy"] + [
    f"{n},{0.2 + n / 40},0.3,{n / 30},0.05,{0.2 - n / 100},{n / 8},45.5,0.4" for n in range(1, 13)
]


def build_dataset(folder: Path) -> None:
    """A small run without any training: scripted policies of less and more skill stand in for the students."""
    params = load_params(write_params(folder, {"tasks.count": 150}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for stage in (personas, tasks, rubrics):
            stage.run(params)
        judged = {rubric.task_id for rubric in read_records(Paths.rubrics, Rubric)}
        accepted = list(read_records(Paths.tasks, Task))
        rolled = [task for task in accepted if task.split == "train" and task.id in judged][:30]
        rollouts = [
            played(task, "sft", sample, RECKLESS if sample == 2 else Style(skill=0.7))
            for task in rolled
            for sample in range(3)
        ]
        write_records(Paths.rollouts, Trajectory, rollouts)
        rewards.run(params)
        rows = [row for task in accepted if task.split != "train" for row in evaluated(task)]
        write_records(Paths.evaluation, Evaluation, sorted(rows, key=lambda row: (row.policy, row.decoding)))
        write_text(Paths.plots / "grpo.csv", "\n".join(CURVE) + "\n")


def played(task: Task, policy: str, sample: int, style: Style) -> Trajectory:
    rng = random.Random(f"{task.id}-{policy}-{sample}")
    return play(task, fresh_world(task), style, rng).trajectory(policy, sample)


def evaluated(task: Task) -> Iterator[Evaluation]:
    runs: list[tuple[Trajectory, Decoding]] = [
        (baseline(task, fresh_world(task)).trajectory(name, 0), "scripted") for name, baseline in BASELINES.items()
    ]
    for name, skill in STUDENTS.items():
        runs.append((played(task, name, 0, Style(skill=skill)), "sampled"))
        if name != "base":
            runs.append((played(task, name, 1, Style(skill=skill)), "greedy"))
    for trajectory, decoding in runs:
        params = default_params()
        reward = reward_of(trajectory, task, rubric_of(task), params.reward, params.episode.max_turns)
        row = evaluation_of(Acted(trajectory, decoding), task, reward)
        assert row is not None
        yield row
