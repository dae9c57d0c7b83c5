"""A small run without any training: its datasets, as the report and the notebook read them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.projects import write_params
from helpers.tasks import played, scored, scripted
from synthagent.episodes.scripted import RECKLESS, SCRIPTS, Style
from synthagent.params_file import load_params
from synthagent.records import Decoding, EvaluatedEpisode, Evaluation, Rubric, Task, Trajectory
from synthagent.stage import Paths
from synthagent.stages import personas, rewards, rubrics, tasks
from synthagent.stages.evaluate import Acted, evaluation_of, expert_path, kept
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
            acted(task, "sft", sample, RECKLESS if sample == 2 else Style(skill=0.7))
            for task in rolled
            for sample in range(3)
        ]
        write_records(Paths.rollouts, Trajectory, rollouts)
        rewards.run(params)
        done = [pair for task in accepted if task.split != "train" for pair in evaluated(task)]
        rows = sorted((row for row, _ in done), key=lambda row: (row.policy, row.decoding))
        write_records(Paths.evaluation, Evaluation, rows)
        write_records(Paths.episodes, EvaluatedEpisode, sorted((e for _, e in done), key=lambda episode: episode.id))
        write_text(Paths.details("tasks"), "{}\n")
        write_text(Paths.metrics("tasks"), "{}\n")
        write_text(Paths.plots / "grpo.csv", "\n".join(CURVE) + "\n")


def acted(task: Task, policy: str, sample: int, style: Style) -> Trajectory:
    rng = random.Random(f"{task.id}-{policy}-{sample}")
    return played(task, style, rng, sample=sample).trajectory(policy)


def evaluated(task: Task) -> Iterator[tuple[Evaluation, EvaluatedEpisode]]:
    runs: list[tuple[Trajectory, Decoding]] = [(scripted(name, task).trajectory(name), "scripted") for name in SCRIPTS]
    for name, skill in STUDENTS.items():
        runs.append((acted(task, name, 0, Style(skill=skill)), "sampled"))
        if name != "base":
            runs.append((acted(task, name, 0, Style(skill=min(1, skill + 0.02))), "greedy"))
    for trajectory, decoding in runs:
        one, reward = Acted(trajectory, decoding), scored(trajectory, task)
        row = evaluation_of(one, task, reward, expert_path(task))
        assert row is not None
        yield row, kept(one, reward)
