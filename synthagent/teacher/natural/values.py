"""Typed values: (a field, the form its schema wants, today, the currency) -> the JSON value and how the user says it.

`draw` gives a value, `others` give ones that are easily mixed up with it, `same` compares by meaning. What the words
of a day mean stands in `moments`, what each kind can do in `kinds`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date

from synthagent.frozen import Json
from synthagent.meaning import same
from synthagent.teacher.natural import amounts, kinds
from synthagent.teacher.natural.domain import Field
from synthagent.teacher.natural.sense import ANY, Room, pick_in


@dataclass(frozen=True, slots=True)
class Context:
    """What all values of one task share."""

    today: date
    currency: str
    """One of `amounts.CURRENCIES`."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """One value of a field."""

    canonical: Json
    """What the schema wants and a check compares."""
    surface: str
    """As the user says it, without a preposition."""


def draw(field: Field, form: str, context: Context, rng: random.Random, room: Room = ANY) -> Spoken:
    """Draw a value of the field, another than its default. Of a flag it is what the field's words say."""
    plain = pick_in(field, form, room, rng, context.today)
    if field.default is not None and field.kind != "flag":
        default = of_domain(field, field.default, form, context.currency)
        for _ in range(50):
            if not same(kinds.canonical(field, form, plain, context.currency), default):
                break
            plain = pick_in(field, form, room, rng, context.today)
    return Spoken(
        kinds.canonical(field, form, plain, context.currency),
        kinds.say(field, plain, context.today, context.currency, rng),
    )


def others(
    field: Field, form: str, context: Context, value: Spoken, rng: random.Random, count: int, room: Room = ANY
) -> list[Spoken]:
    """Return values that differ from this one and from each other, easily confused ones first.

    There are fewer than `count` where the field has no more, or no more with room: a flag has one other, an option what
    is left of its words.
    """
    plain = kinds.read(field, form, value.canonical)
    near = list(kinds.near(field, plain, context.today, rng))
    rng.shuffle(near)
    found: list[Spoken] = []
    known = [value.canonical]
    tries = 30 * count if kinds.is_open(field) else 0
    for number in range(len(near) + tries):
        if len(found) >= count:
            break
        other = near[number] if number < len(near) else pick_in(field, form, room, rng, context.today)
        if not room.has(other):
            continue
        written = kinds.canonical(field, form, other, context.currency)
        if not any(same(written, one) for one in known):
            known.append(written)
            found.append(Spoken(written, kinds.say(field, other, context.today, context.currency, rng)))
    return found


def of_domain(field: Field, value: Json, form: str, currency: str) -> Json:
    """Return a value as a domain file writes it (a default) in the form that the schema wants."""
    base = next(iter(kinds.forms(field)))
    if field.kind == "share" and amounts.share_scale(field) == 100:
        base = "percent"
    try:
        return kinds.canonical(field, form, kinds.read(field, base, value), currency)
    except (ValueError, TypeError, KeyError, AttributeError, StopIteration) as err:
        raise ValueError(f"field {field.name!r}: {value!r} is no {field.kind}; write it as {base}") from err
