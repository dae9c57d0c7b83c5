"""Proofs of natural tasks only: a task, its rubric -> whether each holds, and what it is about. By running, as all.

quiet    nothing has to be asked: who asks all the same earns less
apart    a lookup brings several rows that are easily mixed up: who takes another one earns less
nothing  the right tool is not there: no other, run with the values that the request gives, does what it did
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

import jsonschema_rs

from synthagent.episodes.scripted import ASKS_AGAIN, MIXES_UP, Style
from synthagent.episodes.world import Row, ToolEvent, World, compile_validators
from synthagent.frozen import Json
from synthagent.meaning import same
from synthagent.records import Task
from synthagent.worlds import Ask, Pick, Removed, Tool

QUIET, APART, NOTHING = "quiet", "apart", "nothing"
NATURAL_PROOFS = (QUIET, APART, NOTHING)
_MOST_CALLS = 100  # of one tool


@dataclass(frozen=True, slots=True)
class Proven:
    """Whether a proof holds, null where it does not apply, and the figure or text behind it."""

    holds: bool | None
    detail: str


def prove_natural(task: Task, solved: float, earned: Callable[[Style], float]) -> dict[str, Proven]:
    """All of them. `solved`: what the reference earns; `earned`: what it earns in a style."""
    asks = any(isinstance(step, Ask) for step in task.reference)
    again = None if asks else earned(ASKS_AGAIN)
    mixed = earned(MIXES_UP) if any(isinstance(step, Pick) for step in task.reference) else None
    removed = task.world.removed
    other = does_the_same(task, removed) if removed else None
    return {
        QUIET: Proven(None if again is None else again < solved, f"who asks all the same earns {again}"),
        APART: Proven(None if mixed is None else mixed < solved, f"who takes another row earns {mixed}"),
        NOTHING: Proven(None if removed is None else other is None, f"{other} does what the removed tool did"),
    }


def does_the_same(task: Task, removed: Removed) -> str | None:
    """A tool that does what the removed one did, or the removed one itself if it does nothing; None: none does.

    Each tool is called with every value that was wanted of the removed one, wherever its schema takes it, and with the
    keys of all rows where it wants a key.
    """
    effects = {**task.world.effects, removed.tool.name: removed.effects}
    spec, tools = task.world.model_copy(update={"effects": effects}), (*task.tools, removed.tool)
    validators = compile_validators(tools)
    wanted = _run(World(spec, validators), removed.tool.name, removed.args)
    if not wanted.did:
        return removed.tool.name
    for tool in task.tools:
        for args in islice(_fitting(tool, removed.args, task), _MOST_CALLS):
            found = _run(World(spec, validators), tool.name, args)
            if found.did and wanted.is_in(found):
                return tool.name
    return None


@dataclass(frozen=True, slots=True)
class _Run:
    """What a call brought: rows that it changed (of each the table and all but the key), values that it gave."""

    did: bool
    rows: tuple[tuple[str, Row], ...]
    values: tuple[Json, ...]

    def is_in(self, other: _Run) -> bool:
        """Whether another call brought the same: the rows, where there are any; else the values."""
        if self.rows:
            return all(any(table == its and _within(row, one) for its, one in other.rows) for table, row in self.rows)
        return all(any(same(value, one) for one in other.values) for value in self.values)


def _run(world: World, tool: str, args: dict[str, Json]) -> _Run:
    before = world.state()
    event: ToolEvent = world.call(tool, args)
    keys = {name: table.key for name, table in world.spec.tables.items()}
    rows = tuple(
        (name, {column: value for column, value in row.items() if column != keys[name]})
        for name, table in world.tables.items()
        for key, row in table.items()
        if row != before[name].get(key)
    )
    results: list[Mapping[str, Any]] = [event.result, *event.result.get("results", ())]
    return _Run(event.ok, rows, tuple(value for result in results for value in result.values()))


def _within(row: Row, other: Row) -> bool:
    return all(column in other and same(value, other[column]) for column, value in row.items())


def _fitting(tool: Tool, wanted: Mapping[str, Json], task: Task) -> Iterator[dict[str, Json]]:
    """Arguments for a tool that its schema takes, by name first, then made of the wanted values and of keys of rows."""
    keys = {
        effect.key: [row[task.world.tables[effect.table].key] for row in task.world.tables[effect.table].rows]
        for effect in task.world.effects.get(tool.name, ())
        if effect.key
    }
    schemas: Mapping[str, Any] = tool.parameters.get("properties", {})
    among = {}
    for name in tool.parameters.get("required", ()):
        validator = jsonschema_rs.validator_for(schemas[name])
        among[name] = [value for value in (*keys.get(name, ()), *wanted.values()) if validator.is_valid(value)]
    named = {name: value for name, value in wanted.items() if name in schemas}
    if among.keys() <= named.keys():
        yield named
    for values in product(*among.values()):
        args = dict(zip(among, values, strict=True))
        yield args
        if named.keys() - args.keys():
            yield named | args
