"""A checkpoint as the policy of a suite, in this process: greedy, all problems that wait in one batch.

It reads and writes as in its own episodes: through the chat template of its tokenizer, with its own way to write calls.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from jinja2 import TemplateError

from synthagent.episodes.endpoint import well_formed
from synthagent.episodes.turn import message_of
from synthagent.errors import InputError
from synthagent.records import Decoding, Message
from synthagent.student.lengths import passes_within
from synthagent.student.model import Student, device
from synthagent.student.policy import cache_of_token, gpu_share
from synthagent.student.rows import write
from synthagent.suites.policies import Situation
from synthagent.suites.worker import FailedError

_TOGETHER = 16_384  # tokens of prompts, padding included, that a CPU computes at once
_ON_GPU = 131_072  # and a GPU, if its memory holds their keys and values


class LocalPolicy:
    """As `SuitePolicy`. A batch is computed when every problem that has begun waits for its message."""

    decoding: Decoding = "greedy"

    def __init__(self, name: str, student: Student, max_tokens: int) -> None:
        self.name, self.student, self.max_tokens = name, student, max_tokens
        self.format = student.format
        self._alive = 0
        self._waiting: list[tuple[Situation, asyncio.Future[Message]]] = []
        self.student.model.eval().to(device())
        on_gpu = device().type == "cuda"
        self.concurrency = 64 if on_gpu else 32
        self._together = _TOGETHER
        if on_gpu:
            token = cache_of_token(student.model.config, student.model.dtype.itemsize)
            self._together = min(_ON_GPU, gpu_share() // token)

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """As `SuitePolicy`: the weights, and how they are used."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.student.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
        template = hashlib.sha256(self.format.template.text.encode()).hexdigest()[:12]
        return {"weights": digest.hexdigest()[:16], "template": template, "max_tokens": self.max_tokens}

    def begin(self) -> None:
        """As `SuitePolicy`."""
        self._alive += 1

    def end(self) -> None:
        """As `SuitePolicy`."""
        self._alive -= 1
        self._compute()

    async def act(self, situation: Situation) -> Message:
        """As `SuitePolicy`."""
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting.append((situation, future))
        self._compute()
        return await future

    async def close(self) -> None:
        """As `SuitePolicy`."""

    def _compute(self) -> None:
        self._waiting = [asked for asked in self._waiting if not asked[1].done()]  # done: the run is being stopped
        if not self._waiting or len(self._waiting) < self._alive:
            return
        waiting, self._waiting = self._waiting, []
        asked: list[tuple[list[int], Situation, asyncio.Future[Message]]] = []
        for situation, future in waiting:
            try:
                asked.append((self._prompt(situation), situation, future))
            except FailedError as fault:
                future.set_exception(fault)
        try:
            for together in passes_within([len(prompt) for prompt, _, _ in asked], self._together):
                rows = [asked[row] for row in together]
                for written, (_, situation, future) in zip(self._written([row[0] for row in rows]), rows, strict=True):
                    future.set_result(self._message(written, situation))
        except Exception as error:  # of one batch; who else waits must not wait for ever
            for _, _, future in asked:
                if not future.done():
                    future.set_exception(error)

    def _prompt(self, situation: Situation) -> list[int]:
        try:
            messages = [well_formed(message) for message in situation.messages]
            text = self.format.template.render(messages, more=True, tools=tuple(situation.tools))
        except (TemplateError, InputError, TypeError) as error:
            raise FailedError(f"policy: template refuses it: {str(error)[:200]}") from None
        ids: list[int] = self.student.tokenizer(text, add_special_tokens=False)["input_ids"]
        most = self.student.model.config.max_position_embeddings
        if len(ids) + self.max_tokens > most:
            raise FailedError(f"policy: too_long: {len(ids):,} tokens and {self.max_tokens} to write, of {most:,}")
        return ids

    def _written(self, prompts: list[list[int]]) -> list[list[int]]:
        return write(self.student, prompts, self.max_tokens)

    def _message(self, ids: list[int], situation: Situation) -> Message:
        if situation.style == "prompt":
            return {"role": "assistant", "content": self.format.text(ids)}
        return message_of(self.format.turn(ids, tuple(situation.tools)), situation.steps)
