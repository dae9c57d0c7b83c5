"""Values beside each other: no row, call or answer of a domain breaks what its file says between fields."""

from __future__ import annotations

import operator
import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from synthagent.teacher.natural import kinds, sense
from synthagent.teacher.natural.chains import changeable
from synthagent.teacher.natural.compose import PATTERNS, write
from synthagent.teacher.natural.domain import Field, NaturalDomain, Thing
from synthagent.teacher.natural.library import load_domains
from synthagent.teacher.natural.rows import RowWriter, SaidValue
from synthagent.teacher.natural.schemas import Naming, TypedParameter, write_field
from synthagent.teacher.natural.toolset import ToolsetWriter, column
from synthagent.teacher.natural.values import Context, Spoken, others
from synthagent.teacher.natural.writing import TaskWriter
from synthagent.worlds import Call

TODAY = date(2026, 3, 10)
CONTEXT = Context(TODAY, "EUR")


def broken(fields: Sequence[Field], plain: Mapping[str, Any]) -> list[str]:
    """What these plain values break."""
    keeps = {"after": operator.gt, "below": operator.lt, "unlike": operator.ne}
    return [
        f"{field.name} {plain[field.name]} is to be {word} {other} {plain[other]}"
        for field in fields
        for word, other in (("after", field.after), ("below", field.below), ("unlike", field.unlike))
        if field.name in plain and other in plain and not keeps[word](plain[field.name], plain[other])
    ]


def composed(domain: NaturalDomain, seeds: int) -> Iterator[TaskWriter]:
    """Tasks of every pattern, but of `cannot`: the tool that it speaks of is gone."""
    for pattern in PATTERNS:
        if pattern == "cannot" or (pattern in ("chain", "rule") and not changeable(domain)):
            continue
        for seed in range(seeds):
            composer = TaskWriter(domain, "a baker", seed % 2 == 0, random.Random(f"{domain.name}{pattern}{seed}"))
            write(composer, pattern)
            yield composer


