"""What must hold between the values of one row or one call: (fields, values that are there) -> room for one more value.

A field says `after`, `below`, `unlike` of another one of its thing or lookup. Values are compared as drawn: a date, a
minute of the day, hundredths of a currency, a number. A field without such a word has all the room there is (`ANY`).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from synthagent.frozen import Json
from synthagent.teacher.natural import amounts, kinds
from synthagent.teacher.natural.domain import Field

_LAST_MINUTE = 23 * 60 + 45


class NoRoomError(ValueError):
    """No value of a field keeps what is declared beside the values that are there already."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a value may be, beside what its field says: plain values of the same kind, or none."""

    above: Any = None
    below: Any = None
    unlike: tuple[Any, ...] = ()

    def has(self, plain: Any) -> bool:
        """Whether this plain value may be there."""
        return (
            (self.above is None or plain > self.above)
            and (self.below is None or plain < self.below)
            and plain not in self.unlike
        )


ANY = Room()


def is_related(fields: Iterable[Field]) -> bool:
    """Whether any of these declares something of another."""
    return any(field.after or field.below or field.unlike for field in fields)


def room_of(field: Field, fields: Sequence[Field], plain: Mapping[str, Any]) -> Room:
    """The room of a field beside the plain values that are there, by names of fields."""
    above: list[Any] = []
    below: list[Any] = []
    unlike: list[Any] = []
    for kind, name in _relations(field, fields):
        if name in plain:
            {"above": above, "below": below, "unlike": unlike}[kind].append(plain[name])
    if not above and not below and not unlike:
        return ANY
    return Room(max(above, default=None), min(below, default=None), tuple(unlike))


def holds(fields: Sequence[Field], plain: Mapping[str, Any]) -> bool:
    """Whether plain values, by names of fields, keep all that the fields declare."""
    return all(room_of(field, fields, plain).has(plain[field.name]) for field in fields if field.name in plain)


def read_plain(values: Iterable[tuple[Field, str, Json]]) -> dict[str, Any]:
    """The plain values of (field, form, canonical value), by names of fields."""
    return {field.name: kinds.read(field, form, value) for field, form, value in values}


def in_order(fields: Sequence[Field]) -> list[int]:
    """The numbers of the fields, those first of which another declares something."""
    left, done = list(range(len(fields))), set[str]()
    names = {field.name for field in fields}
    found: list[int] = []
    while left:
        number = next(
            (n for n in left if not ({name for _, name in declared(fields[n])} & names - done)), left[0]
        )  # a cycle is refused with the domain
        left.remove(number)
        done.add(fields[number].name)
        found.append(number)
    return found


def declared(field: Field) -> Iterator[tuple[str, str]]:
    """What a field itself says: on which side of which other field it is."""
    if field.after:
        yield "above", field.after
    if field.below:
        yield "below", field.below
    if field.unlike:
        yield "unlike", field.unlike


def _relations(field: Field, fields: Sequence[Field]) -> Iterator[tuple[str, str]]:
    yield from declared(field)
    turned = {"above": "below", "below": "above", "unlike": "unlike"}
    for other in fields:
        yield from ((turned[kind], other.name) for kind, name in declared(other) if name == field.name)


def pick_in(field: Field, form: str, room: Room, rng: random.Random, today: date) -> Any:
    """Draw a plain value that has room; where there is none, any: `Room.has` tells."""
    if room.above is None and room.below is None:
        plain = kinds.pick(field, form, rng, today)
        for _ in range(50 if room.unlike else 0):
            if plain not in room.unlike:
                break
            plain = kinds.pick(field, form, rng, today)
        return plain
    match field.kind:
        case "date":
            return _day(room, rng, today)
        case "time":
            return _minute(room, rng)
        case _:
            return _number(field, form, room, rng, today)


def _day(room: Room, rng: random.Random, today: date) -> date:
    """Mostly some days away, as stays and waits are."""
    far = rng.choice((7, 14, 14, 30))
    first: date = max(today, room.above + timedelta(1)) if room.above else max(today, room.below - timedelta(far))
    last = room.below - timedelta(1) if room.below else first + timedelta(far - 1)
    if room.above is None:
        first = min(first, last)  # what was before today
    return first + timedelta(rng.randrange(max(1, (last - first).days + 1)))


def _minute(room: Room, rng: random.Random) -> int:
    """A quarter of an hour, at most some hours away."""
    first = (room.above // 15 + 1) * 15 if room.above is not None else max(6 * 60, (room.below - 1) // 15 * 15 - 240)
    last = (room.below - 1) // 15 * 15 if room.below is not None else min(first + 240, _LAST_MINUTE)
    if room.above is None:
        first = min(first, last)  # what was very early
    return int(first + 15 * rng.randrange(max(1, (last - first) // 15 + 1)))


def _number(field: Field, form: str, room: Room, rng: random.Random, today: date) -> Any:
    """A multiple of the step, inside the field's bounds as far as there is room."""
    scale = {"money": 0.01, "share": amounts.share_scale(field)}.get(field.kind, 1)
    step = amounts.step_of(field)
    assert field.low is not None
    assert field.high is not None
    low = field.low if room.above is None else max(field.low, (int(room.above * scale / step + 1e-9) + 1) * step)
    high = field.high if room.below is None else min(field.high, room.below * scale - step / 2)
    if high < low:
        return kinds.pick(field, form, rng, today)
    narrow = field.model_copy(update={"low": amounts.tidy(low), "high": amounts.tidy(high), "step": step})
    try:
        number = amounts.draw_number(narrow, rng)
    except ValueError:
        return kinds.pick(field, form, rng, today)
    match field.kind:
        case "money":
            return round(number * 100)
        case "share":
            return amounts.tidy(number / amounts.share_scale(field))
        case _:
            return number
