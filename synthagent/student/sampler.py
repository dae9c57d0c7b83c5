"""Runs episodes in lockstep: one KV cache for the batch, in each step one token of the model's a row.

What the world and the user say is forced through the same cache, a few tokens in a step, so nothing is prefilled twice,
and no token that the model wrote is ever re-tokenised: the ids returned are the ids sampled. Episodes of one prompt
have it go through once. Where models answer, a row whose turn has ended waits (it is fed tokens that nothing attends
to) until all rows wait, and all of them are answered at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from synthagent.episodes.environment import LoopThread
from synthagent.episodes.episode import Episode
from synthagent.episodes.turn import Turn
from synthagent.params import EpisodeParams
from synthagent.records import Message
from synthagent.student.format import ChatFormat
from synthagent.student.model import Student
from synthagent.student.rows import Rows

_AT_ONCE = 64  # tokens of a step, padding included, where an observation is longer than one a row


@dataclass(slots=True)
class Sampled:
    """The tokens of one episode. `mask`: 1 where the model wrote the token; `logprobs` are 0 elsewhere."""

    prompt: list[int]
    completion: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    mask: list[int] = field(default_factory=list)


@torch.no_grad()
def run_episodes(
    student: Student,
    episodes: Sequence[Episode],
    limits: EpisodeParams,
    *,
    temperature: float = 1.0,
    greedy: bool = False,
    seed: int | None = None,
    loop: LoopThread | None = None,
) -> list[Sampled]:
    """Let the student act in all episodes until each has ended; return the tokens, in the episodes' order.

    Without a `seed`, torch's own generator draws.
    `loop`: where models answer the episodes; None where nothing has to be waited for.
    """
    was_training = student.model.training
    student.model.eval()
    batch = _Batch(student, episodes, limits, loop)
    generator = None if seed is None else torch.Generator(student.model.device).manual_seed(seed)
    while batch.live:
        logprobs = torch.log_softmax(batch.forward() / temperature, -1)
        chosen = logprobs.argmax(-1) if greedy else _drawn(logprobs, generator)
        batch.accept(chosen.tolist(), logprobs.gather(1, chosen[:, None]).squeeze(1).tolist())
    student.model.train(was_training)
    return batch.sampled


def _drawn(logprobs: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    """A token a row. `torch.multinomial` draws a number for every word there is: on a CPU a sixth of a step."""
    reached = logprobs.double().exp().cumsum(-1)
    drawn = torch.rand(len(reached), 1, dtype=reached.dtype, device=reached.device, generator=generator)
    return torch.searchsorted(reached, drawn * reached[:, -1:], right=True).squeeze(-1)


class _Batch:
    """Rows of a lockstep batch, left-padded to one length. `live` lists those in the cache; few have ended."""

    def __init__(
        self, student: Student, episodes: Sequence[Episode], limits: EpisodeParams, loop: LoopThread | None
    ) -> None:
        self.loop, self.waiting = loop, dict[int, Turn]()
        self.format, self.limits, self.episodes = student.format, limits, episodes
        self.sampled = begun(self.format, episodes)
        self.live = list(range(len(episodes)))
        self.fed = [0] * len(episodes)  # completion tokens that went through the model
        self.turn = [0] * len(episodes)  # tokens of the turn being written
        numbers: dict[tuple[int, ...], int] = {}
        prompts = [numbers.setdefault(tuple(row.prompt), len(numbers)) for row in self.sampled]
        self.prompts: list[int] | None = prompts  # of each row, until they have gone through the model
        self.rows = Rows(student, list(numbers))
        self.at_once = _AT_ONCE if self.rows.takes_many else 1

    def forward(self) -> torch.Tensor:
        """One step of the model over the live rows: logits of the next token, shape (rows, vocabulary)."""
        logits = self.rows.forward()
        if self.prompts is not None:
            logits, self.prompts = logits[self.rows.take(self.prompts)], None
        return logits

    def accept(self, chosen: list[int], logprobs: list[float]) -> None:
        """Take each row's next token: the chosen one, unless an observation is still being forced."""
        for number, row in enumerate(self.live):
            if self._goes_on(row) and row not in self.waiting and self.fed[row] == len(self.sampled[row].completion):
                self._write(row, chosen[number], logprobs[number])
        if self.waiting and all(row in self.waiting for row in self.live if self._goes_on(row)):
            self._answer_waiting()
        keep = [number for number, row in enumerate(self.live) if self._goes_on(row)]
        if self.rows.few(len(keep)):
            self.live = [self.live[number] for number in keep]
            if not self.live:
                return
            self.rows.take(keep)
        most = max(1, self.at_once // len(keep))
        unfed = [
            self.sampled[row].completion[self.fed[row] :][:most] if self._goes_on(row) else [] for row in self.live
        ]
        self.rows.feed(unfed)
        for row, tokens in zip(self.live, unfed, strict=True):
            self.fed[row] += len(tokens)

    def _goes_on(self, row: int) -> bool:
        return self.episodes[row].end is None

    def _write(self, row: int, token: int, logprob: float) -> None:
        sampled, limits = self.sampled[row], self.limits
        sampled.completion.append(token)
        sampled.logprobs.append(logprob)
        sampled.mask.append(1)
        self.turn[row] += 1
        full = len(sampled.completion) >= limits.max_tokens
        if token in self.format.end_ids:
            self._end_turn(row)
        elif full or self.turn[row] >= limits.max_turn_tokens:
            self.episodes[row].stop("token_limit", self.format.text(self._written(row)))

    def _end_turn(self, row: int) -> None:
        episode, turn = self.episodes[row], self.format.turn(self._written(row), self.episodes[row].task.tools)
        self.turn[row] = 0
        if self.loop is None or turn.answer is not None:
            self._observe(row, episode.step(turn))
        else:
            self.waiting[row] = turn

    def _answer_waiting(self) -> None:
        assert self.loop is not None
        answers = self.loop.gather(self.episodes[row].astep(turn) for row, turn in self.waiting.items())
        for row, observations in zip(self.waiting, answers, strict=True):
            self._observe(row, observations)
        self.waiting = {}

    def _observe(self, row: int, observations: Sequence[Message]) -> None:
        """Have the row read what its turn was answered."""
        observe(self.sampled[row], self.episodes[row], observations, self.format, self.limits)

    def _written(self, row: int) -> list[int]:
        return self.sampled[row].completion[-self.turn[row] :]


def begun(form: ChatFormat, episodes: Sequence[Episode]) -> list[Sampled]:
    """The episodes' tokens before the first turn; the prompt of a task is made once."""
    prompts = {name: form.prompt_ids(task) for name, task in {e.task.id: e.task for e in episodes}.items()}
    return [Sampled(prompts[episode.task.id]) for episode in episodes]


def observe(
    sampled: Sampled, episode: Episode, observations: Sequence[Message], form: ChatFormat, limits: EpisodeParams
) -> None:
    """Add what a turn was answered to an episode's tokens, or end the episode where that does not fit."""
    if episode.end:
        return
    ids = form.observation_ids(observations)
    if len(sampled.completion) + len(ids) >= limits.max_tokens:
        episode.stop("token_limit")
        return
    sampled.completion += ids
    sampled.logprobs += [0.0] * len(ids)
    sampled.mask += [0] * len(ids)
