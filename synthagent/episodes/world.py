"""The executable world: tables of rows that tools read and write. `WorldSpec` + tools -> calls, events, final state.

Interpreted, never generated code; deterministic; every call is validated against its tool's JSON schema and logged as
an event. What a policy sends is untrusted: a refused call changes nothing, and no observation echoes its text.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jsonschema_rs

from synthagent.errors import ToolError
from synthagent.meaning import same
from synthagent.records import Task
from synthagent.worlds import Condition, Effect, Tool, WorldSpec

Row = dict[str, Any]
NOT_FOUND = "not found"
BUSY = "temporarily unavailable, try again"


class ToolEvent(NamedTuple):
    """A tool call and what came of it. `valid`: the tool exists and its arguments fit the schema."""

    tool: str
    args: Mapping[str, Any]
    ok: bool
    result: Mapping[str, Any]
    valid: bool = True


@dataclass(frozen=True, slots=True)
class UserEvent:
    """A message to the user, the reply, and the facts the reply told (slot -> value)."""

    question: str
    reply: str
    told: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class AnswerEvent:
    """The final answer."""

    text: str


Event = ToolEvent | UserEvent | AnswerEvent

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "in": lambda found, among: found in among,
    "not_in": lambda found, among: found not in among,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "same": same,
}


def meets(row: Mapping[str, Any], condition: Condition) -> bool:
    """Whether `row[field] op value`; false where the field is absent or the two do not compare."""
    if condition.field not in row:
        return False
    try:
        return bool(_OPERATORS[condition.op](row[condition.field], condition.value))
    except TypeError:
        return False


def meets_all(row: Mapping[str, Any], conditions: Sequence[Condition]) -> bool:
    """Whether `row` meets every condition."""
    return all(meets(row, condition) for condition in conditions)


Validators = dict[str, Any]


def fresh_world(task: Task) -> World:
    """A task's world at its start."""
    return World(task.world, compile_validators(task.tools))


def answered_by(task: Task, tool: str) -> Literal["world", "model"]:
    """Who answers calls of a tool: the world if it has an effect for it, or if there is no such tool; else a model."""
    simulated = tool not in task.world.effects and any(known.name == tool for known in task.tools)
    return "model" if simulated else "world"


def is_simulated(task: Task) -> bool:
    """Whether a model answers for some of a task's tools."""
    return any(answered_by(task, tool.name) == "model" for tool in task.tools)


def compile_validators(tools: Sequence[Tool]) -> Validators:
    """Tool name -> compiled JSON-schema validator of its arguments. Compile once, share between worlds of a task."""
    return {tool.name: jsonschema_rs.validator_for(tool.parameters) for tool in tools}


