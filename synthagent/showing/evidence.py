"""Where a verdict's evidence stands: a verdict + the messages of its episode -> messages and parts of them. Pure.

A check names events of the log by number (`event 3: ..`), the answer, a question, or a row that the episode wrote; a
judge quotes a message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from synthagent.episodes.user import told_at_once
from synthagent.judging.transcript import is_empty, is_quoted, transcript
from synthagent.records import Task, Verdict

_ROW = re.compile(r"(?:^|; )(\w+)\[(.+?)\] = \{")
_EVENT = re.compile(r"(?:^|; )event (\d+): ")
_OPENING = 2  # messages: the constraints and the instruction


class Mark(NamedTuple):
    """A message by its number, and what of it: the id of a call, a quote; all of it where that is empty."""

    message: int
    part: str = ""


def marks_of(verdict: Verdict, messages: Sequence[Mapping[str, Any]], task: Task) -> tuple[Mark, ...]:
    """What to highlight; nothing where the evidence is that something is not there."""
    if verdict.by == "judge":
        return tuple(_quoted(verdict.evidence, messages))
    told, found = bool(told_at_once(task)), dict[Mark, None]()
    for number in _EVENT.findall(verdict.evidence):
        found |= dict.fromkeys(_of_event(int(number), messages, told))
    for table, key in _ROW.findall(verdict.evidence):
        found |= dict.fromkeys(_of_row(table, key, messages, task))
    kind, _, text = verdict.evidence.partition(": ")
    if kind == "asked":
        asked = [number for number, message in _written(messages) if str(message.get("content")).startswith(text)]
        found |= dict.fromkeys(map(Mark, asked[:1]))
    if re.search(r"(?:^|; )answer: ", verdict.evidence):
        found |= dict.fromkeys(Mark(number) for number, message in _written(messages) if _answers(message))
    return tuple(found)


def _of_event(number: int, messages: Sequence[Mapping[str, Any]], told: bool) -> Iterator[Mark]:
    """The messages of an event: a call and its result, a question and its reply, the answer.

    `told`: the instruction tells facts, and is the first event of the log.
    """
    place = -1
    if told:
        place += 1
        if number == 0:
            yield Mark(_OPENING - 1)
    for index, message in enumerate(messages[_OPENING:], _OPENING):
        place += message.get("role") in ("tool", "user") or _answers(message)
        if place != number:
            continue
        if message.get("role") == "tool":
            yield from _call_of(index, messages)
        elif message.get("role") == "user":
            yield Mark(index - 1)
        yield Mark(index)
        return


def _of_row(table: str, key: str, messages: Sequence[Mapping[str, Any]], task: Task) -> Iterator[Mark]:
    """The last call that writes to the table, and names the row or is answered with it; and its result."""
    writing = {
        tool
        for tool, effects in task.world.effects.items()
        if any(effect.table == table and effect.op in ("create", "update", "delete") for effect in effects)
    }
    for index in range(len(messages) - 1, _OPENING - 1, -1):
        for mark in _call_of(index, messages) if messages[index].get("role") == "tool" else ():
            call = next(c for c in _calls(messages[mark.message]) if c["id"] == mark.part)["function"]
            if call["name"] in writing and f'"{key}"' in f"{call['arguments']} {messages[index].get('content')}":
                yield from (mark, Mark(index))
                return


def _call_of(index: int, messages: Sequence[Mapping[str, Any]]) -> Iterator[Mark]:
    """The call that a tool's message answers."""
    called = str(messages[index].get("tool_call_id"))
    for number, message in _written(messages[:index]):
        if any(call["id"] == called for call in _calls(message)):
            yield Mark(number, called)


def _quoted(quote: str, messages: Sequence[Mapping[str, Any]]) -> Iterator[Mark]:
    """The first message that a quote stands in."""
    if is_empty(quote):
        return
    for number in range(_OPENING, len(messages)):
        if is_quoted(quote, transcript([{}, {}, messages[number]])):
            yield Mark(number, quote)
            return


def _written(messages: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """What the policy wrote, with its numbers."""
    return ((number, message) for number, message in enumerate(messages) if message.get("role") == "assistant")


def _calls(message: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return message.get("tool_calls") or ()


def _answers(message: Mapping[str, Any]) -> bool:
    return message.get("role") == "assistant" and not _calls(message) and "</answer>" in str(message.get("content"))
