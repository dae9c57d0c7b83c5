"""The dialects in which families of models write thoughts and tool calls: the text of a student's turn -> `Turn`.

What a student writes is untrusted. Reading takes one pass and never raises: where a call has begun and cannot be read,
the turn makes a call that the world refuses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from synthagent.episodes.turn import MALFORMED, ToolCall, Turn, call_of, cut_out, parse_turn
from synthagent.worlds import Tool

Reader = Callable[[str, Sequence[Tool]], Turn]

_OPEN, _CLOSE = "<think>", "</think>"
_LONGEST = 5_000  # characters, without thoughts, for patterns that others wrote; a longer turn makes no call
_PYTHON_TAG = "<|python_tag|>"
_BARE_CALL = re.compile(r'\{\s*"name"\s*:')
_TOOL_CALLS = "[TOOL_CALLS]"
_NAMED_CALL = re.compile(r"([^\s\[\]{}]{1,100})\s*(?:\[CALL_ID\]\s*\w{0,100}\s*)?(?:\[ARGS\]\s*)?(?={)")
_BETWEEN = frozenset(" \t\r\n;,")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Dialect:
    """One way to write calls.

    `marks`: special tokens that belong to it whether or not a template writes them. `ends`: tokens that end a turn
    beside those with which a template ends it.
    """

    name: str
    read: Reader
    marks: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()


def own_dialects(lead: str) -> list[Dialect]:
    """The forms that are read here. `lead`: what the template writes before a turn, which may have begun a thought."""
    opened = _opened(lead)
    return [
        Dialect("Hermes", partial(_read, _hermes, opened)),
        Dialect("Llama", partial(_read, _llama, opened), (_PYTHON_TAG,), ("<|eom_id|>",)),
        Dialect("Mistral", partial(_read, _mistral, opened), (_TOOL_CALLS, "[CALL_ID]", "[ARGS]")),
    ]


def described_dialect(tokenizer: Any, template: dict[str, Any], lead: str, ends: Sequence[str]) -> Dialect:
    """The dialect that a `response_template` of transformers describes, which wants to see how a turn ends."""
    opened = _opened(lead)
    described = partial(_described, tokenizer, template, lead, ends, f"{_CLOSE}\n\n" if opened else "")
    return Dialect("response template", partial(_read, described, opened))


def with_thought(text: str, thought: str) -> str:
    """A turn's text with its thought before it, as most families write it."""
    return f"{_OPEN}\n{thought}\n{_CLOSE}\n\n{text}" if thought else text


def _opened(lead: str) -> bool:
    return _OPEN in lead and _CLOSE not in lead.rpartition(_OPEN)[2]


def _read(plain: Reader, opened: bool, text: str, tools: Sequence[Tool]) -> Turn:
    """Read the turn around its thoughts. A thought that is never closed takes the rest of the turn."""
    cut = cut_out(_OPEN + text if opened else text, _OPEN, _CLOSE)
    said, _, unclosed = cut.outside.partition(_OPEN)
    turn = plain(said, tools)
    thoughts = (thought.strip() for thought in (*cut.inside, unclosed, turn.thought))
    return replace(turn, thought="\n".join(filter(None, thoughts)))


def _hermes(text: str, _: Sequence[Tool]) -> Turn:
    return parse_turn(text)


def _llama(text: str, _: Sequence[Tool]) -> Turn:
    """Llama 3: `{"name": .., "parameters": {..}}`, with or without `<|python_tag|>` before it, several after `;`."""
    before, tag, after = text.partition(_PYTHON_TAG)
    if not tag:
        call = _BARE_CALL.search(text)
        if call is None:
            return Turn(text.strip())
        before, after = text[: call.start()], text[call.start() :]
    objects = _objects(after)
    calls = tuple(call_of(value, "parameters" if "parameters" in value else "arguments") for value in objects.values)
    if not calls and not tag and before.strip():
        return Turn(text.strip())  # the user is told something in braces
    return Turn((before + objects.rest).strip(), calls) if calls else Turn(before.strip(), (MALFORMED,))


def _mistral(text: str, _: Sequence[Tool]) -> Turn:
    """Mistral: `[TOOL_CALLS]` before a list of calls, as until 2024, or before each `name[ARGS]{..}`, as since."""
    before, *blocks = text.split(_TOOL_CALLS)
    return Turn(before.strip(), tuple(call for block in blocks for call in _mistral_calls(block.strip())))


def _mistral_calls(block: str) -> Sequence[ToolCall]:
    named = _NAMED_CALL.match(block)
    value = _decoded(block, named.end() if named else 0)
    if value is None:
        return (MALFORMED,)
    if named:
        return (call_of({"name": named.group(1), "arguments": value.value}),)
    return [call_of(call) for call in (value.value if isinstance(value.value, list) else [value.value])]


def _described(
    tokenizer: Any,
    template: dict[str, Any],
    lead: str,
    ends: Sequence[str],
    before: str,
    text: str,
    tools: Sequence[Tool],
) -> Turn:
    """`before`: what closes the thought that `lead` has opened; the thought itself has been taken out."""
    if len(text) > _LONGEST:
        return Turn(text.strip())
    try:
        schemas = [tool.schema_of_openai for tool in tools]
        for end in reversed(ends):  # that of a call first, if it is another
            parsed = tokenizer.parse_response(before + text + end, template, prefix=lead, tools=schemas)
            if parsed.get("tool_calls"):
                break
        functions = [call.get("function", call) for call in parsed.get("tool_calls") or ()]
        calls = tuple(call_of({"arguments": {}, **function}) for function in functions)
        thought = parsed.get("reasoning_content") or parsed.get("thinking") or ""
        return Turn(str(parsed.get("content") or "").strip(), calls, str(thought).strip())
    except Exception:  # others' patterns on a model's text: whatever they raise, the turn cannot be read
        return Turn(calls=(MALFORMED,))


# --- JSON inside a text ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Objects:
    """Calls that follow each other, and what comes after them."""

    values: list[dict[str, Any]]
    rest: str


def _objects(text: str) -> _Objects:
    values: list[dict[str, Any]] = []
    place = 0
    while True:
        start = place
        while text[start : start + 1] in _BETWEEN:
            start += 1
        found = _decoded(text, start)
        if found is None or not isinstance(found.value, dict) or "name" not in found.value:
            return _Objects(values, text[place:])
        values.append(found.value)
        place = found.end


@dataclass(frozen=True, slots=True)
class _Decoded:
    value: Any
    end: int


def _decoded(text: str, place: int) -> _Decoded | None:
    try:
        return _Decoded(*_DECODER.raw_decode(text, place))
    except (ValueError, RecursionError):
        return None
