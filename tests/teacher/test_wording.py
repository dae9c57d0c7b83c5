"""The words of a request: who speaks."""

from __future__ import annotations

import pytest

from synthagent.teacher.wording import role_of


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
