"""Who speaks: a persona -> the voice of its requests, and what a sentence can say of it."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import lru_cache

from synthagent.personas import role_of
from synthagent.teacher.natural.frames import Voice, frames
from synthagent.teacher.natural.morphology import a

_SHARES: dict[Voice, float] = {"plain": 0.3, "terse": 0.2, "formal": 0.15, "chatty": 0.2, "learner": 0.15}
_LEAD = 0.6  # how often a persona speaks in the voice that its words lead to
_OTHERS = re.compile(r"\b(he|she|they|his|her|their|him|them|hers|theirs|I|my|me)\b", re.I)
_NOBODY = re.compile(r"\b(someone|somebody|individual|person|people)\b")
_UNFINISHED = re.compile(r" (afraid|able|aware|curious|eager|famous|fond|full|keen|known|proud|responsible)$")


@dataclass(frozen=True, slots=True)
class Speaker:
    """What a persona gives to a sentence; all empty where it gives nothing that fits."""

    role: str = ""
    bare: str = ""
    who: str = ""


def voice_of(persona: str, rng: random.Random) -> Voice:
    """The voice of a persona: mostly the one that its words lead to, otherwise any."""
    lead = _lead(persona)
    if lead and rng.random() < _LEAD:
        return lead
    at = rng.random()
    for voice, share in _SHARES.items():
        at -= share
        if at < 0:
            return voice
    return "plain"


@lru_cache(maxsize=8192)
def _lead(persona: str) -> Voice | None:
    words = persona.lower().split()
    for voice, stems in frames().personas.items():
        if any(word.startswith(stems) for word in words):
            return voice
    return None


@lru_cache(maxsize=8192)
def speaker_of(persona: str) -> Speaker:
    """The short role of a persona, and the whole of it where it can stand after 'I am'."""
    role = role_of(persona)
    if not role or not role.isascii() or _NOBODY.search(role):
        return Speaker()
    lead, _, bare = role.partition(" ")
    capitals = {word.lower(): word for word in persona.split() if word.isupper()}
    bare = " ".join(capitals.get(word, word) for word in bare.split())
    bare = _UNFINISHED.sub("", bare)
    role = f"the {bare}" if lead == "the" else a(bare)
    whole = persona.strip().rstrip(".")
    fits = whole.isascii() and whole.lower().startswith(("a ", "an ", "the ")) and 4 < len(whole.split()) < 15
    who = (
        without_capital(whole) if fits and not _OTHERS.search(whole) and not re.search(r"[.:;!?()\"{}]", whole) else ""
    )
    return Speaker(role, bare, who)


def without_capital(text: str) -> str:
    """With a small first letter, except for the word I."""
    return text if text.startswith(("I ", "I'")) else text[0].lower() + text[1:]
