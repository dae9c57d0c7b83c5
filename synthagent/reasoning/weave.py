"""A persona in a problem, by templates: the question stands in the scenario word for word, and so does its answer."""

from __future__ import annotations

import random

from synthagent.personas import role_of
from synthagent.records import Persona, Problem

# What comes before the question, and after it.
_FRAMES = (
    ("I am {role}.", ""),
    ("I am {role} and need this for my books.", ""),
    ("I am {role}, and this came up at work today.", ""),
    ("A note from {role}:", ""),
    ("", "I need it as {role}."),
    ("", "It is for {role}."),
)


def weave(problem: Problem, persona: Persona, seed: int) -> Problem:
    """The problem with a persona around it; a persona that fits no sentence adds nothing but its id."""
    role, question = role_of(persona.text), problem.instruction
    before, after = random.Random(f"weave-{seed}-{problem.id}").choice(_FRAMES) if role else ("", "")
    joint = "\n" if "\n" in question else " "
    parts = (before.format(role=role), question, after.format(role=role))
    return problem.model_copy(update={"persona_id": persona.id, "instruction": joint.join(filter(None, parts))})
