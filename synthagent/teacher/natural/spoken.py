"""Where the values of a natural task stand in its request: (task, its domain) -> surfaces; and whether words keep them.

A task holds what tools want, not what its user says for it. So each value is said anew, in many ways, until one of them
is found in the request. A value of which none is found cannot be watched, and such a task is not reworded.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from synthagent.frozen import Json
from synthagent.records import Task
from synthagent.teacher.natural import kinds
from synthagent.teacher.natural.amounts import CURRENCIES
from synthagent.teacher.natural.domain import Field, NaturalDomain
from synthagent.teacher.natural.toolset import column
from synthagent.text import words_of
from synthagent.worlds import Call

_SAYINGS = 120  # how often a value is said anew, in each form that it may have
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NO_DAY = date(2026, 1, 1)  # where the prompt says none, no value has to do with days


@dataclass(frozen=True, slots=True)
class Surface:
    """A value as the request says it, and as the tools want it."""

    words: str
    canonical: Json


def surfaces_of(task: Task, domain: NaturalDomain) -> list[Surface] | None:
    """What the request says for each argument that it gives; None where it is not found for all of them."""
    today = today_of(task.world.opening) or _NO_DAY
    found: list[Surface] = []
    for step in task.reference:
        if not isinstance(step, Call):
            continue
        for key, value in step.given.items():
            field = _field(task, domain, step.tool, key)
            said = _found(field, value, today, task.instruction) if field else None
            if said is None:
                return None
            found.append(Surface(said, value))
    return found


def survive(surfaces: Sequence[Surface], before: str, after: str, in_order: bool) -> bool:
    """Whether all values are still said: as often, or as the tools want them; `in_order`: one after the other."""
    for surface in surfaces:
        lost = _count(before, surface.words) - _count(after, surface.words)
        won = [_count(after, part) - _count(before, part) for part in _parts(surface.canonical)]
        if lost and not (won and min(won) >= lost > 0):
            return False
    if not in_order:
        return True
    said = dict.fromkeys(surface.words for surface in surfaces)
    places = [[_place(text, words) for words in said] for text in (before, after)]
    orders = [sorted(range(len(said)), key=some.__getitem__) for some in places]
    return orders[0] == orders[1]


def numbers_in(text: str) -> set[str]:
    """The words of a text that have a digit."""
    return {word for word in words_of(text) if any(character.isdigit() for character in word)}


def today_of(opening: str) -> date | None:
    """What day it is, as an opening says it: `2026-03-13`, `March 13, 2026`, `the 13th of March 2026`."""
    if iso := re.search(r"\b(\d{4})-(\d\d)-(\d\d)\b", opening):
        return date(*map(int, iso.groups()))
    name = "|".join(_MONTHS)
    if said := re.search(rf"\b(\d+)(?:st|nd|rd|th)?(?: of)? ({name})\w*,? (\d{{4}})", opening, re.IGNORECASE):
        day, month, year = said.groups()
    elif said := re.search(rf"\b({name})\w* (\d+)(?:st|nd|rd|th)?,? (\d{{4}})", opening, re.IGNORECASE):
        month, day, year = said.groups()
    else:
        return None
    return date(int(year), _MONTHS.index(month.lower()) + 1, int(day))


def _field(task: Task, domain: NaturalDomain, tool: str, key: str) -> Field | None:
    """The field of a domain that an argument of a tool stands for."""
    for effect in task.world.effects[tool]:
        columns = {argument: name for name, argument in effect.where.items()}
        columns |= {source["arg"]: name for name, source in effect.write.items() if "arg" in source}
        if key in columns:
            fields = [field for thing in domain.things if thing.name == effect.table for field in thing.fields]
            fields += [f for one in domain.lookups if one.name == effect.table for f in (*one.needs, *one.may)]
            return next((field for field in fields if column(field) == columns[key]), None)
    return None


def _found(field: Field, value: Json, today: date, text: str) -> str | None:
    """The longest wording of a value that stands in a text, to the letter if there is one."""
    wordings = field.say if field.kind == "flag" else set(_sayings(field, value, today))
    there = [words for words in wordings if words_of(words) and _count(text, words)]
    return max(there, key=lambda words: (words in text, len(words), words), default=None)


def _sayings(field: Field, value: Json, today: date) -> Iterator[str]:
    rng = random.Random(0)
    for form in kinds.forms(field):
        for currency in CURRENCIES if field.kind == "money" else ("EUR",):
            try:
                plain = kinds.read(field, form, value)
                if kinds.canonical(field, form, plain, currency) != value:
                    continue
                said = [kinds.say(field, plain, today, currency, rng) for _ in range(_SAYINGS)]
            except (ValueError, TypeError, KeyError, AttributeError, StopIteration, IndexError):
                continue  # not of this form, or a day before this one, which nobody says
            yield from said


def _parts(canonical: Json) -> list[str]:
    """What has to be in a text that says a value as tools want it; nothing is said of a flag so."""
    match canonical:
        case bool():
            return ["\0"]
        case dict():
            return [part for inner in canonical.values() for part in _parts(inner)]
        case list():
            return [part for inner in canonical for part in _parts(inner)]
        case _:
            return [str(canonical)]


def _count(text: str, phrase: str) -> int:
    """How often the words of a phrase stand in a text in a row."""
    words, wanted = words_of(text), words_of(phrase)
    return sum(words[n : n + len(wanted)] == wanted for n in range(len(words))) if wanted else 0


def _place(text: str, phrase: str) -> int:
    return f" {' '.join(words_of(text))} ".find(f" {' '.join(words_of(phrase))} ")
