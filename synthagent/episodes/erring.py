"""Embedded tools that contradict themselves: the executable world, erring at a rate as a model does without M.

A row is what a simulated tool said when it was first asked. With the mapping M that answer stands, so that a world with
M is the executable world as it is. Without M the answer is made up anew at each call, and errs at a rate: one value of
what a tool looked up is then another that the world has for that column. What a call does to the rows is not touched.
"""

from __future__ import annotations

import random
from typing import Any

from synthagent.episodes.episode import EMBEDDED, Episode, Response
from synthagent.episodes.turn import Question, ToolCall
from synthagent.episodes.world import ToolEvent
from synthagent.records import Task


class ErringTools:
    """The embedded environment; an answer of a tool that only reads errs with the probability `rate`.

    It draws from the generator of the module `random`, which a training seeds, and keeps in its checkpoints.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate

    async def answer(self, episode: Episode, asked: ToolCall | Question) -> Response:
        """As `Environment`."""
        response = await EMBEDDED.answer(episode, asked)
        if isinstance(response, ToolEvent) and response.ok and random.random() < self.rate:
            response = _contradicted(response, episode.task)
            episode.world.events[-1] = response
        return response


def _contradicted(event: ToolEvent, task: Task) -> ToolEvent:
    """The event with one value replaced; as it is where the tool writes, or no other value is known."""
    effects = task.world.effects[event.tool]
    if any(effect.op not in ("get", "find") for effect in effects):
        return event
    columns = {name: column for effect in effects for name, column in effect.returns.items() if name in event.result}
    others = {name: _others(task, column, event.result[name]) for name, column in columns.items()}
    names = sorted(name for name, values in others.items() if values)
    if not names:
        return event
    name = random.choice(names)
    return event._replace(result={**event.result, name: random.choice(others[name])})


def _others(task: Task, column: str, value: Any) -> list[Any]:
    """Other values of a column: of other rows, and those that the rules speak of."""
    known = [row[column] for table in task.world.tables.values() for row in table.rows if column in row]
    for rule in task.world.rules.values():
        known += [c.value for c in (rule.seen.result if rule.seen else ()) if c.field == column]
    return [other for other in known if type(other) is type(value) and other != value]
