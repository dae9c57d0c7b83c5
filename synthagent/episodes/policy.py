"""A policy, whoever acts: a script, the student, a model behind an endpoint. Episodes -> trajectories, in their order.

Whoever makes the episodes chooses tasks, samples, turn limit and environment; the policy only acts in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from synthagent.episodes.episode import Episode, play
from synthagent.episodes.scripted import Script
from synthagent.records import Trajectory

Decoding = Literal["sampled", "greedy", "scripted"]


class Policy(Protocol):
    """Whatever acts. `decoding`: how it chooses what to do."""

    @property
    def name(self) -> str: ...

    @property
    def decoding(self) -> Decoding: ...

    def run(self, episodes: Iterable[Episode]) -> Iterator[Trajectory]:
        """Act in fresh episodes until each has ended."""
        ...


@dataclass(frozen=True, slots=True)
class ScriptedPolicy:
    """A script, in environments that wait for nothing."""

    name: str
    script: Script
    decoding: Decoding = "scripted"

    def run(self, episodes: Iterable[Episode]) -> Iterator[Trajectory]:
        """As `Policy`."""
        for episode in episodes:
            yield play(episode, self.script(episode)).trajectory(self.name)
