"""The student's text format, derived from its tokenizer's chat template: task, observations or messages -> token ids.

What a student sees in an episode is put together from pieces: the prompt, the tokens that it wrote itself, which are
never tokenised again, and what others said in between. Training sees the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError

from synthagent.episodes.episode import opening
from synthagent.episodes.turn import Turn
from synthagent.params import Thinking
from synthagent.records import Message, Task
from synthagent.student.calls import Dialect
from synthagent.student.probe import conversation, probe
from synthagent.student.template import TOOL, Template, refusal
from synthagent.worlds import Tool

IGNORED = -100  # the label of a token that is not the student's own
_MARKS = re.compile(r"{%-?\s*generation\b")


@dataclass(frozen=True, slots=True, eq=False)
class ChatFormat:
    """A tokenizer whose chat template has been checked. Make it with `of`.

    `dialect`: how it writes calls. `end_ids`: the tokens that end a turn. `dropped`: special tokens without a meaning
    inside a turn. `marks_own`: the template's own marks say rightly which tokens are the student's.
    """

    tokenizer: Any
    template: Template
    dialect: Dialect
    end_ids: frozenset[int]
    dropped: frozenset[int]
    marks_own: bool

    @staticmethod
    def of(tokenizer: Any, thinking: Thinking = "keep") -> ChatFormat:
        """The format of a tokenizer, checked at the first call.

        `thinking`: whether thoughts are part of prompts, demonstrations and records. With "drop" the template is also
        told that the student is not to think; what it thinks all the same stays in its own context, nowhere else.

        Raises:
            InputError: its chat template does not suit a student.
        """
        return _checked(tokenizer, thinking)

    @property
    def end(self) -> str:
        """The text of the token with which the template ends a turn."""
        return self.template.ends[0]

    @property
    def end_id(self) -> int:
        """That token."""
        return int(self.tokenizer.convert_tokens_to_ids(self.end))

    def prompt_ids(self, task: Task) -> list[int]:
        """The tokens an episode of `task` starts with.

        Raises:
            InputError: the template refuses the task.
        """
        try:
            return self._ids(self.template.render(opening(task), more=True, tools=task.tools))
        except TemplateError as error:
            raise refusal(self.tokenizer, f"refuses task {task.id}: {error}") from None

    def observation_ids(self, observations: Sequence[Message]) -> list[int]:
        """The tokens between two turns: what the messages of others come to, up to where the next turn begins."""
        return self._ids_inside(self.observation_text(observations))

    def observation_text(self, observations: Sequence[Message]) -> str:
        """The text of `observation_ids`: all that follows the end of a turn."""
        return self.template.observation_text(observations)

    def text(self, ids: Sequence[int]) -> str:
        """What a turn says. Special tokens inside it are dropped: they could only pretend to be a frame.

        The marks of a call are kept where they are special tokens.
        """
        kept = [token for token in ids if token not in self.dropped]
        text: str = self.tokenizer.decode(kept, clean_up_tokenization_spaces=False)
        return text

    def turn(self, ids: Sequence[int], tools: Sequence[Tool] = ()) -> Turn:
        """The turn that the student wrote. `tools` tell the types of arguments that a model writes without quotes."""
        turn = self.dialect.read(self.text(ids), tools)
        return turn if self.template.thinking == "keep" else Turn(turn.text, turn.calls)

    def tokenise(self, messages: Sequence[Message], tools: Sequence[Tool]) -> dict[str, Any]:
        """An episode's `input_ids`, and `labels` that are set only on the assistant's tokens.

        Raises:
            InputError: the template refuses the episode, or writes a part of it in two ways.
        """
        try:
            return self._marked(messages, tools) if self.marks_own else self._pieced(messages, tools)
        except (TemplateError, TypeError) as error:
            raise refusal(self.tokenizer, f"refuses an episode: {error}") from None

    def _marked(self, messages: Sequence[Message], tools: Sequence[Tool]) -> dict[str, Any]:
        encoded = self.template.apply(
            messages, tools, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        ids, mask = encoded["input_ids"], encoded["assistant_masks"]
        return {"input_ids": ids, "labels": [t if own else IGNORED for t, own in zip(ids, mask, strict=True)]}

    def _pieced(self, messages: Sequence[Message], tools: Sequence[Tool]) -> dict[str, Any]:
        """As it would have come about: prompt, turn, observations, turn, .., and what follows the last turn."""
        ids: list[int] = []
        labels: list[int] = []
        for piece in self._pieces(messages, tools):
            tokens = self._ids_inside(piece.text) if ids else self._ids(piece.text)
            ids += tokens
            labels += tokens if piece.own else [IGNORED] * len(tokens)
        return {"input_ids": ids, "labels": labels}

    def _pieces(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Iterator[_Piece]:
        done = ""
        for number, message in enumerate(messages):
            if message["role"] == "assistant":
                prompt = self.template.render(messages[:number], more=True, tools=tools)
                self.template.check_prefix(done, prompt)
                text = self.template.up_to_end(messages[: number + 1], tools)
                self.template.check_prefix(prompt, text)
                yield _Piece(prompt[len(done) :], own=False)
                yield _Piece(text[len(prompt) :], own=True)
                done = text
        whole = self.template.render(messages, tools=tools)
        self.template.check_prefix(done, whole)
        yield _Piece(whole[len(done) :], own=False)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _ids_inside(self, text: str) -> list[int]:
        """The tokens of a text that does not begin a conversation: some tokenizers put a space before one that does."""
        return self._ids(self.end + text)[1:]


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of an episode's text, and whether the student wrote it."""

    text: str
    own: bool


@lru_cache(maxsize=8)
def _checked(tokenizer: Any, thinking: Thinking) -> ChatFormat:
    found = probe(tokenizer, thinking)
    template, dialect = found.template, found.dialect
    added = tokenizer.added_tokens_decoder
    texts_of_ends = {*template.ends, *dialect.ends, tokenizer.eos_token}
    ends = frozenset(number for number, token in added.items() if token.content in texts_of_ends)
    tried = conversation(template)
    bare = ChatFormat(tokenizer, template, dialect, ends, frozenset(), marks_own=False)
    pieced = bare.tokenise(tried, [TOOL])
    meant = {token for token in pieced["labels"] if token not in ends}
    special = {number for number, token in added.items() if token.special and token.content not in dialect.marks}
    marks_own = bool(_MARKS.search(template.text)) and bare._marked(tried, [TOOL]) == pieced
    return replace(bare, dropped=frozenset(special - meant), marks_own=marks_own)
