"""Which tasks a step of GRPO samples: those scheduled, or by level; others in place of dead groups. All is light.

Some of a step's groups are of problems (`grpo.reasoning_share`), which have a schedule of their own.

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
    """From what tasks are chosen. `order`: of the schedule; `levels`: of the tasks of `pool`, their difficulty.

    `problems`: taken one after the other, and again from the first.
    """

    order: Sequence[str]
    pool: Sequence[SamePrompt]
    levels: Mapping[str, int]
    params: GrpoParams
    seed: int
    problems: Sequence[str] = ()

    def of_step(self, step: int, rewards: Sequence[float]) -> list[str]:
        """The tasks of a step (from 0), one a group, problems among them. `rewards`: means of the steps before it."""
        count = self.params.tasks_per_step
        start, end = (problems_before(n, self.params) if self.problems else 0 for n in (step, step + 1))
        problems = [self.problems[number % len(self.problems)] for number in range(start, end)]
        wanted = count - len(problems)
        if self.params.curriculum is None:
            return spread_among(self.order[step * count - start :][:wanted], problems)
        found: list[str] = []
        rng = random.Random(f"curriculum-{self.seed}-{step}")
        while len(found) < wanted:
            found += whole_prompts(self._shuffled(rng, rewards), wanted - len(found), ())
        return spread_among(found, problems)

    def in_place(
        self, step: int, rewards: Sequence[float]
    ) -> Callable[[Sequence[str], Collection[str]], list[str | None]]:
        """For a step: tasks -> others in their places, problems for problems; None where there are no more."""
        rng = random.Random(f"instead-{self.seed}-{step}")
        prompts, kind = self._shuffled(rng, rewards), {*self.problems}
        problems = rng.sample(sorted(kind), len(kind))

        def others(names: Sequence[str], taken: Collection[str]) -> list[str | None]:
            tasks = iter(whole_prompts(prompts, sum(name not in kind for name in names), taken))
            free = (name for name in problems if name not in taken)
            return [next(free if name in kind else tasks, None) for name in names]

        return others

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


def problems_before(step: int, params: GrpoParams) -> int:
    """How many problems the steps before this one (from 0) have: an even number where a step has, for twins' sake.

    Twins then stay in one step, whatever the share is.
    """
    at_once = 2 if params.tasks_per_step % 2 == 0 else 1
    return at_once * math.floor(step * params.tasks_per_step * params.reasoning_share / at_once + 1e-9)


def spread_among(tasks: Sequence[str], problems: Sequence[str]) -> list[str]:
    """Both, the problems at even distances: processes that share a step then share them, too."""
    found, total = [*tasks], len(tasks) + len(problems)
    for number, name in enumerate(problems, 1):
        found.insert(number * total // len(problems) - 1, name)
    return found


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
    instead: Callable[[Sequence[str], Collection[str]], Sequence[str | None]],
) -> Sampling:
    """Play the episodes of a step, and of others in place of dead groups, in `params.replace_dead` rounds at most.

    Processes share a step's episodes, and may share a group's: this one has the seats from number `first` on. All of
    them call `gather` equally often. `tasks`: one a group. `instead`: tasks, and what is taken -> others in their
    places.
    """
    groups = [(first + number) // params.group_size for number in range(len(seats))]
    tasks, tried, replaced = [*tasks], {*tasks}, 0
    for seat, group in zip(seats, groups, strict=True):
        if seat.task_id != tasks[group]:
            seat.reset(task_id=tasks[group])
    play(seats)
    for left in range(params.replace_dead, -1, -1):
        dead = dead_groups(gather([seat.get_reward() for seat in seats]), params.group_size)
        others = instead([tasks[group] for group in dead], tried) if left else []
        fresh = {group: name for group, name in zip(dead, others, strict=False) if name is not None}
        if not fresh:
            break
        for group, name in fresh.items():
            tasks[group] = name
        tried.update(fresh.values())
        replaced += len(fresh)
        again = [(seat, fresh[group]) for seat, group in zip(seats, groups, strict=True) if group in fresh]
        for seat, task in again:
            seat.reset(task_id=task)
        play([seat for seat, _ in again])
    return Sampling(len(dead) / len(tasks), replaced)
