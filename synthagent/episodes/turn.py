"""What a policy does in one message: text, tool calls or the answer. Text or OpenAI chat message <-> `Turn`. Pure.

All that a policy writes is untrusted: whatever cannot be read becomes a call that the world refuses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synthagent.errors import RecordError
from synthagent.records import Message

_TOOL_CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call as the policy wrote it. `arguments` is None where they are not JSON; the world then refuses it."""

    name: str
    arguments: Any


@dataclass(frozen=True, slots=True)
class Question:
    """Text to the user."""

    text: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One assistant message: tool calls, or text to the user, or the answer."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()

    @property
    def answer(self) -> str | None:
        """The text inside `<answer>`; a turn that calls a tool answers nothing."""
        match = None if self.calls else _ANSWER.search(self.text)
        return match.group(1).strip() if match else None

    @property
    def asked(self) -> tuple[ToolCall | Question, ...]:
        """What has to be answered, in this order: every call, or the question; nothing if the turn is the answer."""
        if self.answer is not None:
            return ()
        return self.calls or (Question(self.text),)


def answer_turn(outcome: str, values: Sequence[str] = ()) -> Turn:
    """The turn that ends an episode: the outcome, and the values that belong to it."""
    return Turn(f"<answer>{' '.join([outcome.capitalize(), *values])}</answer>")


def parse_turn(text: str) -> Turn:
    """Read the Hermes format: `<tool_call>{"name": .., "arguments": {..}}</tool_call>` blocks and free text."""
    blocks = _TOOL_CALL.findall(text)
    return Turn(_TOOL_CALL.sub("", text).strip(), tuple(map(_parse_call, blocks)))


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
    if turn.calls:
        message["tool_calls"] = [
            {
                "id": f"call_{number}_{i}",
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
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
        return Turn(str(message["content"] or ""), made)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RecordError(f"not a message of an assistant: {error!r}") from None


def _parse_call(block: str) -> ToolCall:
    try:
        call = json.loads(block)
        return ToolCall(str(call["name"]), call["arguments"] if _is_shallow(call["arguments"]) else None)
    except (ValueError, TypeError, KeyError, RecursionError):
        return ToolCall("malformed", None)


def _is_shallow(value: Any, levels: int = 50) -> bool:
    """Whether a JSON value can be validated, written and read again without exhausting any stack."""
    if not isinstance(value, dict | list):
        return True
    inside = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_shallow(part, levels - 1) for part in inside)
