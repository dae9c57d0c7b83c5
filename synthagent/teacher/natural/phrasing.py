"""A wish as the parts of a sentence: (wish, voice) -> the thing with its article, and the details around it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from synthagent.teacher.natural.details import (
    Detail,
    are,
    beside,
    can_be,
    can_open,
    listed,
    ordered,
    pairs,
    phrase,
    value_of,
)
from synthagent.teacher.natural.frames import Voice, frames
from synthagent.teacher.natural.morphology import PREPOSITIONS, a, is_plural

WishKind = Literal["change", "make", "look"]
T = TypeVar("T")
_FREE = ("free ", "available ", "vacant ", "open ")
_REPLACED = ("on", "at", "for", "in", "until", "by", "to", "lasting", "of", "from")  # `to` says where a change leads


@dataclass(frozen=True, slots=True)
class SpokenWish:
    """Something that the user wants done or told."""

    verb: str
    noun: str
    owner: bool
    """`my booking` rather than `a booking`."""
    details: tuple[Detail, ...] = ()
    report: str | None = None
    """What the user wants to be told at the end: `price`."""
    past: str = ""
    """`cancelled`; without it nothing is said in the passive."""
    kind: WishKind | None = None
    """None: `change` of what is the user's own, otherwise `make`. A lookup is to be called `look`."""

    @property
    def does(self) -> WishKind:
        return self.kind or ("change" if self.owner else "make")


@dataclass(frozen=True, slots=True)
class Phrasing:
    """A wish, ready for a frame."""

    wish: SpokenWish
    object: str
    """`my appointment for Ana`."""
    tail: str
    """` on Friday at noon`, or nothing."""
    front: str = ""
    """`on Friday at noon`: what stands before the sentence."""
    after: str = ""
    """A sentence that says the rest."""

    @property
    def behind(self) -> str:
        """The details, with those behind the noun that would stand before the sentence."""
        if not self.front:
            return self.tail
        lost = self.tail.rpartition(" ")[2] in PREPOSITIONS  # 'from nine on, on Friday'
        return f"{self.tail}{', ' if lost else ' '}{self.front}"


def pick(among: Sequence[T], rng: random.Random) -> T:
    """One of them; faster than `rng.choice`."""
    return among[int(rng.random() * len(among))]


def phrasing_of(wish: SpokenWish, voice: Voice, rng: random.Random, room: bool) -> Phrasing:
    """Decide where the details go. `room`: a further sentence may say some of them."""
    noun = _noun(wish, voice, rng)
    if wish.does == "change":
        return _change(wish, noun, voice, rng, room)
    details = wish.details
    way = rng.random()
    if room and details and (way < 0.33 or len(details) > 4):
        return _in_two(wish, noun, voice, rng)
    phrases = ordered(details, rng)
    if way > 0.9 and phrases:
        flags = {each.say for each in details if "{}" not in each.say}
        front = [words for words in phrases if can_open(words) and words not in flags][:2]
        if front:
            return Phrasing(wish, noun, beside([words for words in phrases if words not in front]), beside(front)[1:])
    return Phrasing(wish, noun, beside(phrases))


def plain_phrasing(wish: SpokenWish) -> Phrasing:
    """The wish with all details behind it, in the order that they came in."""
    known = [phrase(each) for each in wish.details if not each.new]
    new = [phrase(each) for each in wish.details if each.new]
    tail = beside(known) + (f", making it one{beside(new)}" if new else "")
    return Phrasing(wish, _article(wish, wish.noun), tail)


def _noun(wish: SpokenWish, voice: Voice, rng: random.Random) -> str:
    """The thing with its article; terse voices often, learners sometimes leave it out."""
    bare = 0.6 if voice == "terse" else 0.25 if voice == "learner" else 0.0
    return wish.noun if bare and rng.random() < bare else _article(wish, wish.noun)


def _article(wish: SpokenWish, noun: str) -> str:
    if wish.owner:
        return f"my {noun}"
    if wish.does == "change" or (wish.does == "look" and not is_sought(wish)):
        return f"the {noun}"
    return noun if is_plural(noun) else a(noun)


