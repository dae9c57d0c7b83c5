"""What an agent is told before it starts: (a rule's kind, tool, value, reason) -> prose; where it works; the date.

The wordings are in `policy.yaml`. Names of tools and values are inserted verbatim.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources

import yaml

from synthagent.teacher.natural.morphology import a
from synthagent.teacher.rules import RuleKind

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_FIELD: Mapping[RuleKind, str] = {"check": "status", "status": "status", "limit": "amount"}


@dataclass(frozen=True, slots=True)
class Wordings:
    """All that `policy.yaml` holds."""

    rules: Mapping[RuleKind, tuple[str, ...]]
    reasons: tuple[str, ...]
    work: tuple[str, ...]
    today: tuple[str, ...]
    anywhere: tuple[str, ...]
    neutral: tuple[str, ...]


def prose(
    kind: RuleKind, tool: str, value: str, why: str, rng: random.Random, *, noun: str = "record", field: str = ""
) -> str:
    """A rule about a tool, with its reason where there is one.

    `value` decides: a status, an amount; kinds that turn on nothing ignore it. `noun` is what the tool changes,
    `field` what has the value: the status, or `amount` for a limit, if nothing else is said.
    """
    field = field or _FIELD.get(kind, "status")
    rule = rng.choice(wordings().rules[kind]).format(
        tool=tool, value=value, noun=noun, a_noun=a(noun), field=field, a_field=a(field)
    )
    if not why:
        return f"{_opened(rule)}."
    frame = rng.choice(wordings().reasons)
    return _opened(frame.format(rule=_opened(rule), rule_=rule, why=_opened(why), why_=why))


def opening(about: str, today: date, rng: random.Random) -> str:
    """Where the agent works, and what day it is: day, month and year cannot be mixed up."""
    work = rng.choice(wordings().work).format(about=about)
    now = rng.choice(wordings().today).format(
        weekday=_WEEKDAYS[today.weekday()],
        day=today.day,
        nth=f"{today.day}{_ending(today.day)}",
        month=_MONTHS[today.month - 1],
        year=today.year,
        iso=today.isoformat(),
    )
    return f"{work} {now}" if rng.random() < 0.7 else f"{now} {work}"


def neutral(count: int, rng: random.Random) -> tuple[str, ...]:
    """Rules that decide nothing, all different."""
    return tuple(rng.sample(wordings().neutral, count))


@cache
def wordings() -> Wordings:
    """Read the file that ships with the package, once."""
    read = yaml.safe_load((resources.files("synthagent.teacher.natural") / "policy.yaml").read_text(encoding="utf-8"))
    return Wordings(
        rules={kind: tuple(rules) for kind, rules in read["rules"].items()},
        reasons=tuple(read["reasons"]),
        work=tuple(read["work"]),
        today=tuple(read["today"]),
        anywhere=tuple(read["anywhere"]),
        neutral=tuple(read["neutral"]),
    )


def _ending(day: int) -> str:
    return "th" if 10 < day < 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


def _opened(text: str) -> str:
    return text[0].upper() + text[1:]
