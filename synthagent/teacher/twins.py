"""The twin of a task: one that looks the same and whose right outcome is another. (task, change) -> pair. Pure.

A policy that acts whatever it sees, or refuses whatever it sees, is right in one of the two. What a pair differs in is
what its constraint turns on: the value in a row, what the user says, or whether the thing is there. Instruction, tools
and constraints are the same, so that nothing but asking and looking tells one from the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol, TypeVar

from synthagent.episodes.world import meets
from synthagent.frozen import Json
from synthagent.records import Task
from synthagent.worlds import Condition


@dataclass(frozen=True, slots=True)
class RowChange:
    """The row whose key is `key` has another value in a column."""

    table: str
    key: Json
    column: str
    value: Json


@dataclass(frozen=True, slots=True)
class RowGone:
    """There is no row whose key is `key`."""

    table: str
    key: Json


@dataclass(frozen=True, slots=True)
class FactChange:
    """The user has something else to say."""

    slot: str
    value: str
    phrase: str


Change = RowChange | RowGone | FactChange


def pair(task: Task, change: Change, name: str) -> tuple[Task, Task]:
    """The task and, as `name`, its twin; each names the other."""
    twin = task.model_copy(update={"id": name, "twin_of": task.id, **_changed(task, change)})
    return task.model_copy(update={"twin_of": name}), twin


class Paired(Protocol):
    """What tells tasks from each other: a task, or some columns of one."""

    @property
    def id(self) -> str: ...

    @property
    def twin_of(self) -> str | None: ...


P = TypeVar("P", bound=Paired)


def pair_name(task: Paired) -> str:
    """What the two of a pair have in common: the id of the first of them."""
    return min(task.id, task.twin_of or task.id)


def twin_names(tasks: Iterable[Task]) -> dict[str, str]:
    """Task id -> its twin's; a task that has none is not in it."""
    return {task.id: task.twin_of for task in tasks if task.twin_of}


def in_pairs(tasks: Iterable[P]) -> list[tuple[P, ...]]:
    """The tasks with their twins, each pair or task without a twin among them once, in the order of the first."""
    groups: dict[str, list[P]] = {}
    for task in tasks:
        groups.setdefault(pair_name(task), []).append(task)
    return [tuple(group) for group in groups.values()]


def draw_pairs(pairs: Sequence[tuple[P, ...]], count: int, rng: Random) -> list[P]:
    """Tasks of pairs drawn at random: no more than `count`, unless a pair is larger than that; whole pairs only."""
    drawn: list[P] = []
    for pair in rng.sample(pairs, len(pairs)):
        if drawn and len(drawn) + len(pair) > count:
            continue
        drawn += pair
    return drawn


def changes(task: Task) -> Iterator[Change]:
    """What may make a twin of a task, read off the rules of its world: whether it does is for the proofs to say.

    A rule that wants the user's word turns on that word; one that wants a look at a row first, on what the look shows.
    """
    for rule in task.world.rules.values():
        if rule.told is not None and rule.told.value is not None:
            licence = rule.told.value
            for fact in task.facts:
                if fact.slot == rule.told.slot and fact.value == licence:
                    yield FactChange(fact.slot, "no", "no, leave it")
                elif fact.slot == rule.told.slot:
                    yield FactChange(fact.slot, licence, licence)
        if rule.seen is not None:
            yield from _row_changes(task, rule.seen.tool, rule.seen.result)


def _row_changes(task: Task, tool: str, licence: Sequence[Condition]) -> Iterator[RowChange]:
    """Changes of a row that `tool` shows, after which it meets the licence, or no longer does."""
    for effect in task.world.effects.get(tool, ()):
        table = task.world.tables[effect.table]
        for condition in licence:
            column = effect.returns.get(condition.field)
            if column is None or column == table.key:
                continue
            for row in table.rows:
                met = meets(row, condition.model_copy(update={"field": column}))
                known = [other[column] for other in table.rows if column in other]
                for value in _values(condition, not met, known):
                    yield RowChange(effect.table, row[table.key], column, value)


def _values(condition: Condition, met: bool, known: Sequence[Json]) -> Iterator[Json]:
    """A value that meets the condition, or does not: the condition's own, or one of the column's, or one beside it."""
    value = condition.value
    among: Sequence[Json] = value if condition.op in ("in", "not_in") and isinstance(value, list) else [value]
    match condition.op:
        case "eq" | "same" | "in" | "ne" | "not_in":
            if met == (condition.op in ("eq", "same", "in")):
                yield from among[:1]
            else:
                like = [other for other in known if any(type(other) is type(one) for one in among)]
                yield from [other for other in (*like, *map(_beside, among)) if other not in among][:1]
        case "le" | "ge" | "lt" | "gt" if isinstance(value, int | float):
            step = 1 if condition.op in ("ge", "gt") else -1
            yield value + step if met else value - step


def _beside(value: Json) -> Json:
    """Another value of the same type. A text does not contain the value: an answer names one, and not the other."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case _:
            return "other" if value != "other" else "unknown"


def _changed(task: Task, change: Change) -> dict[str, Any]:
    """The fields of the task that the change replaces."""
    match change:
        case FactChange():
            said = {"value": change.value, "phrase": change.phrase}
            facts = [fact.model_copy(update=said) if fact.slot == change.slot else fact for fact in task.facts]
            return {"facts": tuple(facts)}
        case RowChange() | RowGone():
            table = task.world.tables[change.table]
            rows = [row for row in table.rows if row[table.key] != change.key]
            if isinstance(change, RowChange):
                rows = [_set(row, change) if row[table.key] == change.key else row for row in table.rows]
            tables = {**task.world.tables, change.table: table.model_copy(update={"rows": tuple(rows)})}
            return {"world": task.world.model_copy(update={"tables": tables})}


def _set(row: Mapping[str, Json], change: RowChange) -> dict[str, Json]:
    return {**row, change.column: change.value}