def is_sought(wish: SpokenWish) -> bool:
    """Whether a lookup looks for something, `a free table`, rather than asks what something is."""
    return wish.verb in frames().words["seekers"] and (not is_measure(wish) or wish.noun.startswith(_FREE))


def is_measure(wish: SpokenWish) -> bool:
    """Whether `what is the ..?` asks for it: a fee, a time."""
    return not frames().words["measures"].isdisjoint(wish.noun.split())


def _in_two(wish: SpokenWish, noun: str, voice: Voice, rng: random.Random) -> Phrasing:
    """Some details, or none, stay behind the noun; a sentence of its own says the others."""
    named = [each for each in wish.details if value_of(each) is not None]
    if named and rng.random() < 0.5:
        moved, group = _some(named, rng), "name"
    else:
        moved = _some(wish.details, rng)
        group = "which" if wish.does == "look" and not is_sought(wish) else "mean"
        if group == "mean" and all(can_be(phrase(each)) for each in moved) and rng.random() < 0.6:
            group = "be"
    stay = [each for each in wish.details if each not in moved]
    return Phrasing(wish, noun, beside(ordered(stay, rng)), after=_sentence(group, moved, voice, rng))


def _some(details: Sequence[Detail], rng: random.Random) -> list[Detail]:
    """At least one of them, mostly more."""
    return rng.sample(details, max(int(rng.random() * len(details)) + 1, len(details) // 2))


def _sentence(group: str, details: Sequence[Detail], voice: Voice, rng: random.Random) -> str:
    frame = pick(frames().groups[group][voice], rng)
    if group != "name":
        return frame.format(tail=beside(ordered(details, rng)))
    return frame.format(list=listed(details, rng)) if "{list}" in frame else frame.format(pairs=pairs(details, rng))


def _change(wish: SpokenWish, noun: str, voice: Voice, rng: random.Random, room: bool) -> Phrasing:
    """What the thing is known by stays with it; what it shall have stands behind, or in a sentence of its own."""
    new = [each for each in wish.details if each.new]
    known = [each for each in wish.details if not each.new]
    if known and not new and room and rng.random() < 0.25:
        return Phrasing(wish, noun, "", after=_sentence("which", known, voice, rng))
    if known and noun.startswith("my ") and rng.random() < 0.6:
        noun = f"the {wish.noun}"  # what is somebody's by name is not called 'my' as well
    noun += beside(ordered(known, rng))
    if room and new and rng.random() < 0.35:
        if all(value_of(each) is not None for each in new):
            return Phrasing(wish, noun, "", after=_sentence("name", new, voice, rng))
        if all(can_be(phrase(each)) for each in new):
            return Phrasing(wish, noun, "", after=_sentence("be", new, voice, rng))
    return Phrasing(wish, noun, _to(wish, new, rng) if new else "")


def _to(wish: SpokenWish, new: Sequence[Detail], rng: random.Random) -> str:
    """` to Friday at noon`, ` so that it is on Friday`, `, making it one lasting an hour`."""
    ways = []
    phrases = [phrase(each) for each in new]
    before, slot, after = new[0].say.partition("{}")
    word = before.rstrip()
    changed = wish.verb in frames().words["to_verbs"]
    if changed and slot and word in _REPLACED and not new[0].surface.startswith("in "):
        ways += [" to" + beside([f"{new[0].surface}{after}", *phrases[1:]])] * 4
    elif changed and not phrases[0].startswith(("to ", "into ", "until ")):
        ways.append(f" to one{beside(phrases)}")
    if all(map(can_be, phrases)):
        ways.append(f" so that it is{beside(phrases)}")
    if all(value_of(each) is not None for each in new):
        said = " and ".join(f"{value_of(each)} as the new {each.name}" for each in new)
        become = " and ".join(f"the new {each.name} {are(each.name)} {value_of(each)}" for each in new)
        ways += [f" ({listed(new, rng)})", f" so that {become}", f" so that {become}"]
        ways += [] if any(each.surface.startswith("in ") for each in new) else [f" with {said}"]
    if phrases[0].startswith(("to ", "into ", "until ")):
        ways.append(beside(phrases))
    return pick(ways, rng) if ways else f", making it one{beside(phrases)}"
