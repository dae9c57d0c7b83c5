"""Runs episodes in lockstep: one KV cache for the batch, one token a row and step.

What the world and the user say is forced through the same cache, so nothing is prefilled twice, and no token that the
model wrote is ever re-tokenised: the ids returned are the ids sampled. Where models answer, a row whose turn has ended
waits (it is fed tokens that nothing attends to) until all rows wait, and all of them are answered at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import DynamicCache

from synthagent.episodes.episode import Asked, Episode, Message, Response, opening, parse_turn
from synthagent.errors import BadReplyError
from synthagent.params import EpisodeParams
from synthagent.records import Task
from synthagent.student.model import Student
from synthagent.student.tokenizer import observation_text

AnswerAll = Callable[[Sequence[tuple[Episode, Asked]]], Sequence[Response | BadReplyError]]


@dataclass(slots=True)
class Sampled:
    """The tokens of one episode. `mask`: 1 where the model wrote the token; `logprobs` are 0 elsewhere."""

    prompt: list[int]
    completion: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    mask: list[int] = field(default_factory=list)


def prompt_ids(tokenizer: Any, task: Task) -> list[int]:
    """The tokens an episode of `task` starts with."""
    ids: list[int] = tokenizer.apply_chat_template(
        opening(task),
        tools=[tool.schema_of_openai for tool in task.tools],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=False,
    )
    return ids


@torch.no_grad()
def run_episodes(
    student: Student,
    episodes: Sequence[Episode],
    limits: EpisodeParams,
    *,
    temperature: float = 1.0,
    greedy: bool = False,
    generator: torch.Generator | None = None,
    answer_all: AnswerAll | None = None,
) -> list[Sampled]:
    """Let the student act in all episodes until each has ended; return the tokens, in the episodes' order.

    `answer_all` answers in place of the worlds and the embedded user; an error ends the episode that it answers.
    """
    was_training = student.model.training
    student.model.eval()
    batch = _Batch(student, episodes, limits, answer_all)
    while batch.live:
        logprobs = torch.log_softmax(batch.forward() / temperature, -1)
        if greedy:
            chosen = logprobs.argmax(-1)
        else:
            chosen = torch.multinomial(logprobs.exp(), 1, generator=generator).squeeze(-1)
        batch.accept(chosen.tolist(), logprobs.gather(1, chosen[:, None]).squeeze(1).tolist())
    student.model.train(was_training)
    return batch.sampled


class _Batch:
    """Rows of a lockstep batch, left-padded to one length. `live` lists the rows whose episodes go on."""

    def __init__(
        self, student: Student, episodes: Sequence[Episode], limits: EpisodeParams, answer_all: AnswerAll | None
    ) -> None:
        self.answer_all, self.waiting = answer_all, dict[int, Asked]()
        self.model, self.tokenizer, self.limits, self.episodes = student.model, student.tokenizer, limits, episodes
        memo: dict[str, list[int]] = {}
        for episode in episodes:
            if episode.task.id not in memo:
                memo[episode.task.id] = prompt_ids(self.tokenizer, episode.task)
        self.sampled = [Sampled(memo[episode.task.id]) for episode in episodes]
        self.live = list(range(len(episodes)))
        self.fed = [0] * len(episodes)  # completion tokens that went through the model
        self.turn = [0] * len(episodes)  # tokens of the turn being written
        self.cache = DynamicCache(config=self.model.config)
        width = max(len(row.prompt) for row in self.sampled)
        padding = [width - len(row.prompt) for row in self.sampled]
        pad = self.tokenizer.pad_token_id
        self.tokens = torch.tensor([[pad] * n + row.prompt for n, row in zip(padding, self.sampled, strict=True)])
        self.attention = (torch.arange(width)[None] >= torch.tensor(padding)[:, None]).long()
        self.positions = (self.attention.cumsum(-1) - 1).clamp(min=0)

    def forward(self) -> torch.Tensor:
        """One step of the model over the live rows: logits of the next token, shape (rows, vocabulary)."""
        output = self.model(
            input_ids=self.tokens,
            attention_mask=self.attention,
            position_ids=self.positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: torch.Tensor = output.logits[:, -1].float()
        return logits

    def accept(self, chosen: list[int], logprobs: list[float]) -> None:
        """Take each row's next token: the chosen one, unless an observation is still being forced."""
        for number, row in enumerate(self.live):
            if row not in self.waiting and self.fed[row] == len(self.sampled[row].completion):
                self._write(row, chosen[number], logprobs[number])
        if self.waiting and all(row in self.waiting for row in self.live if self.episodes[row].end is None):
            self._answer_waiting()
        keep = [number for number, row in enumerate(self.live) if self.episodes[row].end is None]
        if len(keep) < len(self.live):
            self.live = [self.live[number] for number in keep]
            if not self.live:
                return
            rows = torch.tensor(keep)
            self.cache.batch_select_indices(rows)
            self.attention, self.positions = self.attention[rows], self.positions[rows]
        unfed = [self.sampled[row].completion[self.fed[row] :][:1] for row in self.live]
        goes_on = torch.tensor([[len(token)] for token in unfed])
        self.tokens = torch.tensor([token or [self.tokenizer.pad_token_id] for token in unfed])
        self.attention = torch.cat([self.attention, goes_on], 1)
        self.positions = self.positions[:, -1:] + goes_on
        for row, token in zip(self.live, unfed, strict=True):
            self.fed[row] += len(token)

    def _write(self, row: int, token: int, logprob: float) -> None:
        sampled, limits = self.sampled[row], self.limits
        sampled.completion.append(token)
        sampled.logprobs.append(logprob)
        sampled.mask.append(1)
        self.turn[row] += 1
        full = len(sampled.completion) >= limits.max_tokens
        if token == self.tokenizer.eos_token_id:
            self._end_turn(row)
        elif full or self.turn[row] >= limits.max_turn_tokens:
            self.episodes[row].stop("token_limit", self._text(row))

    def _end_turn(self, row: int) -> None:
        episode, turn = self.episodes[row], parse_turn(self._text(row))
        self.turn[row] = 0
        if self.answer_all is None:
            self._observe(row, episode.step(turn))
        elif (asked := episode.take(turn)) is not None:
            self.waiting[row] = asked

    def _answer_waiting(self) -> None:
        assert self.answer_all is not None
        answers = self.answer_all([(self.episodes[row], asked) for row, asked in self.waiting.items()])
        for row, answered in zip(self.waiting, answers, strict=True):
            if isinstance(answered, BadReplyError):
                self.episodes[row].fail(answered.reason)
            else:
                self._observe(row, self.episodes[row].give(answered))
        self.waiting = {}

    def _observe(self, row: int, observations: Sequence[Message]) -> None:
        """Have the row read what its turn was answered."""
        sampled, episode = self.sampled[row], self.episodes[row]
        if episode.end:
            return
        ids = self.tokenizer(observation_text(observations), add_special_tokens=False)["input_ids"]
        if len(sampled.completion) + len(ids) >= self.limits.max_tokens:
            episode.stop("token_limit")
            return
        sampled.completion += ids
        sampled.logprobs += [0.0] * len(ids)
        sampled.mask += [0] * len(ids)

    def _text(self, row: int) -> str:
        ids = self.sampled[row].completion[-self.turn[row] :]
        # Special tokens inside a turn are dropped: they could only pretend to be a frame.
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True)
        return text
