"""Tasks that the embedded teacher makes, by level, and their rubrics."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from helpers.projects import default_params
from synthagent.episodes.episode import Episode, at_once, play
from synthagent.episodes.scripted import EXPERT, SCRIPTS, Style, reference
from synthagent.episodes.world import World, fresh_world
from synthagent.judging.criteria import extract
from synthagent.judging.scoring import score_trajectory
from synthagent.params import RewardParams
from synthagent.records import Reward, Rubric, Task, Trajectory
from synthagent.stage import Paths
from synthagent.stages.personas import built_in
from synthagent.stages.tasks import propose
from synthagent.store import read_records
from synthagent.teacher.acceptance import judge_proposals
from synthagent.teacher.compose import compose
from synthagent.teacher.domains import Domain, blend, load_vocabulary


@lru_cache
def accepted_tasks(count: int = 300) -> tuple[Task, ...]:
    """What the teacher's first `count` proposals, twins together, come to."""
    personas, vocabulary, params = tuple(built_in()), load_vocabulary(), default_params().tasks
    proposals = (propose(n, personas, vocabulary, params, seed=7) for n in range(count // 2))
    return tuple(row for row in judge_proposals(proposals) if isinstance(row, Task))


def task_of_level(level: int, where: Callable[[Task], bool] = lambda task: True) -> Task:
    """The first accepted task of a level that has the property asked for."""
    return next(task for task in accepted_tasks() if task.difficulty == level and where(task))


def outcome_of(task: Task) -> str | None:
    """The right outcome."""
    return extract(task, fresh_world(task)).outcome


def rubric_of(task: Task) -> Rubric:
    """The rubric that the reference's path gives."""
    return Rubric(task_id=task.id, criteria=extract(task, fresh_world(task)).criteria, coverage=1.0)


def played(
    task: Task, style: Style = EXPERT, rng: random.Random | None = None, *, sample: int = 0, world: World | None = None
) -> Episode:
    """The task's reference, followed in a style."""
    episode = Episode(task, sample=sample, world=world)
    return play(episode, reference(episode, style, rng))


def scripted(name: str, task: Task, world: World | None = None) -> Episode:
    """An episode of one of the scripted policies."""
    episode = Episode(task, world=world)
    return play(episode, SCRIPTS[name](episode))


def scored(
    trajectory: Trajectory, task: Task, rubric: Rubric | None = None, rule: RewardParams | None = None
) -> Reward:
    """What a stored trajectory earns, by checks alone."""
    params = default_params()
    params = params.model_copy(update={"reward": rule or params.reward})
    return at_once(score_trajectory(trajectory, task, rubric or rubric_of(task), params)).reward


def first_demonstrated(folder: Path) -> Task:
    """The first task that has a rubric and demonstrations."""
    demos = {demo.task_id for demo in read_records(folder / Paths.demos, Trajectory)}
    return next(task for task in read_records(folder / Paths.tasks, Task) if task.id in demos)


@lru_cache
def _names() -> tuple[str, ...]:
    return load_vocabulary().names


def a_task(domain: Domain, level: int, seed: int, persona: str = "a baker") -> Task:
    """A task of one domain and level, as the stage would make it."""
    draft = compose(domain, persona, level, _names(), random.Random(f"{domain.name}-{level}-{seed}"))
    return Task(
        id=f"{domain.name}-{domain.nouns[0]}-{level}-{seed}",
        persona_id="p",
        domain=domain.name,
        difficulty=level,
        split="train",
        workflow=(),
        world_kind="executable",
        **{name: getattr(draft, name) for name in ("instruction", "facts", "tools", "distractors", "constraints")},
        world=draft.world,
        reference=draft.reference,
    )


@lru_cache
def tasks_of_all_domains() -> tuple[Task, ...]:
    """Tasks of every domain, blended ones included, and level."""
    vocabulary = load_vocabulary()
    blends = tuple(blend(vocabulary, random.Random(n)) for n in range(8))
    every = (*vocabulary.train, *vocabulary.unseen, *blends)
    return tuple(a_task(domain, level, seed) for domain in every for level in (1, 2, 3) for seed in range(7))


def reward_row(trajectory_id: str, task_id: str, value: float | None) -> Reward:
    """A stored reward, all of whose values are `value`; None: an error."""
    values = dict.fromkeys(("gate", "subgoals", "interactions", "reward", "reward_paper"), value)
    status = "error" if value is None else "ok"
    return Reward(trajectory_id=trajectory_id, task_id=task_id, verdicts=(), status=status, **values)
