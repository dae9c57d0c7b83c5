"""Which tasks a step of GRPO samples: those scheduled, or by level; others in place of dead groups. All is light.

A group is all episodes of one task in a step; it is dead where they all earned the same, since nothing is learnt then.
What is drawn depends on the seed, the number of the step and the rewards that were logged, and on nothing else, so that
a training that goes on from a checkpoint chooses as it would have.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Protocol

from synthagent.judging.reward import SamePrompt
from synthagent.params import CurriculumParams, GrpoParams, Mix

WINDOW = 5  # steps whose mean reward is looked at


class Seat(Protocol):
    """Where an episode of the step is played: TRL's environment."""

    task_id: str

    def reset(self, task_id: str) -> None:
        """Begin a fresh episode of a task."""

    def get_reward(self) -> float:
        """What the episode that has just ended earned."""


@dataclass(frozen=True, slots=True)
class TaskChoice:
    """From what tasks are chosen. `order`: of the schedule; `levels`: of the tasks of `pool`, their difficulty."""

    order: Sequence[str]
    pool: Sequence[SamePrompt]
    levels: Mapping[str, int]
    params: GrpoParams
    seed: int

    def of_step(self, step: int, rewards: Sequence[float]) -> list[str]:
        """The tasks of a step (from 0), one a group. `rewards`: means of the steps before it."""
        count = self.params.tasks_per_step
        if self.params.curriculum is None:
            return [*self.order[step * count : (step + 1) * count]]
        found: list[str] = []
        rng = random.Random(f"curriculum-{self.seed}-{step}")
        while len(found) < count:
            found += whole_prompts(self._shuffled(rng, rewards), count - len(found), ())
        return found

    def in_place(self, step: int, rewards: Sequence[float]) -> Callable[[int, Collection[str]], list[str]]:
        """For a step: so many other tasks, or as many as there are -> tasks."""
        prompts = self._shuffled(random.Random(f"instead-{self.seed}-{step}"), rewards)
        return lambda count, taken: whole_prompts(prompts, count, taken)

    def _shuffled(self, rng: random.Random, rewards: Sequence[float]) -> list[SamePrompt]:
        """The pool at random; under a curriculum those of likely levels first, of others last."""
        curriculum = self.params.curriculum
        if curriculum is None:
            return rng.sample(self.pool, len(self.pool))
        of_level = [self.levels[prompt[0]] for prompt in self.pool]
        weights = {n: w / max(1, of_level.count(n)) for n, w in enumerate(mix_at(curriculum, rewards), 1)}
        # The least of exponential variates is one of theirs in proportion to their rates.
        keys = [rng.expovariate(1) / weights[level] if weights[level] else math.inf for level in of_level]
        return [self.pool[i] for i in sorted(range(len(keys)), key=keys.__getitem__)]


def mix_at(curriculum: CurriculumParams, rewards: Sequence[float]) -> Mix:
    """The mix of levels after steps of these mean rewards: on the straight line from `start` to `end`."""
    low, high = curriculum.low, curriculum.high
    mean = fmean(rewards[-WINDOW:]) if rewards else low
    way = min(1.0, max(0.0, (mean - low) / (high - low)))
    first, second, third = (
        (1 - way) * a / sum(curriculum.start) + way * b / sum(curriculum.end)
        for a, b in zip(curriculum.start, curriculum.end, strict=True)
    )
    return first, second, third


def whole_prompts(prompts: Sequence[SamePrompt], count: int, taken: Collection[str]) -> list[str]:
    """The first prompts that are not taken, whole while there is room; a last place may go to one of a pair."""
    free = [prompt for prompt in prompts if not set(prompt) & set(taken)]
    found: list[str] = []
    for prompt in free:
        if len(found) + len(prompt) <= count:
            found += prompt
    for prompt in free:
        if len(found) < count and prompt[0] not in found:
            found.append(prompt[0])
    return found


def dead_groups(rewards: Sequence[float], size: int) -> list[int]:
    """The numbers of the groups, each of `size` episodes in a row, that all earned the same."""
    groups = [rewards[first : first + size] for first in range(0, len(rewards), size)]
    return [number for number, group in enumerate(groups) if max(group) - min(group) < 1e-8]


@dataclass(frozen=True, slots=True)
class Sampling:
    """What came of a step's groups: the share that is dead, and how many were sampled in place of dead ones."""

    dead: float
    replaced: int


def sample_step(
    seats: Sequence[Seat],
    tasks: Sequence[str],
    first: int,
    params: GrpoParams,
    *,
    play: Callable[[Sequence[Any]], None],
    gather: Callable[[Sequence[float]], Sequence[float]],
    instead: Callable[[int, Collection[str]], list[str]],
) -> Sampling:
    """Play the episodes of a step, and of others in place of dead groups, in `params.replace_dead` rounds at most.

    Processes share a step's episodes, and may share a group's: this one has the seats from number `first` on. All of
    them call `gather` equally often. `tasks`: one a group. `instead`: so many tasks that are not taken -> tasks.
    """
    groups = [(first + number) // params.group_size for number in range(len(seats))]
    tasks, tried, replaced = [*tasks], {*tasks}, 0
    for seat, group in zip(seats, groups, strict=True):
        if seat.task_id != tasks[group]:
            seat.reset(task_id=tasks[group])
    play(seats)
    for left in range(params.replace_dead, -1, -1):
        dead = dead_groups(gather([seat.get_reward() for seat in seats]), params.group_size)
        fresh = dict(zip(dead, instead(len(dead), tried), strict=False)) if left else {}
        if not fresh:
            break
        tried.update(fresh.values())
        replaced += len(fresh)
        again = [(seat, fresh[group]) for seat, group in zip(seats, groups, strict=True) if group in fresh]
        for seat, task in again:
            seat.reset(task_id=task)
        play([seat for seat, _ in again])
    return Sampling(len(dead) / len(tasks), replaced)
