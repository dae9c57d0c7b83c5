"""Turns: read from whatever a policy writes, and from messages that record them."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.turns import render_turn
from hypothesis import given
from hypothesis import strategies as st

from synthagent.episodes.turn import ToolCall, Turn, parse_turn


@pytest.mark.parametrize(("depth", "kept"), [(1, True), (50, True), (51, False), (250, False), (990, False)])
def test_arguments_nested_deeper_than_any_tool_needs_are_malformed(depth: int, kept: bool) -> None:
    text = "[" * depth + "]" * depth
    (call,) = parse_turn(f'<tool_call>{{"name": "x", "arguments": {text}}}</tool_call>').calls
    assert (call.arguments is not None) == kept


def test_an_answer_inside_arguments_is_no_answer() -> None:
    turn = parse_turn('<tool_call>{"name": "x", "arguments": {"a": "<answer>done</answer>"}}</tool_call>')
    assert turn.answer is None
    assert turn.text == ""


plain = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="<>"), max_size=20)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), plain),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(plain, inner, max_size=3)),
    max_leaves=6,
)


@given(plain, st.lists(st.tuples(plain, st.dictionaries(plain, values, max_size=3)), max_size=3))
def test_reading_a_written_turn_gives_it_back(text: str, calls: list[tuple[str, Any]]) -> None:
    turn = Turn(text.strip(), tuple(ToolCall(name, args) for name, args in calls))
    assert parse_turn(render_turn(turn)) == turn
