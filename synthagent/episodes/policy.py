"""A policy, whoever acts: a script, the student, a model behind an endpoint. Tasks -> trajectories, in their order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from synthagent.episodes.episode import EMBEDDED, MAX_TURNS, Environment, Episode, Script, play
from synthagent.records import Decoding, Task, Trajectory


class Start(NamedTuple):
    """Where an episode starts: a task, and the number that tells the task's episodes apart."""

    task: Task
    sample: int = 0


@dataclass(frozen=True, slots=True)
class Setting:
    """What the episodes of a policy have in common: who answers, and the most turns."""

    environment: Environment = EMBEDDED
    max_turns: int = MAX_TURNS

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
