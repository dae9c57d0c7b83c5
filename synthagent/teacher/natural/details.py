"""Details of a wish as words: (how a field is said, a surface) -> `for an implant`, `the day is tomorrow`."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from synthagent.teacher.natural.frames import frames
from synthagent.teacher.natural.morphology import PREPOSITIONS, article, is_plural, singular

# A day that brings its own preposition, or needs none.
_OWN = re.compile(r"(today|tonight|tomorrow|the day after|next|this|in)\b|.* from (now|today|tomorrow|\w+day)$")
_COMPARED = re.compile(r"\b(above|after|before|below|beyond|least|less|more|most|since|than|until|within)\b")
_DETERMINED = re.compile(r"(the|a|an|this|that|these|those|some|any|my|our|your)\s", re.I)
# fmt: off
_BE = frozenset(
    (
        "on", "at", "in", "for", "with", "without", "under", "by", "near", "due", "worth", "valid", "ready",
        "next", "this", "today", "tomorrow", "tonight",
    )
)
_FRONT = frozenset(
    (
        "on", "at", "in", "for", "after", "before", "between", "from", "until",
    )
)
# fmt: on


@dataclass(frozen=True, slots=True)
class Detail:
    """A value in the words of its field."""

    say: str
    """With one {}: `on {}`; of a flag the words themselves."""
    surface: str
    """The value as the user says it; of a flag anything, it is not said."""
    name: str = ""
    """The field's name: `start time`. Without it no sentence says `the start time is ..`."""
    new: bool = False
    """Of a change: a value that the thing shall have, rather than one that it is known by."""


def phrase(detail: Detail) -> str:
    """The detail as it follows a noun: `for an implant`, `on Friday`, `tomorrow`."""
    before, slot, after = detail.say.partition("{}")
    surface = detail.surface
    if not slot:
        return detail.say
    lead, space, last = before.rstrip().rpartition(" ")
    if last in ("a", "an"):
        kept = "" if _DETERMINED.match(surface) else article(surface.split(" ", 1)[0]) + " "
        return f"{lead}{space}{kept}{surface}{after}"
    if last == "the" and _DETERMINED.match(surface):
        return f"{lead}{space}{surface}{after}"
    if last in PREPOSITIONS and (own := _OWN.match(surface)):
        if last == "on" or (own[0] == "in" and last in ("for", "at")):
            return f"{lead}{space}{surface}{after}"
        if last == "from" and " from " in surface:
            return f"{lead}{space}starting {surface}{after}"
        if own[0] == "in":
            return f"{before}the day {surface}{after}"
    if surface in ("one", "1") and after:
        first, gap, rest = after.strip().partition(" ")
        return f"{before}{surface} {singular(first)}{gap}{rest}"
    return f"{before}{surface}{after}"


def is_noun(name: str) -> bool:
    """Whether a field's name can be a subject: `start time`, but not `held on`, `from` or `expires`."""
    words = name.split()
    return bool(words) and PREPOSITIONS.union(frames().words["no_nouns"]).isdisjoint((words[0], words[-1]))


def value_of(detail: Detail) -> str | None:
    """The value as the name's equal, with its unit: `45 minutes`; None where `the NAME is ..` cannot be said."""
    before, slot, after = detail.say.partition("{}")
    if not slot or not is_noun(detail.name) or _COMPARED.search(before):
        return None
    after = after.strip()
    if not after or set(after.split()) <= set(detail.name.split()):
        return detail.surface
    return None if after.split()[0] in PREPOSITIONS or not after[0].isalpha() else f"{detail.surface} {after}"


def can_be(words: str) -> bool:
    """Whether `it is ..` goes on with these words: `on Friday`, but not `lasting an hour`."""
    return words.partition(" ")[0] in _BE


def can_open(words: str) -> bool:
    """Whether a sentence can begin with these words, before its subject."""
    return words.partition(" ")[0] in _FRONT


def beside(phrases: Sequence[str]) -> str:
    """Phrases one after the other, each after a space; a comma where two would run into each other."""
    written = ""
    previous = ""
    for each in phrases:
        first, last = previous.partition(" ")[0], previous.rpartition(" ")[2]
        lost = "," in previous or each.partition(" ")[0] == first or last in PREPOSITIONS
        written += f", {each}" if lost else f" {each}"
        previous = each
    return written


def ordered(details: Sequence[Detail], rng: random.Random) -> list[str]:
    """The phrases in an order that reads well: what a thing is of, where and when, what goes with it."""
    ranks = []
    for detail in details:
        words = phrase(detail)
        first = words.partition(" ")[0]
        rank = 0 if first == "of" else 2 if first in ("with", "including") or first.endswith("ing") else 1
        ranks.append((rank + ("," in detail.surface), rng.random(), words))
    return [words for _, _, words in sorted(ranks)]


def pairs(details: Sequence[Detail], rng: random.Random) -> str:
    """`the day is tomorrow, the new length is an hour and the guest is Ana`, for details that have a value."""
    verb = "should be" if details[0].new and rng.random() < 0.4 else ""
    said = [f"the {_label(each)} {verb or are(each.name)} {value_of(each)}" for each in shuffled(details, rng)]
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"


def listed(details: Sequence[Detail], rng: random.Random) -> str:
    """`day: tomorrow; length: an hour`, in one of several ways."""
    joint, colon = ((", ", " "), ("; ", ": "), (", ", ": "))[int(rng.random() * 3)]
    if any("," in each.surface for each in details):
        joint, colon = "; ", ": "
    return joint.join(f"{_label(each)}{colon}{value_of(each)}" for each in shuffled(details, rng))


def _label(detail: Detail) -> str:
    return f"new {detail.name}" if detail.new else detail.name


def are(name: str) -> str:
    """`are` or `is`, as the name wants it."""
    return "are" if is_plural(name) else "is"


def shuffled(details: Sequence[Detail], rng: random.Random) -> list[Detail]:
    """The details in any order."""
    order = list(details)
    rng.shuffle(order)
    return order
