"""Writes the request: what is wanted, and the persona -> one sentence that leaves out what only the user knows."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from synthagent.episodes.user import all_said
from synthagent.personas import role_of
from synthagent.records import Task

_GREETINGS = ("Hi, please", "Please", "Can you", "I want you to", "Hello, kindly")


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted, in the task's words."""

    goal: Literal["act", "set", "new"]
    verb: str
    noun: str
    follow: str | None
    report: str | None


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
