"""One field of every kind of the natural teacher, and more of those with many forms."""

from __future__ import annotations

from typing import Any

from synthagent.teacher.natural.domain import Field, FieldKind

COLOURS = ("dark red", "sea green", "ivory", "navy")
PARTS = ("a saddle", "two pedals", "mudguards", "a bell", "a rack", "lights")


def field(kind: FieldKind, name: str = "", **more: Any) -> Field:
    """Make a field of this kind."""
    say = ("with a bell",) if kind == "flag" else ("with {} there",)
    return Field(name=name or f"{kind} wanted", kind=kind, about=f"the {kind} of the hire", **{"say": say} | more)


def fields() -> list[Field]:
    """Return fields of all kinds."""
    return [
        field("whole", low=1, high=90),
        field("whole", "price level", low=100, high=9000, step=50, say=("over {}",)),
        field("number", low=0.5, high=30, step=0.25),
        field("number", "load", low=2, high=400, unit="kilograms", say=("carrying {}",)),
        field("share", low=0.05, high=0.6),
        field("share", "discount", low=2, high=40, step=0.5),
        field("money", low=5, high=2500, step=5),
        field("money", "tip", low=0.2, high=9, step=0.05),
        field("flag"),
        field("flag", "insured", default=True),
        field("option", of=COLOURS),
        field("option", "shade", of=("a b", "a-b", "c")),
        field("date"),
        field("time"),
        field("duration", "length", low=15, high=300, step=15, unit="minutes"),
        field("duration", "rest", low=5, high=55, step=5, unit="minutes"),
        field("duration", "hire time", low=0.5, high=9, step=0.5, unit="hours"),
        field("duration", "stay", low=1, high=30, unit="days"),
        field("duration", "course", low=1, high=12, unit="weeks"),
        field("duration", "contract", low=3, high=36, step=3, unit="months"),
        field("person"),
        field("place"),
        field("address"),
        field("email"),
        field("phone"),
        field("code"),
        field("text", of=("mind the paint", "ring twice", "leave it at the gate")),
        field("text", "nickname", of=("The {Adjective} {Noun}", "{First} {of|from} {Town}")),
        field("list", of=PARTS),
        field("list", "pair", of=("helmet", "lock")),
        field("numbers", low=5, high=60),
        field("numbers", "gears", low=0.5, high=4, step=0.1, say=("over {} metres",)),
    ]