class World:
    """One episode's copy of a world. `call` runs a tool; `events` is the log; `tables` the current state."""

    def __init__(self, spec: WorldSpec, validators: Validators) -> None:
        self.spec = spec
        self.tables: dict[str, dict[Any, Row]] = {
            name: {row[table.key]: dict(row) for row in table.rows} for name, table in spec.tables.items()
        }
        self.events: list[Event] = []
        self._validators, self._effects = validators, spec.effects
        self._created = 0
        self._failed: dict[str, int] = {}

    def refusal(self, name: str, args: Any) -> ToolEvent | None:
        """The event of a call that no tool would take: unknown tool, or arguments that break its schema. Not logged."""
        try:
            self._check(name, args)
        except ToolError as refusal:
            return ToolEvent(name, {}, False, {"error": str(refusal)}, False)
        return None

    def call(self, name: str, args: Any) -> ToolEvent:
        """Run a tool, all of its effects or none. Errors are observations: `ok` is false, `result` has `error`."""
        valid = False
        try:
            effects = self._effects_of(name, args)
            valid = True
            self._fail_in_passing(name, effects)
            event = ToolEvent(name, args, True, self._run(effects, args))
        except ToolError as refusal:
            event = ToolEvent(name, args if valid else {}, False, {"error": str(refusal)}, valid)
        self.events.append(event)
        return event

    def state(self) -> dict[str, dict[Any, Row]]:
        """A copy of all tables, comparable with `==`."""
        return {name: {key: dict(row) for key, row in rows.items()} for name, rows in self.tables.items()}

    def _effects_of(self, name: str, args: Any) -> Sequence[Effect]:
        """What the tool does, once its arguments have passed its schema."""
        self._check(name, args)
        effects = self._effects.get(name)
        if effects is None:
            raise ToolError("no such tool")
        return effects

    def _check(self, name: str, args: Any) -> None:
        validator = self._validators.get(name)
        if validator is None:
            raise ToolError("no such tool")
        if not isinstance(args, dict):
            raise ToolError("bad arguments")
        try:
            if not validator.is_valid(args):
                raise ToolError(_first_fault(validator, args))
        except ValueError:  # JSON that the validator cannot take, such as half a surrogate pair
            raise ToolError("bad arguments") from None

    def _fail_in_passing(self, name: str, effects: Sequence[Effect]) -> None:
        failed = self._failed.get(name, 0)
        if failed < max((effect.busy for effect in effects), default=0):
            self._failed[name] = failed + 1
            raise ToolError(BUSY)

    def _run(self, effects: Sequence[Effect], args: Mapping[str, Any]) -> dict[str, Any]:
        if len(effects) == 1 and effects[0].op != "create":  # the common case, kept fast
            return self._apply(effects[0], self._targets(effects[0], args), args) or {"result": "ok"}
        # Every effect resolves its rows and tests its preconditions before any of them writes.
        targets = [self._targets(effect, args) for effect in effects]
        if self._created + sum(effect.op == "create" for effect in effects) > len(self.spec.new_ids):
            raise ToolError("no more room")
        result: dict[str, Any] = {}
        for effect, rows in zip(effects, targets, strict=True):
            result.update(self._apply(effect, rows, args))
        return result or {"result": "ok"}

    def _targets(self, effect: Effect, args: Mapping[str, Any]) -> list[Row]:
        table = self.tables[effect.table]
        match effect.op:
            case "create":
                rows: list[Row] = []
            case "find":
                alike = same if effect.by_meaning else operator.eq
                wanted = {column: _argument(effect, argument, args) for column, argument in effect.where.items()}
                rows = [row for row in table.values() if all(alike(row.get(c), v) for c, v in wanted.items())]
            case _:
                try:
                    row = table.get(args.get(effect.key or ""))
                except TypeError:  # a lax schema let a list through, which is no key
                    row = None
                rows = [] if row is None else [row]
        if not rows and effect.op != "create":
            raise ToolError(NOT_FOUND)
        for requirement in effect.require:
            if not all(meets(subject, requirement) for subject in (rows if requirement.of == "row" else [args])):
                raise ToolError(requirement.message)
        return rows

    def _apply(self, effect: Effect, rows: list[Row], args: Mapping[str, Any]) -> dict[str, Any]:
        table = self.tables[effect.table]
        match effect.op:
            case "create":
                row = {column: _value(source, effect, args) for column, source in effect.write.items()}
                row[self.spec.tables[effect.table].key] = key = self.spec.new_ids[self._created]
                self._created += 1
                table[key] = row
                rows = [row]
            case "update":
                rows[0].update({column: _value(source, effect, args) for column, source in effect.write.items()})
            case "delete":
                table.pop(args[effect.key or ""], None)
            case _:
                pass
        returns = effect.returns.items()
        if len(rows) == 1:
            row = rows[0]
            return {name: row.get(column) for name, column in returns}
        return {"results": [{name: row.get(column) for name, column in returns} for row in rows]}


def _value(source: Any, effect: Effect, args: Mapping[str, Any]) -> Any:
    return _argument(effect, source["arg"], args) if "arg" in source else source["value"]


def _argument(effect: Effect, name: str, args: Mapping[str, Any]) -> Any:
    return args[name] if name in args else effect.defaults.get(name)


def _first_fault(validator: Any, args: Any) -> str:
    """What is wrong with the arguments, in words of the schema only: never the policy's own text."""
    fault = next(iter(validator.iter_errors(args)))
    rule = str(fault.schema_path[-1]) if fault.schema_path else "schema"
    place = str(fault.schema_path[1]) if len(fault.schema_path) > 2 and fault.schema_path[0] == "properties" else ""
    return {"required": "missing argument", "additionalProperties": "unknown argument"}.get(
        rule, f"bad {place or 'arguments'}"
    )
