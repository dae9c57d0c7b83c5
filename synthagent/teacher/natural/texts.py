"""Texts that are put together, so that a name occurs once: a pattern with slots -> what is written there.

`The {Adjective} {Noun}` takes words of a pool, `{spinach|leek} {pie|soup}` one of the words that stand there. Nouns and
adjectives are `faker`'s for English, names and towns those of `identities`. Pure.
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Iterator

from synthagent.teacher.natural.identities import draw_place, draw_tongue

_SLOT = re.compile(r"\{([^{}]*)\}")
_POOLS = ("noun", "Noun", "adjective", "Adjective", "First", "Last", "Town", "number")
# Words that read badly in a name, or that are no nouns or adjectives there.
_LEFT_OUT = {
    *("able", "aware", "boyfriend", "death", "every", "girlfriend", "pregnant", "scared", "several", "sex", "suicide"),
    *("thanks", "toilet", "used", "various", "willing"),
}


def is_composed(pattern: str) -> bool:
    """Whether a value of a domain file has slots."""
    return _SLOT.search(pattern) is not None


def odd_slots(pattern: str) -> Iterator[str]:
    """What is wrong with the slots of a pattern, in words that name the remedy."""
    for slot in _SLOT.findall(pattern):
        words = slot.split("|")
        if len(words) == 1 and slot not in _POOLS:
            yield f"there is no slot {{{slot}}}; write one of {', '.join(_POOLS)}, or words with | between them"
        elif len(words) > 1 and (len(set(words)) < len(words) or not all(words)):
            yield f"the words of {{{slot}}} are to be different, and none empty; remove what is there twice"
    if "{" in (rest := _SLOT.sub("", pattern)) or "}" in rest:
        yield "a brace is open; a slot is written {Noun} or {this|that}"


def fill(pattern: str, rng: random.Random) -> str:
    """Return the pattern with a word in each slot."""
    return _SLOT.sub(lambda found: _word(found[1], rng), pattern)


def _word(slot: str, rng: random.Random) -> str:
    match slot:
        case "noun" | "adjective":
            return rng.choice(_words(slot))
        case "Noun" | "Adjective":
            return rng.choice(_words(slot.lower())).capitalize()
        case "First":
            return rng.choice(draw_tongue(rng).first)
        case "Last":
            return rng.choice(draw_tongue(rng).last)
        case "Town":
            return draw_place(rng)
        case "number":
            return str(rng.randint(2, 60))
        case _:
            return rng.choice(slot.split("|"))


@functools.cache
def _words(part: str) -> tuple[str, ...]:
    """English words of a part of speech, each once, in the order of the package: it has lists, not sets."""
    from faker.providers.lorem.en_US import Provider

    words = dict.fromkeys(Provider.parts_of_speech[part])
    return tuple(word for word in words if re.fullmatch(r"[a-z]{3,}", word) and word not in _LEFT_OUT)
