"""How the persona speaks: a plan's request -> one underspecified sentence in which the persona shows."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Literal

_GREETINGS = ("Hi, please", "Please", "Can you", "I want you to", "Hello, kindly")
_CUT = re.compile(r"\b(who|whose|with|from|that|which|and|in|of|for|specializ\w*|focus\w*|seeking|working|looking)\b|[,.;:(]")
_MOST_WORDS = 4


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted, in the task's words."""

    goal: Literal["act", "set", "new"]
    verb: str
    noun: str
    follow: str | None
    report: str | None


def role_of(persona: str) -> str:
    """A short phrase for who speaks, at most four words: 'a retired teacher who ..' -> 'a retired teacher'."""
    head = _CUT.split(persona.strip(), maxsplit=1)[0]
    words = [w for w in re.findall(r"[A-Za-z][A-Za-z'-]*", head) if w.isascii()]
    article = words[0].lower() if words and words[0].lower() in ("a", "an", "the") else ""
    body = words[1:] if article else words
    if not body:
        return ""
    kept = " ".join(word.lower() for word in body[-_MOST_WORDS + 1 :])
    if article == "the":
        return f"the {kept}"
    return f"{'an' if kept[0] in 'aeiou' else 'a'} {kept}"


def request_text(request: Request, persona: str, rng: random.Random) -> str:
    """One sentence: greeting, wish, persona. It names no fact, no tool and no step but the wish itself."""
    owner = "a" if request.goal == "new" else "my"
    wishes = [f"{request.verb} {owner} {request.noun}"]
    wishes += [f"{request.follow} it"] if request.follow else []
    wishes += [f"tell me the {request.report}"] if request.report else []
    wish = wishes[0] if len(wishes) == 1 else f"{', '.join(wishes[:-1])} and {wishes[-1]}"
    role = role_of(persona)
    signature = f", as I am {role}" if role else ""
    return f"{rng.choice(_GREETINGS)} {wish}{signature}."
