"""Rows that a model reads and writes in lockstep, a step at a time, in one KV cache, padded at the left to one length.

Rows that have ended leave: the longest of them does not cost what all of them would. On a GPU a step of one token a row
is recorded and replayed (`replay`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from synthagent.student.kv_cache import keeps_all, next_logits, roomy_cache
from synthagent.student.model import Student
from synthagent.student.replay import NotRecordedError, RecordedStep, can_replay

KEPT = 0.8  # share of the rows that still go on, from which down the others leave: all keys and values are copied
_KEPT_REPLAYING = 0.5  # where the next step has to be recorded anew besides, and takes as long for fewer rows


class Rows:
    """`attention`: of shape (rows, tokens), 1 for each token so far that is none of the padding."""

    def __init__(self, student: Student, prompts: Sequence[Sequence[int]]) -> None:
        self.model, self.pad, self.device = student.model, student.tokenizer.pad_token_id, student.model.device
        self.cache = roomy_cache(self.model.config)
        self.tokens, self.attention = self._padded(prompts)
        self.positions = (self.attention.cumsum(-1) - 1).clamp(min=0)
        self._step: RecordedStep | None = None
        self._replays = can_replay(self.model, self.cache)
        self._has_read = False

    @property
    def takes_many(self) -> bool:
        """Whether rows are to be fed different numbers of tokens in a step: padding between them changes nothing."""
        return keeps_all(self.cache) and not self._replays

    def forward(self) -> torch.Tensor:
        """One step of the model: logits of the next token, shape (rows, vocabulary)."""
        if self._replays and self._has_read and self.tokens.shape[1] == 1:
            if self._step is None or self._step.is_full:
                self._record()
            if self._step is not None:
                return self._step(self.tokens, self.positions, self.attention[:, -1:])
        self._end_replay()
        logits = next_logits(self.model, self.cache, self.tokens, self.attention, self.positions)
        self._has_read = True
        return logits[:, -1].float()

    def few(self, going_on: int) -> bool:
        """Whether so few rows go on that the others had better leave."""
        return going_on <= (_KEPT_REPLAYING if self._replays else KEPT) * len(self.attention)

    def _record(self) -> None:
        """Have a step for what follows; a model that cannot be recorded goes on without."""
        self._end_replay()
        try:
            self._step = RecordedStep(self.model, self.cache, self.attention[:, :-1])
        except NotRecordedError:
            self._replays = False

    def _end_replay(self) -> None:
        if self._step is not None:
            self._step.give_back()
            self._step = None

    def take(self, rows: Sequence[int]) -> torch.Tensor:
        """Go on with these rows, by their numbers; one may come several times. The numbers, as a tensor."""
        self._end_replay()
        chosen = self._tensor(list(rows))
        self.cache.batch_select_indices(chosen)
        self.attention, self.positions = self.attention[chosen], self.positions[chosen]
        return chosen

    def feed(self, tokens: Sequence[Sequence[int]]) -> None:
        """What each row reads in the next step; nothing is fed to one that has ended."""
        self.tokens, new = self._padded(tokens)
        self.attention = torch.cat([self.attention, new], 1)
        self.positions = self.positions[:, -1:] + new.cumsum(-1)

    def _padded(self, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens, padded at the left to one length; and 1 for each that is none of the padding."""
        width = max(1, *map(len, rows))
        tokens = [[self.pad] * (width - len(row)) + [*row] for row in rows]
        real = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
        return self._tensor(tokens), self._tensor(real)

    def _tensor(self, values: list[Any]) -> torch.Tensor:
        return torch.tensor(values, device=self.device)


@torch.no_grad()
def write(student: Student, prompts: Sequence[Sequence[int]], most: int) -> list[list[int]]:
    """What the model writes after each prompt, greedily: up to the end of its turn, without it, or `most` tokens."""
    rows, live, ends = Rows(student, prompts), list(range(len(prompts))), student.format.end_ids
    written: list[list[int]] = [[] for _ in prompts]
    ended = set[int]()
    for _ in range(most):
        for row, token in zip(live, rows.forward().argmax(-1).tolist(), strict=True):
            if token in ends:
                ended.add(row)
            elif row not in ended:
                written[row].append(token)
        keep = [place for place, row in enumerate(live) if row not in ended]
        if not keep:
            break
        if rows.few(len(keep)):
            live = [live[place] for place in keep]
            rows.take(keep)
        rows.feed([[] if row in ended else written[row][-1:] for row in live])
    return written
