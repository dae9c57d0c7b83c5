"""Writes the request: what is wanted, and the persona -> one sentence that leaves out what only the user knows."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Literal

from synthagent.episodes.user import all_said
from synthagent.records import Task

_GREETINGS = ("Hi, please", "Please", "Can you", "I want you to", "Hello, kindly")
_FUNCTION_WORD = re.compile(
    r"who|whose|with|from|that|which|and|or|but|in|of|for|on|to|by|at|up|out|over|into|under|when|while|after|as", re.I
)
_OPENING = re.compile(r"^\s*(as|i am|i'm|i\u2019m)\s+", re.I)
_MOST_WORDS = 3


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted, in the task's words."""

    goal: Literal["act", "set", "new"]
    verb: str
    noun: str
    follow: str | None
    report: str | None


def role_of(persona: str) -> str:
    """A short phrase for who speaks: 'A retired bank teller who sings in bars' -> 'a retired bank teller'."""
    words = re.findall(r"[A-Za-z][A-Za-z'-]*|[,.;:()]", _OPENING.sub("", persona))
    article = words.pop(0).lower() if words and words[0].lower() in ("a", "an", "the") else ""
    kept: list[str] = []
    for word in words:
        participle = word.endswith(("ing", "ed")) and kept  # 'a teller | collecting stamps'
        if _FUNCTION_WORD.fullmatch(word) or not word[0].isalpha() or participle or len(kept) == _MOST_WORDS:
            break
        kept.append(word.lower())
    if not kept:
        return ""
    return f"{article or ('an' if kept[0][0] in 'aeiou' else 'a')} {' '.join(kept)}"


def request_text(request: Wish, persona: str, rng: random.Random) -> str:
    """One sentence: greeting, wish, persona. It names no fact and no tool, and no step other than the wish."""
    owner = "a" if request.goal == "new" else "my"
    wishes = [f"{request.verb} {owner} {request.noun}"]
    wishes += [f"{request.follow} it"] if request.follow else []
    wishes += [f"tell me the {request.report}"] if request.report else []
    wish = wishes[0] if len(wishes) == 1 else f"{', '.join(wishes[:-1])} and {wishes[-1]}"
    role = role_of(persona)
    signature = f", as I am {role}" if role else ""
    return f"{rng.choice(_GREETINGS)} {wish}{signature}."


def without_gap(task: Task) -> Task:
    """The task with an instruction that says all that only the user knew, in the user's words."""
    return task.model_copy(update={"instruction": f"{task.instruction} {all_said(task.facts)}", "no_leak": False})
