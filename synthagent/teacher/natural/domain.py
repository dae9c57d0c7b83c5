"""A domain of the natural teacher: what there is, what can be done with it, what can be looked up. A YAML file each.

A thing is a table of rows; its fields are columns, and parameters of tools. Actions change things; lookups only read.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field as Described
from pydantic import model_validator

from synthagent.frozen import Json, Record
from synthagent.teacher.natural.relations import odd_relations

FieldKind = Literal[
    "whole",
    "number",
    "share",
    "money",
    "flag",
    "option",
    "date",
    "time",
    "duration",
    "person",
    "place",
    "address",
    "email",
    "phone",
    "code",
    "text",
    "list",
    "numbers",
]


class Field(Record):
    """A typed value that a thing has, or that a lookup is asked with."""

    name: str = Described(description="in words, such as `start time`")
    kind: FieldKind
    about: str = Described(description="what it is, as a schema describes it: `day of the visit`")
    say: tuple[str, ...] = Described(
        min_length=1, description="how a request says it, with one `{}`: `on {}`; of a flag the words: `with breakfast`"
    )
    ask: str = Described(default="", description="how an agent asks for it: `which day`; empty: `what the NAME is`")
    of: tuple[str, ...] = Described(
        default=(), description="option, list: all values; text: values, or patterns of them such as `The {Noun}`"
    )
    low: float | None = Described(default=None, description="whole, number, numbers, share, money, duration")
    high: float | None = None
    step: float | None = Described(default=None, description="values are multiples of it")
    unit: str = Described(default="", description="whole, number, duration: such as `minutes`, `kilograms`")
    default: Json = Described(default=None, description="what holds where an optional parameter is left out")
    after: str = Described(default="", description="date, time: a field beside it that it is later than")
    below: str = Described(default="", description="what has `low`: a field beside it that it is less than")
    unlike: str = Described(default="", description="a field beside it that it never equals")

    @model_validator(mode="after")
    def _fits(self) -> Field:
        if self.kind in ("option", "list", "text") and len(set(self.of)) < 2:
            raise ValueError(f"field {self.name!r}: {self.kind} needs `of` with at least two different values")
        measured = self.kind in ("whole", "number", "numbers", "share", "money", "duration")
        if measured and (self.low is None or self.high is None or not self.low < self.high):
            raise ValueError(f"field {self.name!r}: {self.kind} needs `low` below `high`")
        slots = 0 if self.kind == "flag" else 1
        for words in self.say:
            if words.count("{}") != slots:
                raise ValueError(f"field {self.name!r}: say {words!r}: {slots} times {{}} is wanted")
        return self


class Thing(Record):
    """A kind of row. Every thing also has a code, by which it is known to the tools."""

    name: str = Described(description="a singular noun: `table booking`")
    owner: str | None = Described(default=None, description="the field that says whose it is, a person")
    fields: tuple[Field, ...] = Described(min_length=3)
    statuses: tuple[str, ...] = Described(min_length=3, description="that it may have at the start; all different")


class NaturalAction(Record):
    """Something that changes a thing: gives it a status, changes fields of it, or makes a new one."""

    verb: str = Described(description="`cancel`; two words are fine: `call off`")
    past: str = Described(description="`cancelled`")
    thing: str
    sets: str | None = Described(default=None, description="the status that the thing has afterwards")
    changes: tuple[str, ...] = Described(default=(), description="names of fields that get new values")
    needs: tuple[str, ...] = Described(default=(), description="makes a new thing: fields that have to be given")
    may: tuple[str, ...] = Described(default=(), description="makes a new thing: fields that may be given")
    why: str = Described(default="", description="why it may be restricted: `the kitchen buys for the day before`")


class Lookup(Record):
    """Something that is only read: typed arguments, typed results."""

    verb: str = Described(description="`find`, `look up`, `work out`, `check`")
    past: str
    name: str = Described(description="what is found, a singular noun: `train connection`, `delivery fee`")
    needs: tuple[Field, ...] = Described(min_length=1)
    may: tuple[Field, ...] = Described(default=(), description="each with a default")
    gives: tuple[Field, ...] = Described(min_length=1, description="`say` is how an answer says it")

    @property
    def fields(self) -> tuple[Field, ...]:
        """All of its fields; what one declares of another holds among them."""
        return (*self.needs, *self.may, *self.gives)


class NaturalDomain(Record):
    """All words and types of one domain."""

    name: str
    split: Literal["train", "unseen_domain"]
    about: str = Described(description="where the agent works: `the front desk of a dental clinic`")
    keywords: tuple[str, ...] = Described(description="prefixes of words in a persona that lead here")
    things: tuple[Thing, ...] = Described(min_length=1)
    actions: tuple[NaturalAction, ...] = Described(min_length=3)
    lookups: tuple[Lookup, ...] = Described(min_length=2)

    @property
    def tables(self) -> frozenset[str]:
        """The names of all tables that its tools read and write."""
        return frozenset([*(thing.name for thing in self.things), *(lookup.name for lookup in self.lookups)])

    @model_validator(mode="after")
    def _fits(self) -> NaturalDomain:
        things = {thing.name: thing for thing in self.things}
        for thing in self.things:
            names = [field.name for field in thing.fields]
            if len(set(thing.statuses)) < len(thing.statuses):
                raise ValueError(f"thing {thing.name!r}: two statuses are equal")
            if len(set(names)) < len(names):
                raise ValueError(f"thing {thing.name!r}: two fields have the same name")
            if thing.owner is not None and thing.owner not in names:
                raise ValueError(f"thing {thing.name!r}: owner {thing.owner!r} is none of its fields")
            _fit_together(f"thing {thing.name!r}", thing.fields)
        for action in self.actions:
            if action.thing not in things:
                raise ValueError(f"action {action.verb!r}: there is no thing {action.thing!r}")
            names = [field.name for field in things[action.thing].fields]
            for name in (*action.changes, *action.needs, *action.may):
                if name not in names:
                    raise ValueError(f"action {action.verb!r}: {action.thing!r} has no field {name!r}")
            kinds = sum(map(bool, (action.sets, action.changes, action.needs)))
            if kinds != 1:
                raise ValueError(f"action {action.verb!r}: one of `sets`, `changes`, `needs` is wanted, and only one")
        for lookup in self.lookups:
            for field in lookup.may:
                if field.default is None:
                    raise ValueError(f"lookup {lookup.name!r}: {field.name!r} may be left out, so it needs a default")
            _fit_together(f"lookup {lookup.name!r}", lookup.fields)
        return self


def _fit_together(place: str, fields: tuple[Field, ...]) -> None:
    told = [field.model_dump(exclude_defaults=True) for field in fields]
    for odd in odd_relations(told):
        raise ValueError(f"{place}: field {fields[odd.number].name!r}: {odd.key}: {odd.text}")
