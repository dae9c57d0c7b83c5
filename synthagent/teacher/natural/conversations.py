"""Requests that depend on something, and requests that come one after the other: wishes, a voice -> what is said.

`conditional`: "If its status is open, cancel my visit; otherwise leave it." `first_request`, `report`, `next_request`:
what the user says, what the agent tells, what the user says then.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Literal

from synthagent.teacher.natural.details import Detail, are, is_noun, value_of
from synthagent.teacher.natural.frames import Voice, frames
from synthagent.teacher.natural.language import filled, framed, says_each_once, wanted
from synthagent.teacher.natural.morphology import is_plural
from synthagent.teacher.natural.phrasing import SpokenWish, phrasing_of, pick, plain_phrasing

Side = Literal["eq", "ne", "le", "ge"]
_RELATIONS: dict[Side, tuple[str, ...]] = {
    "eq": ("{are} {value}", "{are} {value}", "{are} given as {value}"),
    "ne": ("{are} not {value}", "{are} anything but {value}", "{are} other than {value}"),
    "le": ("{are} at most {value}", "{are} not more than {value}", "{are} {value} or less"),
    "ge": ("{are} at least {value}", "{are} not less than {value}", "{are} {value} or more"),
}
_PARTICLES = frozenset(("away", "back", "down", "forward", "in", "off", "on", "out", "over", "up"))
_TRIES = 6


@dataclass(frozen=True, slots=True)
class Proviso:
    """What a wish depends on: a value of the thing, and how it compares with the one that is said."""

    detail: Detail
    op: Side


def conditional(
    wish: SpokenWish, clause: Proviso, instead: SpokenWish | None, voice: Voice, persona: str, rng: random.Random
) -> str:
    """A request for one of two things; without `instead` the other is to leave it as it is."""
    details = [*wish.details, clause.detail, *(instead.details if instead else ())]
    text = framed(lambda: [_either(wish, clause, instead, voice, rng)], details, voice, persona, rng)
    return text or _opened(_either(wish, clause, instead, "plain", random.Random(0)))


def first_request(wish: SpokenWish, voice: Voice, persona: str, rng: random.Random) -> str:
    """A request which says that another one follows."""

    def write() -> list[str]:
        return [*wanted([wish], voice, rng), pick(frames().groups["more"][voice], rng)]

    text = framed(write, wish.details, voice, persona, rng, closes=False)
    return text or f"{_plainly(wish)} Tell me the result here; I will then ask for something else."


def next_request(wish: SpokenWish, voice: Voice, rng: random.Random) -> str:
    """What the user says once the first request is met."""
    groups = frames().groups
    for _ in range(_TRIES):
        then = filled(pick(groups["then"][voice], rng), phrasing_of(wish, voice, rng, room=False), first=False)
        text = f"{_opened(pick(groups['heard'][voice], rng))} {_opened(then)}"
        if says_each_once(text, wish.details):
            return text
    return _plainly(wish)


def report(name: str, value: str, rng: random.Random) -> str:
    """What the agent tells between two requests."""
    said = name if is_noun(name) else "result"
    return _opened(pick(frames().groups["tell"]["plain"], rng).format(report=said, are=are(said), value=value))


def can_be_compared(detail: Detail) -> bool:
    """Whether `the NAME is VALUE` can be said of it."""
    return value_of(detail) is not None


def with_it(verb: str, it: str) -> str:
    """`cancel it`, `call it off`, `subscribe to it`."""
    first, _, last = verb.rpartition(" ")
    return f"{first} {it} {last}" if first and last in _PARTICLES else f"{verb} {it}"


def _either(wish: SpokenWish, clause: Proviso, instead: SpokenWish | None, voice: Voice, rng: random.Random) -> str:
    """One of the frames of `condition`, with a small first letter."""
    phrasing = phrasing_of(wish, voice, rng, room=False)
    it, its = ("them", "their") if is_plural(wish.noun) else ("it", "its")
    name = clause.detail.name
    thing = phrasing.object if phrasing.object.startswith(("my ", "the ")) else f"the {phrasing.object}"
    relation = pick(_RELATIONS[clause.op], rng).format(are=are(name), value=value_of(clause.detail))
    if instead:
        other = with_it(instead.verb, it) + phrasing_of(replace(instead, report=None), voice, rng, room=False).tail
    else:
        other = pick(frames().groups["leave"][voice], rng).format(it=it)
    text = pick(frames().groups["condition"][voice], rng).format(
        verb=wish.verb,
        object=thing,
        tail=phrasing.tail,
        it_done=with_it(wish.verb, it) + phrasing.tail,
        whose=f"the {name} of {thing} {relation}",
        its=f"{its} {name} {relation}",
        other=other,
    )
    return text.replace("..", ".")  # the last word of a value brings one: `6 p.m.`


def _plainly(wish: SpokenWish) -> str:
    return filled("Please {verb} {object}{tail}.", plain_phrasing(wish))


def _opened(text: str) -> str:
    return text[0].upper() + text[1:]
