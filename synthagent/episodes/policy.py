"""A policy, whoever acts: a script, the student, a model behind an endpoint. Tasks -> trajectories, in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Protocol

from synthagent.episodes.episode import EMBEDDED, MAX_TURNS, Environment, Episode, Script, play
from synthagent.records import Task, Trajectory

Decoding = Literal["sampled", "greedy", "scripted"]


class Start(NamedTuple):
    """Where an episode starts: a task, and the number that tells the task's episodes apart."""

    task: Task
    sample: int = 0


@dataclass(frozen=True, slots=True)
class Setting:
    """What the episodes of a policy have in common: who answers, and the most turns.

    `opening`: opens, for so many episodes at once, who answers, where that cannot be handed to another process.
    """

    environment: Environment = EMBEDDED
    max_turns: int = MAX_TURNS
    opening: Callable[[int], AbstractContextManager[Environment]] | None = None

    @contextmanager
    def opened(self, at_once: int) -> Iterator[Setting]:
        """The setting in the process that acts."""
        if self.opening is None:
            yield self
            return
        with self.opening(at_once) as environment:
            yield replace(self, environment=environment, opening=None)

    def episode(self, start: Start) -> Episode:
        """A fresh episode."""
        return Episode(start.task, self.environment, max_turns=self.max_turns, sample=start.sample)


class Policy(Protocol):
    """Whatever acts. `decoding`: how it chooses what to do; `setting`: what its episodes have in common."""

    @property
    def name(self) -> str: ...

    @property
    def decoding(self) -> Decoding: ...

    @property
    def setting(self) -> Setting: ...

    def run(self, starts: Iterable[Start]) -> Iterator[Trajectory]:
        """Act in fresh episodes, each until it ends."""
        ...


@dataclass(frozen=True, slots=True)
class ScriptedPolicy:
    """A script, in an environment that waits for nothing."""

    name: str
    script: Script
    setting: Setting
    decoding: Decoding = "scripted"

    def run(self, starts: Iterable[Start]) -> Iterator[Trajectory]:
        """As `Policy`."""
        for start in starts:
            episode = self.setting.episode(start)
            yield play(episode, self.script(episode)).trajectory(self.name)
