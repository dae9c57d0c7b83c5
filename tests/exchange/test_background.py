"""What the user of an imported task knows: the facts in a background."""

from __future__ import annotations

from typing import Any

from helpers.agenticqwen import BACKGROUND, NORMAL, item
from hypothesis import given
from hypothesis import strategies as st

from synthagent.exchange.agenticqwen import task_of
from synthagent.exchange.background import facts_of


def test_facts_are_read_off_the_background_letter_for_letter() -> None:
    facts = {fact.slot: fact for fact in task_of(item(), "x").facts}
    assert {slot: fact.value for slot, fact in facts.items()} == {
        "name": "Heron",
        "member_number": "MB-4711",
        "deposit_code": "blue-anchor",
        "user_name": "Ada Fenwick Moor",
        "email": "ada@fenwick.example",
        "date": "2025-07-04",
        "pay": "$1,250",
    }
    for fact in facts.values():
        assert fact.value in BACKGROUND
        assert fact.value in fact.phrase


def test_what_only_a_tool_can_have_made_is_no_fact() -> None:
    facts = task_of(item(task_background="The booking id is BK-1000, you said BK-1."), "x").facts
    assert [fact.value for fact in facts] == ["BK-1000"]
    made = [*NORMAL[:1], NORMAL[1] | {"expected_output": {"booking_id": "BK-1000"}}]
    assert task_of(item(task_background="The booking id is BK-1000.", normal=made), "x").facts == ()


@given(st.text(max_size=300), st.lists(st.tuples(st.text(max_size=10), st.one_of(st.text(), st.integers(), st.none()))))
def test_facts_of_any_text_stand_in_it_under_distinct_slots(text: str, inputs: list[tuple[str, Any]]) -> None:
    facts = facts_of(text, inputs)
    assert all(fact.value in text for fact in facts)
    assert len({fact.slot for fact in facts}) == len(facts)
