"""What a policy does in one message: text, tool calls or the answer. Text or OpenAI chat message <-> `Turn`. Pure.

All that a policy writes is untrusted: whatever cannot be read becomes a call that the world refuses.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synthagent.errors import RecordError
from synthagent.records import Message
from synthagent.text import json_text


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call as the policy wrote it. `arguments` is None where they are not JSON; the world then refuses it."""

    name: str
    arguments: Any


MALFORMED = ToolCall("malformed", None)


@dataclass(frozen=True, slots=True)
class Question:
    """Text to the user."""

    text: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One assistant message: tool calls, or text to the user, or the answer. `thought`: what nobody else is told."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    thought: str = ""

    @property
    def answer(self) -> str | None:
        """The text inside `<answer>`; a turn that calls a tool answers nothing."""
        answers = () if self.calls else cut_out(self.text, "<answer>", "</answer>").inside
        return answers[0].strip() if answers else None

    @property
    def asked(self) -> tuple[ToolCall | Question, ...]:
        """What has to be answered, in this order: every call, or the question; nothing if the turn is the answer."""
        if self.answer is not None:
            return ()
        return self.calls or (Question(self.text),)


def answer_turn(outcome: str, values: Sequence[str] = ()) -> Turn:
    """The turn that ends an episode: the outcome, and the values that belong to it."""
    return Turn(f"<answer>{' '.join([outcome.capitalize(), *values])}</answer>")


@dataclass(frozen=True, slots=True)
class Cut:
    """What stood inside the frames of a text, and the text without them."""

    inside: tuple[str, ...]
    outside: str


def cut_out(text: str, opening: str, closing: str) -> Cut:
    """All that stands between an opening and the closing next to it, in one pass; one that is not closed is text."""
    inside, outside, place = [], [], 0
    while (start := text.find(opening, place)) >= 0 and (end := text.find(closing, start + len(opening))) >= 0:
        outside.append(text[place:start])
        inside.append(text[start + len(opening) : end])
        place = end + len(closing)
    return Cut(tuple(inside), "".join([*outside, text[place:]]))


def parse_turn(text: str) -> Turn:
    """Read the Hermes format: `<tool_call>{"name": .., "arguments": {..}}</tool_call>` blocks and free text."""
    cut = cut_out(text, "<tool_call>", "</tool_call>")
    return Turn(cut.outside.strip(), tuple(map(_parse_call, cut.inside)))


def turn_of_chat(text: str, calls: Iterable[Mapping[str, Any]]) -> Turn:
    """The turn that a model's chat message makes: native calls (`{"name": .., "arguments": JSON text}`), else its text.

    Arguments that are not JSON make a call that the world refuses.
    """
    made = tuple(ToolCall(str(call["name"]), parse_arguments(str(call["arguments"]))) for call in calls)
    return Turn(text.strip(), made) if made else parse_turn(text)


def parse_arguments(text: str) -> Any:
    """The arguments of a native call, from their JSON text; None where they are not JSON, or too deep for any tool."""
    try:
        arguments = json.loads(text)
        return arguments if _is_shallow(arguments) else None
    except (ValueError, RecursionError):
        return None


def message_of(turn: Turn, number: int) -> Message:
    """Turn `number` of an episode as an OpenAI message. Call i of it has the id `call_{number}_{i}`."""
    message: Message = {"role": "assistant", "content": turn.text}
    if turn.thought:
        message["reasoning_content"] = turn.thought
    if turn.calls:
        message["tool_calls"] = [
            {
                "id": f"call_{number}_{i}",
                "type": "function",
                "function": {"name": call.name, "arguments": json_text(call.arguments)},
            }
            for i, call in enumerate(turn.calls)
        ]
    return message


def turn_of(message: Mapping[str, Any]) -> Turn:
    """The turn that a stored message of an assistant records.

    Raises:
        RecordError: it is no message of an assistant.
    """
    try:
        calls = [call["function"] for call in message.get("tool_calls") or ()]
        made = tuple(ToolCall(str(call["name"]), json.loads(call["arguments"])) for call in calls)
        return Turn(str(message["content"] or ""), made, str(message.get("reasoning_content") or ""))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecordError(f"not a message of an assistant: {error!r}") from None


def call_of(value: Any, key: str = "arguments") -> ToolCall:
    """The call that a JSON value is: an object with a `name`, and arguments under `key`."""
    try:
        return ToolCall(str(value["name"]), value[key] if _is_shallow(value[key]) else None)
    except (TypeError, KeyError, IndexError, RecursionError):
        return MALFORMED


def _parse_call(block: str) -> ToolCall:
    try:
        return call_of(json.loads(block))
    except (ValueError, RecursionError):
        return MALFORMED


def _is_shallow(value: Any, levels: int = 50) -> bool:
    """Whether a JSON value can be validated, written and read again without exhausting any stack."""
    if not isinstance(value, dict | list):
        return True
    inside = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_shallow(part, levels - 1) for part in inside)
