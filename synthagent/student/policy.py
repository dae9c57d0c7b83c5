"""The student as a policy: batches of episodes in lockstep, spread over processes where code answers them.

Every batch draws from its own seed, so that the trajectories do not depend on the number of processes. On a GPU a batch
is as large as a quarter of its memory allows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any

import torch

from synthagent.episodes.environment import LoopThread
from synthagent.episodes.policy import Setting, Start
from synthagent.params import Params
from synthagent.records import Decoding, Trajectory
from synthagent.spread import Pool
from synthagent.student.machine import arithmetic
from synthagent.student.memory import memory_told, remedy_of_acting
from synthagent.student.model import Student, device
from synthagent.student.sampler import run_episodes

_SIZE = 64  # episodes of a batch on a CPU
_MOST = 512  # on a GPU, where a step takes as long for one row as for hundreds
_OPENING = 1500  # tokens that an episode is taken to begin with


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
        batches = list(enumerate(_parts(starts, self._at_once())))
        if self.workers is None or self.loop is not None:
            return chain.from_iterable(map(work, batches))
        return chain.from_iterable(self.workers.map(work, batches))

    def _at_once(self) -> int:
        where = device()
        if where.type != "cuda":
            return _SIZE
        width = arithmetic(self.params.student).itemsize
        return episodes_within(
            gpu_share(), cache_of_token(self.student.model.config, width), self.params.episode.max_tokens
        )


def gpu_share() -> int:
    """Bytes of this GPU that a batch which acts may have, however many processes there are."""
    return torch.cuda.get_device_properties(device()).total_memory // 4


def episodes_within(memory: int, token: int, longest: int) -> int:
    """Episodes whose caches fit into so many bytes, at `token` bytes a token and `longest` tokens after the opening."""
    return min(_MOST, max(1, memory // (token * (longest + _OPENING))))


def cache_of_token(config: Any, width: int) -> int:
    """Bytes that the keys and values of one token take, in numbers of `width` bytes."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * size * width)


def _parts(starts: Iterable[Start], size: int) -> Iterator[tuple[Start, ...]]:
    everything = list(starts)
    return (tuple(everything[first : first + size]) for first in range(0, len(everything), size))


def _run_batch(policy: StudentPolicy, batch: tuple[int, tuple[Start, ...]]) -> list[Trajectory]:
    """Run one batch to its end. The student moves to the GPU here, in the process that needs it."""
    number, starts = batch
    policy.student.model.to(device(), arithmetic(policy.params.student))
    with policy.setting.opened(len(starts)) as setting:
        episodes = [setting.episode(start) for start in starts]
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
