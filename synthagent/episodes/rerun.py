"""A stored episode, run again without its policy: messages -> `Episode`, with its event log and final state.

The executable world is live; what a user or a model said is taken from the record.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from synthagent.episodes.episode import MAX_TURNS, Episode, Response, play
from synthagent.episodes.turn import Question, ToolCall, Turn, turn_of
from synthagent.episodes.world import ToolEvent, answered_by
from synthagent.errors import RecordError
from synthagent.records import Message, Task


class _Recorded:
    """The environment of a stored episode: `following` holds the messages that answer the present turn."""

    def __init__(self) -> None:
        self.following: Iterator[Mapping[str, Any]] = iter(())

    async def answer(self, episode: Episode, asked: ToolCall | Question) -> Response:
        stood = next(self.following, {})
        if isinstance(asked, Question):
            return _content(stood) if stood.get("role") == "user" else ""
        if answered_by(episode.task, asked.name) == "world":
            return episode.world.call(asked.name, asked.arguments)
        event = episode.world.refusal(asked.name, asked.arguments)
        if event is None:
            result = _result(asked.name, stood)
            event = ToolEvent(asked.name, asked.arguments, "error" not in result, result)
        episode.world.events.append(event)
        return event


def rerun(task: Task, messages: Sequence[Message], max_turns: int = MAX_TURNS) -> Episode:
    """The episode that `messages` record.

    Raises:
        RecordError: a message is malformed, or a tool of the world answers differently than recorded: the record does
            not belong to this task.
    """
    environment = _Recorded()
    episode = Episode(task, environment, max_turns=max_turns)
    play(episode, _turns(episode, environment, messages))
    for place, observed in enumerate(episode.messages):
        stood = messages[place] if place < len(messages) else {}
        if observed["role"] == "tool" and observed["content"] != stood.get("content"):
            raise RecordError(f"message {place}: the world now answers {observed['content']}")
    return episode


def _turns(episode: Episode, environment: _Recorded, messages: Sequence[Message]) -> Iterator[Turn]:
    """The recorded turns; each time, what answered it is laid out first."""
    places = [place for place, m in enumerate(messages) if place >= len(episode.messages) and _role(m) == "assistant"]
    for place, after in pairwise([*places, len(messages)]):
        turn = turn_of(messages[place])
        if place == len(messages) - 1 and turn.answer is None:
            return  # cut off while it was being written
        environment.following = iter(messages[place + 1 : after])
        yield turn


def _role(message: Any) -> str:
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise RecordError("a message without a role")
    return str(message["role"])


def _content(message: Mapping[str, Any]) -> str:
    if not isinstance(message.get("content"), str):
        raise RecordError("a message without text")
    return str(message["content"])


def _result(tool: str, stood: Mapping[str, Any]) -> dict[str, Any]:
    """What the record says that a model answered for a tool."""
    try:
        result = json.loads(_content(stood)) if stood else None
    except (ValueError, RecursionError):
        result = None
    if not isinstance(result, dict):
        raise RecordError(f"the record has no result of {tool}")
    return result
