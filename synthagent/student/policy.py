"""The student as a policy: batches of episodes in lockstep, spread over processes where code answers them.

Every batch draws from its own seed, so that the trajectories do not depend on the number of processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

from synthagent.episodes.environment import LoopThread
from synthagent.episodes.policy import Decoding, Setting, Start
from synthagent.params import Params
from synthagent.records import Trajectory
from synthagent.spread import Pool
from synthagent.student.machine import arithmetic
from synthagent.student.memory import memory_told, remedy_of_acting
from synthagent.student.model import Student, device
from synthagent.student.sampler import run_episodes

_SIZE = 64


@dataclass(frozen=True, slots=True)
class StudentPolicy:
    """A student that acts, by sampling at temperature 1 or greedily.

    `workers`: processes among which batches are shared. `loop`: where models answer its episodes; these then stay in
    this process.
    """

    name: str
    student: Student
    params: Params
    setting: Setting
    greedy: bool = False
    workers: Pool | None = None
    loop: LoopThread | None = None

    @property
    def decoding(self) -> Decoding:
        """As `Policy`."""
        return "greedy" if self.greedy else "sampled"

    def run(self, starts: Iterable[Start]) -> Iterator[Trajectory]:
        """As `Policy`; workers begin at once, not when the first trajectory is asked for."""
        work = partial(_run_batch, replace(self, workers=None))
        batches = list(enumerate(_parts(starts)))
        if self.workers is None or self.loop is not None:
            return chain.from_iterable(map(work, batches))
        return chain.from_iterable(self.workers.map(work, batches))


def _parts(starts: Iterable[Start]) -> Iterator[tuple[Start, ...]]:
    everything = list(starts)
    return (tuple(everything[first : first + _SIZE]) for first in range(0, len(everything), _SIZE))


def _run_batch(policy: StudentPolicy, batch: tuple[int, tuple[Start, ...]]) -> list[Trajectory]:
    """Run one batch to its end. The student moves to the GPU here, in the process that needs it."""
    number, starts = batch
    policy.student.model.to(device(), arithmetic(policy.params.student))
    episodes = [policy.setting.episode(start) for start in starts]
    with memory_told(f"episodes of {policy.name}", remedy_of_acting(policy.params)):
        sampled = run_episodes(
            policy.student,
            episodes,
            policy.params.episode,
            greedy=policy.greedy,
            seed=policy.params.seed * 1_000_003 + number,
            loop=policy.loop,
        )
    return [
        episode.trajectory(policy.name, len(tokens.prompt), sum(tokens.mask))
        for episode, tokens in zip(episodes, sampled, strict=True)
    ]
