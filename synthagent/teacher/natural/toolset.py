"""The tools of one natural task: a domain's actions and lookups, written in one style -> schemas, effects, columns.

A thing is a table whose rows are known by a code; a lookup is a table of questions and their results.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache

from synthagent.frozen import Json
from synthagent.teacher.natural.describing import describe_tool
from synthagent.teacher.natural.domain import Field, Lookup, NaturalAction, NaturalDomain, Thing
from synthagent.teacher.natural.schemas import Naming, TypedParameter, as_optional, tool_name, write_field
from synthagent.worlds import Effect, Tool

STATUS, ROW = "status", "row"


@dataclass(frozen=True, slots=True)
class Spec:
    """A tool, what it does, and the fields behind its parameters and results, by parameter or result."""

    tool: Tool
    effects: tuple[Effect, ...]
    takes: tuple[TypedParameter, ...]
    gives: tuple[TypedParameter, ...] = ()

    @property
    def name(self) -> str:
        return self.tool.name

    @property
    def required(self) -> tuple[TypedParameter, ...]:
        """The parameters that have to be given."""
        return tuple(written for written in self.takes if written.required)


def code_of(thing: Thing) -> Field:
    """The code by which tools know a thing."""
    return _code(thing.name)


def status_of(thing: Thing) -> Field:
    """The status of a thing."""
    return _status(thing.name, thing.statuses)


@cache
def _code(name: str) -> Field:
    return Field(name=f"{name} code", kind="code", about=f"code of the {name}", say=("{}",))


@cache
def _status(name: str, statuses: tuple[str, ...]) -> Field:
    return Field(name=STATUS, kind="option", about=f"status of the {name}", say=("the status is {}",), of=statuses)


def column(field: Field) -> str:
    """The column that holds a field."""
    return field.name.replace(" ", "_").replace("-", "_")


class ToolsetWriter:
    """Writes tools of one domain in one style. A field of a thing has the same form in all of its tools.

    `taken`: names that none of them may have.
    """

    def __init__(
        self, domain: NaturalDomain, style: Naming, currency: str, rng: random.Random, taken: Collection[str] = ()
    ) -> None:
        self.domain, self.style, self.currency, self.rng = domain, style, currency, rng
        self._names = {*taken}
        self._forms: dict[tuple[str, str], TypedParameter] = {}

    def form(self, thing: Thing, field: Field) -> str:
        """The form in which the values of a thing's field are kept."""
        return self._column(thing, field).form

    def find(self, thing: Thing, by: Field, extra: Sequence[Field] = ()) -> Spec:
        """Finds things by one field: their codes, and `extra` of each."""
        taken = self._parameter(thing, by, required=True)
        shown = [self._column(thing, field) for field in (code_of(thing), *extra)]
        returns = {self._result(written): _stored(thing, written.field) for written in shown}
        effect = Effect(op="find", table=thing.name, where={column(by): taken.key}, returns=returns, by_meaning=True)
        verb = self.rng.choice(("find", "search", "look up", "list"))
        told = describe_tool(verb, thing.name, self.rng, "read", [each.field.name for each in shown], by.name)
        return self._spec(verb, thing.name, told, (taken,), shown, effect)

    def get(self, thing: Thing, shown: Sequence[Field]) -> Spec:
        """Shows fields of the thing with a code, its status among them."""
        key = self._parameter(thing, code_of(thing), required=True)
        written = [self._column(thing, field) for field in (status_of(thing), *shown)]
        returns = {self._result(each): _stored(thing, each.field) for each in written}
        effect = Effect(op="get", table=thing.name, key=key.key, returns=returns)
        verb = self.rng.choice(("get", "view", "check", "show", "read"))
        told = describe_tool(verb, thing.name, self.rng, "read", [each.field.name for each in written], "code")
        return self._spec(verb, thing.name, told, (key,), written, effect)

    def act(self, action: NaturalAction) -> Spec:
        """What an action does."""
        thing = self.thing(action.thing)
        fields = {field.name: field for field in thing.fields}
        if action.needs:
            takes = [self._parameter(thing, fields[name], required=True) for name in action.needs]
            takes += [self._parameter(thing, fields[name], required=False) for name in action.may]
            write: dict[str, Json] = {column(each.field): {"arg": each.key} for each in takes}
            made = self._column(thing, code_of(thing))
            effect = Effect(
                op="create",
                table=thing.name,
                write=write | {STATUS: {"value": action.sets or "new"}},
                returns={self._result(made): "id"},
                defaults=_defaults(takes),
            )
            told = describe_tool(action.verb, thing.name, self.rng, "make")
            return self._spec(action.verb, thing.name, told, takes, (made,), effect)
        key = self._parameter(thing, code_of(thing), required=True)
        takes = [key, *(self._parameter(thing, fields[name], required=True) for name in action.changes)]
        write = {column(each.field): {"arg": each.key} for each in takes[1:]}
        write |= {STATUS: {"value": action.sets}} if action.sets else {}
        effect = Effect(op="update", table=thing.name, key=key.key, write=write)
        what = [action.sets] if action.sets else list(action.changes)
        told = describe_tool(action.verb, thing.name, self.rng, "status" if action.sets else "change", what, "code")
        return self._spec(action.verb, thing.name, told, takes, (), effect)

    def look_up(self, lookup: Lookup) -> Spec:
        """What a lookup finds."""
        taken: list[TypedParameter] = []
        for field, required in (*((f, True) for f in lookup.needs), *((f, False) for f in lookup.may)):
            keys = [written.key for written in taken]
            taken.append(write_field(field, self.style, required, self.rng, keys, currency=self.currency))
        given = [write_field(field, self.style, True, self.rng, currency=self.currency) for field in lookup.gives]
        effect = Effect(
            op="find",
            table=lookup.name,
            where={column(each.field): each.key for each in taken},
            returns={self._result(each): column(each.field) for each in given},
            by_meaning=True,
            defaults=_defaults(taken),
        )
        told = describe_tool(lookup.verb, lookup.name, self.rng, "read", [each.field.name for each in given])
        return self._spec(lookup.verb, lookup.name, told, taken, given, effect)

    def thing(self, name: str) -> Thing:
        """The thing of this name."""
        return next(thing for thing in self.domain.things if thing.name == name)

    def _column(self, thing: Thing, field: Field) -> TypedParameter:
        known = (thing.name, field.name)
        if known not in self._forms:
            keys = self._keys(thing)
            self._forms[known] = write_field(field, self.style, True, self.rng, keys, currency=self.currency)
        return self._forms[known]

    def _keys(self, thing: Thing) -> list[str]:
        return [written.key for (name, _), written in self._forms.items() if name == thing.name]

    def _parameter(self, thing: Thing, field: Field, required: bool) -> TypedParameter:
        kept = self._column(thing, field)
        return kept if required else as_optional(kept, self.rng, self.currency)

    def _result(self, written: TypedParameter) -> str:
        return column(written.field)

    def _spec(
        self,
        verb: str,
        noun: str,
        description: str,
        takes: Sequence[TypedParameter],
        gives: Sequence[TypedParameter],
        effect: Effect,
    ) -> Spec:
        name = tool_name(verb, noun, self.style, self.rng, self._names)
        self._names.add(name)
        parameters = {
            "type": "object",
            "properties": {written.key: written.schema for written in takes},
            "required": [written.key for written in takes if written.required],
            "additionalProperties": False,
        }
        outputs = {self._result(written): {"type": written.schema.get("type", "string")} for written in gives}
        outputs = outputs or {"result": {"type": "string"}}
        tool = Tool(name=name, description=description, parameters=parameters, outputs=outputs)
        return Spec(tool, (effect,), tuple(takes), tuple(gives))


def _stored(thing: Thing, field: Field) -> str:
    return "id" if field is code_of(thing) else column(field)


def _defaults(takes: Sequence[TypedParameter]) -> dict[str, Json]:
    return {each.key: each.schema["default"] for each in takes if "default" in each.schema}
