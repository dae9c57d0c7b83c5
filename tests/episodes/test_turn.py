"""Turns: read from whatever a policy writes, and from messages that record them."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from helpers.turns import render_turn
from hypothesis import given
from hypothesis import strategies as st

from synthagent.episodes.turn import Question, ToolCall, Turn, message_of, parse_arguments, parse_turn, turn_of
from synthagent.errors import RecordError


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


@given(plain, st.lists(st.tuples(plain, st.dictionaries(plain, values, max_size=3)), max_size=3))
def test_a_turn_comes_back_from_the_message_that_records_it(text: str, calls: list[tuple[str, Any]]) -> None:
    turn = Turn(text, tuple(ToolCall(name, args) for name, args in calls))
    assert turn_of(json.loads(json.dumps(message_of(turn, 3)))) == turn


def test_the_calls_of_a_message_are_told_apart_by_turn_and_place() -> None:
    two = Turn("", (ToolCall("f", {}), ToolCall("f", {})))
    assert [call["id"] for call in message_of(two, 7)["tool_calls"]] == ["call_7_0", "call_7_1"]
    assert message_of(Turn("What?"), 0) == {"role": "assistant", "content": "What?"}


def test_what_has_to_be_answered_is_every_call_or_the_question_and_nothing_of_an_answer() -> None:
    calls = (ToolCall("f", {}), ToolCall("g", None))
    assert Turn("Which one?", calls).asked == calls
    assert Turn("Which one?").asked == (Question("Which one?"),)
    assert Turn("So: <answer> B12 </answer>").asked == ()
    assert Turn("So: <answer> B12 </answer>").answer == "B12"


@pytest.mark.parametrize("text", ["", "{", "NaN,", "[" * 60 + "]" * 60, "[" * 100_000])
def test_arguments_that_are_no_json_or_too_deep_are_none(text: str) -> None:
    assert parse_arguments(text) is None
    assert parse_arguments('{"a": [1]}') == {"a": [1]}


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"content": "", "tool_calls": [{}]},
        {"content": "", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]},
        {"content": "", "tool_calls": 7},
    ],
    ids=repr,
)
def test_a_message_that_records_no_turn_is_a_fault_of_the_record(message: dict[str, Any]) -> None:
    with pytest.raises(RecordError, match="not a message of an assistant"):
        turn_of(message)


@pytest.mark.parametrize("text", ["<tool_call>" + " " * 20_000, "<tool_call>" * 2_000, "<answer>" * 4_000])
def test_a_turn_is_read_in_one_pass(text: str) -> None:
    start = time.process_time()
    assert (parse_turn(text).calls, parse_turn(text).answer) == ((), None)
    assert time.process_time() - start < 0.5
