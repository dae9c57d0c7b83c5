"""What fields may declare of each other: (the fields of a thing or lookup, as mappings) -> what is wrong, with remedy.

`after`: later than another date or time; `below`: less than another number; `unlike`: not equal to another value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

RELATIONS = ("after", "below", "unlike")
_KINDS = {"after": ("date", "time"), "below": ("whole", "number", "share", "money", "duration")}


@dataclass(frozen=True, slots=True)
class Odd:
    """A declaration that cannot be: the number of its field among the given ones, its key, rule and remedy."""

    number: int
    key: str
    text: str


def odd_relations(fields: Sequence[Mapping[str, Any]]) -> Iterator[Odd]:
    """Every declaration that names nothing, compares what cannot be compared, or leaves no room."""
    named = {field["name"]: field for field in fields if isinstance(field.get("name"), str)}
    sound = True
    for number, field in enumerate(fields):
        for key in RELATIONS:
            other = field.get(key)
            if not isinstance(other, str):
                continue
            text = _fault(key, field, named.get(other), other, list(named))
            if text:
                sound = False
                yield Odd(number, key, text)
    if sound:
        yield from _cycles(fields)


def _fault(key: str, field: Mapping[str, Any], other: Mapping[str, Any] | None, name: str, names: list[str]) -> str:
    if other is None:
        return f"there is no field {name} here; name one of {', '.join(names)}"
    if other is field or name == field.get("name"):
        return "a field cannot be compared with itself; name another one"
    kind, second = field.get("kind"), other.get("kind")
    numbers = {kind, second} <= {"whole", "number"}
    if kind != second and not numbers:
        return f"{name} is of another kind, {second}, and this is {kind}; compare fields of one kind"
    if key in _KINDS and kind not in _KINDS[key]:
        return f"kind {kind} has no order here; use `{key}` of {', '.join(_KINDS[key])}, or `unlike`"
    if key == "below" and kind == "duration" and field.get("unit") != other.get("unit"):
        return f"its unit is another one than that of {name}; write both in the same unit"
    if key == "below" and not _is_room(field, other):
        return f"some value of it or of {name} would have no room; let `low` and `high` lie below those there"
    return ""


def _is_room(field: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether each value of one has one of the other beside it, whichever is drawn first."""
    bounds = [(field.get(key), other.get(key)) for key in ("low", "high")]
    return all(mine < its for mine, its in bounds if isinstance(mine, (int, float)) and isinstance(its, (int, float)))


def _cycles(fields: Sequence[Mapping[str, Any]]) -> Iterator[Odd]:
    """A field that is above itself, through others."""
    higher: dict[str, list[str]] = {}
    for field in fields:
        if isinstance(field.get("after"), str):
            higher.setdefault(field["after"], []).append(str(field.get("name")))
        if isinstance(field.get("below"), str):
            higher.setdefault(str(field.get("name")), []).append(field["below"])
    for number, field in enumerate(fields):
        key = next((key for key in ("after", "below") if isinstance(field.get(key), str)), None)
        start = str(field.get("name"))
        if key and _reached(start, higher):
            yield Odd(number, key, f"{start} would have to be above itself, through other fields; remove one of them")
            return


def _reached(start: str, higher: Mapping[str, list[str]]) -> bool:
    seen: set[str] = set()
    left = list(higher.get(start, ()))
    while left:
        name = left.pop()
        if name == start:
            return True
        if name not in seen:
            seen.add(name)
            left += higher.get(name, ())
    return False
