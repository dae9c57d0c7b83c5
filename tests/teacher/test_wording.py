"""The words of a request: who speaks, and that it shows."""

from __future__ import annotations

import pytest
from helpers.tasks import accepted_tasks

from synthagent.personas import role_of
from synthagent.stages.personas import built_in


@pytest.mark.parametrize(
    ("persona", "role"),
    [
        ("a retired teacher who paints", "a retired teacher"),
        ("A Political Analyst specialized in El Salvador", "a political analyst"),
        ("An avid reader, fond of maps", "an avid reader"),
        ("The owner of a small bakery", "the owner"),
        ("Nurse with two jobs", "a nurse"),
        ("optician", "an optician"),
        ("", ""),
        ("!!! ???", ""),
        ("图书管理员", ""),
    ],
)
def test_a_persona_is_cut_to_a_short_role(persona: str, role: str) -> None:
    assert role_of(persona) == role


def test_the_persona_shows_in_the_instruction() -> None:
    personas = {persona.id: persona for persona in built_in()}
    for task in accepted_tasks():
        role = role_of(personas[task.persona_id].text)
        assert role
        assert f", as I am {role}." in task.instruction
