"""The student's text format, derived from its tokenizer's chat template: task, observations or messages -> token ids.

A student reads its own tokens again, and between two turns what the template writes there. So the template must write
every message the same whatever follows it, and a tool call so that it is read back; `ChatFormat.of` checks both.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError

from synthagent.episodes.episode import opening
from synthagent.episodes.turn import ToolCall, Turn, parse_turn
from synthagent.errors import InputError
from synthagent.records import Message, Task, Tool

IGNORED = -100  # the label of a token that is not the student's own

# The conversation that a template is tried on. A student may think aloud, and some templates drop that later.
_THOUGHT = "<think>\nHm.\n</think>\n\n"
_OPENING: tuple[Message, ...] = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Move it."},
)
_TOOL = Tool(name="look", parameters={"type": "object", "properties": {"id": {"type": "string"}}})
_LOOK = ToolCall("look", {"id": "K17"})
_SAID = "Which one?"


@dataclass(frozen=True, slots=True, eq=False)
class ChatFormat:
    """A tokenizer whose chat template has been checked. Make it with `of`.

    `end_id`: the token that ends a turn. `arguments_as_text`: the template takes the arguments of a call as JSON text,
    as they are recorded; others want an object.
    """

    tokenizer: Any
    end: str
    end_id: int
    arguments_as_text: bool

    @staticmethod
    def of(tokenizer: Any) -> ChatFormat:
        """The format of a tokenizer, checked at the first call.

        Raises:
            InputError: its chat template does not suit a student.
        """
        return _checked(tokenizer)

    def prompt_ids(self, task: Task) -> list[int]:
        """The tokens an episode of `task` starts with."""
        tools = [tool.schema_of_openai for tool in task.tools]
        ids: list[int] = self.tokenizer.apply_chat_template(
            opening(task), tools=tools, add_generation_prompt=True, tokenize=True, return_dict=False
        )
        return ids

    def observation_ids(self, observations: Sequence[Message]) -> list[int]:
        """The tokens between two turns: what the messages of others come to, up to where the next turn begins."""
        ids: list[int] = self.tokenizer(self.observation_text(observations), add_special_tokens=False)["input_ids"]
        return ids

    def observation_text(self, observations: Sequence[Message]) -> str:
        """The text of `observation_ids`: all that follows the end of a turn."""
        before = _before(self, tuple(m.get("tool_call_id", "") for m in observations if m["role"] == "tool"))
        whole = self._render([*before.messages, *observations], more=True)
        _check_prefix(self, before.text, whole)
        return whole[len(before.text) :]

    def text(self, ids: Sequence[int]) -> str:
        """What a turn says. Special tokens inside it are dropped: they could only pretend to be a frame."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def turn(self, ids: Sequence[int]) -> Turn:
        """The turn that the student wrote."""
        return parse_turn(self.text(ids))

    def tokenise(self, messages: Sequence[Message], tools: Sequence[Tool]) -> dict[str, Any]:
        """An episode's `input_ids`, and `labels` that are set only on the assistant's tokens.

        Raises:
            InputError: the template does not mark them.
        """
        encoded = self.tokenizer.apply_chat_template(
            self._readable(messages),
            tools=[tool.schema_of_openai for tool in tools],
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        ids, mask = encoded["input_ids"], encoded["assistant_masks"]
        if not any(mask):
            rule = "marks no token as the assistant's own"
            raise _refusal(self.tokenizer, rule, "put {% generation %} .. {% endgeneration %} around its turns")
        return {"input_ids": ids, "labels": [t if own else IGNORED for t, own in zip(ids, mask, strict=True)]}

    def _render(self, messages: Sequence[Message], more: bool = False, tools: Sequence[Tool] = ()) -> str:
        text: str = self.tokenizer.apply_chat_template(
            list(messages),
            tools=[tool.schema_of_openai for tool in tools],
            tokenize=False,
            add_generation_prompt=more,
        )
        return text

    def _up_to_end(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> str:
        """The text of messages up to the end of the last turn: what a student has before it once it has written it."""
        before, end, _ = self._render(messages, tools=tools).rpartition(self.end)
        return before + end

    def _readable(self, messages: Sequence[Message]) -> list[Message]:
        if self.arguments_as_text:
            return list(messages)
        return [
            {**m, "tool_calls": [*map(_with_object, m["tool_calls"])]} if m.get("tool_calls") else m for m in messages
        ]


@dataclass(frozen=True, slots=True)
class _Before:
    """Messages that may stand before observations, and their text."""

    messages: list[Message]
    text: str


@lru_cache(maxsize=512)
def _before(chat: ChatFormat, call_ids: tuple[str, ...]) -> _Before:
    """The student's turn has made as many calls as are answered; one, if the template refuses several."""
    try:
        messages = chat._readable([*_OPENING, _assistant("" if call_ids else _SAID, *call_ids)])
        return _Before(messages, chat._up_to_end(messages))
    except TemplateError:
        if len(call_ids) < 2:
            raise
        return _before(chat, call_ids[:1])


def _assistant(content: str, *call_ids: str) -> Message:
    message: Message = {"role": "assistant", "content": content}
    if call_ids:
        function = {"name": _LOOK.name, "arguments": json.dumps(_LOOK.arguments)}
        message["tool_calls"] = [{"id": name, "type": "function", "function": function} for name in call_ids]
    return message


def _with_object(call: dict[str, Any]) -> dict[str, Any]:
    return {**call, "function": {**call["function"], "arguments": json.loads(call["function"]["arguments"])}}


# --- the checks -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _checked(tokenizer: Any) -> ChatFormat:
    if not tokenizer.chat_template:
        raise _refusal(tokenizer, "is missing", "give the tokenizer one")
    try:
        chat = _reading_calls(tokenizer)
        _check_prefixes(chat)
    except (TemplateError, TypeError) as error:
        rule = f"cannot write a system message, tools, calls and what they give: {error}"
        raise _refusal(tokenizer, rule) from None
    return chat


def _reading_calls(tokenizer: Any) -> ChatFormat:
    """The format whose way of handing over arguments gives calls that are read back."""
    text = tokenizer.apply_chat_template([*_OPENING, _assistant(_SAID)], tokenize=False)
    tail = text.rpartition(_SAID)[2]
    ids = tokenizer(tail, add_special_tokens=False)["input_ids"]
    special = tokenizer.added_tokens_decoder.get(ids[0]) if ids else None
    if special is None or not tail.startswith(special.content):
        raise _refusal(tokenizer, f"ends a turn of the assistant with {tail!r}, which begins with no special token")
    written = ""
    for as_text in (True, False):
        chat = ChatFormat(tokenizer, special.content, ids[0], as_text)
        prompt = chat._render(_OPENING, more=True, tools=[_TOOL])
        try:
            whole = chat._up_to_end(chat._readable([*_OPENING, _assistant("", "call_1_0")]), tools=[_TOOL])
        except (TemplateError, TypeError):
            if not as_text:
                raise
            continue  # it wants an object
        written = whole[len(prompt) :].removesuffix(chat.end)
        if parse_turn(written).calls == (_LOOK,):
            return chat
    wanted = '<tool_call>{"name": .., "arguments": {..}}</tool_call>'
    raise _refusal(tokenizer, f"writes a call as {written!r}, and only {wanted} is read back")


def _check_prefixes(chat: ChatFormat) -> None:
    """Refuse a template that writes a turn, or what comes between two, in another way when more follows."""
    spoken: list[tuple[Message, Message]] = [
        (
            _assistant(_THOUGHT, "call_1_0"),
            {"role": "tool", "tool_call_id": "call_1_0", "content": '{"id": "K17"}'},
        ),
        (_assistant(_THOUGHT + _SAID), {"role": "user", "content": "The first."}),
        (
            _assistant("", "call_3_0"),
            {"role": "tool", "tool_call_id": "call_3_0", "content": '{"error": "no"}'},
        ),
    ]
    messages = list(_OPENING)
    prompt = chat._render(messages, more=True, tools=[_TOOL])
    for turn, observation in spoken:
        messages += chat._readable([turn])
        text = chat._up_to_end(messages, [_TOOL])
        _check_prefix(chat, prompt, text)
        messages.append(observation)
        prompt = chat._render(messages, more=True, tools=[_TOOL])
        _check_prefix(chat, text, prompt)
        _check_prefix(chat, text + chat.observation_text([observation]), prompt)


def _check_prefix(chat: ChatFormat, before: str, after: str) -> None:
    if not after.startswith(before):
        same = next((i for i, (one, other) in enumerate(zip(before, after, strict=False)) if one != other), len(after))
        first, then = (repr(text[max(0, same - 20) : same + 60]) for text in (before, after))
        rule = f"writes the same messages in two ways: {first} and, in a longer conversation, {then}"
        raise _refusal(chat.tokenizer, rule)


def _refusal(tokenizer: Any, rule: str, remedy: str = "give the tokenizer another `chat_template`") -> InputError:
    return InputError(f"{tokenizer.name_or_path or 'tokenizer'}: its chat template {rule}; {remedy}")