def read(written: Sequence[TypedParameter], by_column: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values of a row or a call, of those fields that it has."""
    there = [each for each in written if by_column.get(column(each.field)) is not None]
    return {each.field.name: kinds.read(each.field, each.form, by_column[column(each.field)]) for each in there}


def rows_break(composer: TaskWriter) -> Iterator[str]:
    lookups = {lookup.name: lookup for lookup in composer.domain.lookups}
    for name, rows in composer.rows.rows.items():
        if name in lookups:
            spec = next(s for s in composer.parts.used if s.effects[0].table == name)
            fields, written = lookups[name].fields, (*spec.takes, *spec.gives)
        else:
            thing = composer.writer.thing(name)
            fields, written = thing.fields, [composer.writer._column(thing, field) for field in thing.fields]
        for row in rows:
            yield from broken(fields, read(written, row))


def calls_break(composer: TaskWriter) -> Iterator[str]:
    specs = {spec.name: spec for spec in composer.parts.used}
    for call in composer.parts.steps:
        if isinstance(call, Call) and call.tool in specs:
            takes = specs[call.tool].takes
            hidden = {each.key: composer.parts.canonical[column(each.field)] for each in takes if each.key in call.args
                      and column(each.field) in composer.parts.canonical}  # fmt: skip
            passed = {each.key: each.schema.get("default") for each in takes} | call.given | hidden
            values = {column(each.field): passed.get(each.key) for each in takes}
            yield from broken([each.field for each in takes], read(takes, values))


@pytest.mark.parametrize("domain", load_domains(), ids=lambda domain: domain.name)
def test_no_row_call_or_answer_breaks_what_the_domain_says_between_its_fields(domain: NaturalDomain) -> None:
    for composer in composed(domain, 12):
        assert list(rows_break(composer)) == []
        assert list(calls_break(composer)) == []


def test_most_domains_say_something_between_their_fields() -> None:
    groups = [[*(t.fields for t in d.things), *(lookup.fields for lookup in d.lookups)] for d in load_domains()]
    assert sum(any(map(sense.is_related, fields)) for fields in groups) >= 25


def day(name: str, **more: Any) -> Field:
    return Field(name=name, kind="date", about=name, say=("on {}",), **more)


def amount(name: str, low: float, high: float, **more: Any) -> Field:
    return Field(name=name, kind="money", about=name, say=("for {}",), low=low, high=high, step=10, **more)


WHO = Field(name="who", kind="person", about="who", say=("for {}",))
STAY = Thing(
    name="stay",
    owner="who",
    statuses=("one", "two", "three"),
    fields=(
        WHO,
        day("leaves", after="arrives"),
        day("arrives"),
        amount("deposit", 20, 900, below="total"),
        amount("total", 30, 400),
        Field(name="host", kind="person", about="host", say=("with {}",), unlike="who"),
    ),
)


def writer(seed: int) -> RowWriter:
    rng = random.Random(seed)
    domain = load_domains()[0]
    return RowWriter(ToolsetWriter(domain, Naming("snake", False), "EUR", rng), CONTEXT, rng)


def written(*fields: Field) -> list[TypedParameter]:
    rng = random.Random(0)
    return [write_field(field, Naming("snake", False), True, rng) for field in fields]


def plain(values: Sequence[SaidValue]) -> dict[str, Any]:
    return sense.read_plain((each.written.field, each.written.form, each.value.canonical) for each in values)


def test_values_are_drawn_in_an_order_that_leaves_room_whatever_the_order_of_the_fields() -> None:
    takes = written(*STAY.fields)
    for seed in range(300):
        assert broken(STAY.fields, plain(writer(seed).said(takes, takes))) == []


def test_a_stay_lasts_some_days_and_a_day_before_another_is_not_in_the_past() -> None:
    rng = random.Random(0)
    leave, arrive = STAY.fields[1:3]
    after = [sense.pick_in(leave, "iso", sense.Room(above=TODAY), rng, TODAY) for _ in range(200)]
    before = [sense.pick_in(arrive, "iso", sense.Room(below=date(2026, 3, 13)), rng, TODAY) for _ in range(200)]
    assert set(range(1, 15)) <= {(one - TODAY).days for one in after} <= set(range(1, 31))
    assert {(one - TODAY).days for one in before} == {0, 1, 2}


def test_what_a_field_may_be_beside_a_default_that_is_not_said() -> None:
    most = amount("most", 50, 90, default=70)
    least = amount("least", 10, 90, below="most")
    takes = [*written(least), write_field(most, Naming("snake", False), False, random.Random(0), currency="EUR")]
    for seed in range(100):
        assert plain(writer(seed).said(takes[:1], takes))["least"] < 7000


def test_near_values_keep_the_sense_or_are_left_out() -> None:
    field, rng = amount("deposit", 20, 900, below="total"), random.Random(0)
    near = others(field, "amount", CONTEXT, Spoken(60, "60 euros"), rng, 9, sense.Room(below=7000))
    assert {one.canonical for one in near} == {20, 30, 40, 50}


def test_a_changed_value_fits_what_stays() -> None:
    for seed in range(100):
        rows = writer(seed)
        arrive, host = (rows.writer._column(STAY, STAY.fields[number]) for number in (2, 5))
        found = rows.things(STAY, WHO, [arrive, host])
        columns = [rows.writer._column(STAY, field) for field in STAY.fields]
        row = rows.rows["stay"][0] | {column(each.written.field): each.value.canonical for each in found.changed}
        assert broken(STAY.fields, read(columns, row)) == []
        assert all(found.mine[each.written.field.name] != each.value for each in found.changed)


def test_where_nothing_has_room_the_fields_and_a_remedy_are_named() -> None:
    one = Field(name="one", kind="option", about="one", say=("{}",), of=("a", "b")).model_copy(update={"of": ("a",)})
    two = one.model_copy(update={"name": "two", "unlike": "one"})
    takes = [TypedParameter(field, field.name, {}, "plain", True) for field in (one, two)]
    with pytest.raises(ValueError, match=r"one, two: no values keep .*; widen"):
        writer(0).said(takes, takes)


def test_a_domain_record_is_refused_with_the_place() -> None:
    raw = load_domains()[0].model_dump(mode="json")
    raw["things"][0]["fields"][0]["unlike"] = "nobody"
    with pytest.raises(ValidationError, match="thing 'flight booking': field 'passenger': unlike: there is no field"):
        NaturalDomain.model_validate(raw)
