"""Tasks to read: tasks with their twins and personas -> one HTML page that loads nothing; or a few drawn from a file.

Of each the page says what a policy sees, what only the user knows, what the expert does, and what is right.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthagent.episodes.episode import Episode, opening, play
from synthagent.episodes.scripted import Style, reference
from synthagent.episodes.world import fresh_world
from synthagent.errors import InputError
from synthagent.frozen import Json
from synthagent.judging.criteria import extract
from synthagent.records import Message, Task
from synthagent.showing.html import environment
from synthagent.showing.show import type_of
from synthagent.store import read_records
from synthagent.worlds import Fact, Tool


@dataclass(frozen=True, slots=True)
class ShownParameter:
    """A parameter of a tool: its type with what its schema says of it, and its description."""

    name: str
    type: str
    description: str


@dataclass(frozen=True, slots=True)
class ShownTool:
    """A tool as a policy reads it. `used`: the expert needs it."""

    name: str
    description: str
    parameters: tuple[ShownParameter, ...]
    outputs: tuple[str, ...]
    used: bool


@dataclass(frozen=True, slots=True)
class ShownTask:
    """A task, ready for the template."""

    id: str
    about: str
    persona: str
    system: str
    tools: tuple[ShownTool, ...]
    request: str
    known: tuple[str, ...]
    episode: tuple[Message, ...]
    outcome: str
    twin: tuple[str, ...]


def task_page(groups: Iterable[Sequence[Task]], personas: Mapping[str, str], source: str) -> str:
    """The page. A group: a task, and its twin if it has one. `personas`: id -> text; `source`: where they are from."""
    shown = [shown_task(group, personas) for group in groups]
    return environment().get_template("tasks.html.j2").render(tasks=shown, source=source)


def picked(file: Path, count: int, seed: int, domain: str | None) -> list[tuple[Task, ...]]:
    """So many tasks of a file, drawn by the seed, each with its twin behind it; of two twins one is shown.

    Raises:
        StoreError: the file cannot be read.
        InputError: it has no task of that domain.
    """
    twins, domains = dict[str, str | None](), set[str]()
    for task in read_records(file, Task):
        domains.add(task.domain)
        if domain in (None, task.domain):
            twins[task.id] = task.twin_of
    if not twins:
        there = f"; there are {', '.join(sorted(domains))}" if domains else ""
        raise InputError(f"{file}: no task of the domain {domain}{there}" if domain else f"{file}: no task in it")
    rng = random.Random(f"sample-{seed}")
    order = dict[str, None]()
    for id in rng.sample(sorted(twins), len(twins)):
        if twins[id] not in order:
            order[id] = None
        if len(order) == count:
            break
    wanted = order.keys() | {twin for id in order if (twin := twins[id])}
    found = {task.id: task for task in read_records(file, Task) if task.id in wanted}
    return [tuple(found[id] for id in (name, twins[name]) if id in found) for name in order]


def shown_task(group: Sequence[Task], personas: Mapping[str, str]) -> ShownTask:
    """What there is to read of a task and its twin."""
    task = group[0]
    pattern = task.provenance.get("pattern")
    parts = [task.domain, f"pattern {pattern}" if pattern else "", f"level {task.difficulty}", task.split]
    runs = task.world_kind == "executable"
    return ShownTask(
        id=task.id,
        about=", ".join(filter(None, parts)),
        persona=personas.get(task.persona_id, task.persona_id),
        system=opening(task)[0]["content"],
        tools=tuple(_tool(tool, task.distractors) for tool in task.tools),
        request=task.instruction,
        known=tuple(_told(task, fact) for fact in task.facts),
        episode=tuple(_expert(task)) if runs else (),
        outcome=_outcome(task) if runs else "not known: a simulated world",
        twin=tuple(_difference(task, group[1])) if len(group) > 1 and runs else (),
    )


def _tool(tool: Tool, distractors: Sequence[str]) -> ShownTool:
    required = tool.parameters.get("required", ())
    properties: Mapping[str, Json] = tool.parameters.get("properties", {})
    return ShownTool(
        name=tool.name,
        description=tool.description,
        parameters=tuple(
            ShownParameter(f"{name}{'' if name in required else '?'}", _written(schema), _description(schema))
            for name, schema in properties.items()
        ),
        outputs=tuple(f"{name}: {type_of(schema)}" for name, schema in tool.outputs.items()),
        used=tool.name not in distractors,
    )


def _written(schema: Json) -> str:
    """A parameter's type, and all that its schema says but the description."""
    if not isinstance(schema, dict):
        return "any"
    rest = {key: part for key, part in schema.items() if key not in ("type", "description")}
    return f"{type_of(schema)} {json.dumps(rest, ensure_ascii=False)}" if rest else type_of(schema)


def _description(schema: Json) -> str:
    return str(schema.get("description", "")) if isinstance(schema, dict) else ""


def _told(task: Task, fact: Fact) -> str:
    wanted = task.world.canonical.get(fact.slot, fact.value)
    form = "" if wanted == fact.value else f", which tools want as {json.dumps(wanted, ensure_ascii=False)}"
    return f"{fact.slot}: {fact.value}{form}. When asked: {fact.phrase}"


def _expert(task: Task) -> list[Message]:
    """What the expert and those who answer it say, after the request."""
    episode = Episode(task)
    play(episode, reference(episode, Style(parallel=True)))
    return [_readable(message) for message in episode.messages[2:]]


def _readable(message: Message) -> Message:
    """Arguments with letters of all languages as they are."""
    calls = [
        {"name": call["function"]["name"], "arguments": _unescaped(call["function"]["arguments"])}
        for call in message.get("tool_calls") or ()
    ]
    said = message.get("content") or ""
    return {
        "role": message["role"],
        "content": _unescaped(said) if message["role"] == "tool" else said,
        "calls": calls,
    }


def _unescaped(text: str) -> str:
    return json.dumps(json.loads(text), ensure_ascii=False)


def _outcome(task: Task) -> str:
    return extract(task, fresh_world(task)).outcome or "none"


def _difference(task: Task, twin: Task) -> list[str]:
    """In what the twin differs, and how it ends."""
    lines: list[str] = []
    for own, its in zip(task.facts, twin.facts, strict=False):
        if own != its:
            lines.append(f"the user says of {own.slot}: {own.phrase!r} here, {its.phrase!r} in the twin")
    for name, table in task.world.tables.items():
        rows: dict[Any, dict[str, Json]] = {row[table.key]: row for row in twin.world.tables[name].rows}
        for row in table.rows:
            other = rows.get(row[table.key], {})
            lines += [
                f"{name} {row[table.key]}: {column} is {value!r} here, {other.get(column)!r} in the twin"
                for column, value in row.items()
                if other.get(column) != value
            ]
    return [*lines, f"so the twin, {twin.id}, ends {_outcome(twin)}"]
