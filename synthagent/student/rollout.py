"""Trajectories of a student: (student, tasks) -> episodes in lockstep batches, spread over processes.

Every batch draws from its own seed, so that the trajectories do not depend on the number of processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from synthagent.episodes.episode import Episode
from synthagent.episodes.world import fresh_world
from synthagent.params import EpisodeParams
from synthagent.records import Task, Trajectory
from synthagent.stage import progress
from synthagent.student.model import Student, device
from synthagent.student.processes import spread
from synthagent.student.sampler import AnswerAll, run_episodes

_SIZE = 64


@dataclass(frozen=True, slots=True)
class Batch:
    """Episodes that run in lockstep: a task and the number of the sample, each.

    `answer_all`: who answers in place of the world and the embedded user; such a batch stays in its process.
    """

    policy: str
    student: Student
    pairs: Sequence[tuple[Task, int]]
    limits: EpisodeParams
    seed: int
    greedy: bool
    answer_all: AnswerAll | None = None


def batches(
    policy: str,
    student: Student,
    pairs: Sequence[tuple[Task, int]],
    limits: EpisodeParams,
    seed: int,
    greedy: bool = False,
    answer_all: AnswerAll | None = None,
) -> list[Batch]:
    """Cut (task, sample) pairs into batches."""
    parts = [pairs[start : start + _SIZE] for start in range(0, len(pairs), _SIZE)]
    return [
        Batch(policy, student, part, limits, seed * 1_000_003 + number, greedy, answer_all)
        for number, part in enumerate(parts)
    ]


def roll_out(work: Sequence[Batch], processes: int, stage: str) -> Iterator[list[Trajectory]]:
    """Run all batches; yield each one's trajectories, in order."""
    return progress(spread(run_batch, work, processes), len(work), stage)


def run_batch(batch: Batch) -> list[Trajectory]:
    """Run one batch to its end. The student moves to the GPU here, in the process that needs it."""
    most = batch.limits.max_turns
    episodes = [Episode(task, fresh_world(task), max_turns=most, sample=sample) for task, sample in batch.pairs]
    batch.student.model.to(device())
    sampled = run_episodes(
        batch.student,
        episodes,
        batch.limits,
        greedy=batch.greedy,
        seed=batch.seed,
        answer_all=batch.answer_all,
    )
    return [
        episode.trajectory(batch.policy, sample, len(tokens.prompt), sum(tokens.mask))
        for episode, (_, sample), tokens in zip(episodes, batch.pairs, sampled, strict=True)
    ]
