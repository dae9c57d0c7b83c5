"""What the tools of an imported task answer: the expected returns, without a model."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from helpers.agenticqwen import JSON, NORMAL, answers, item, tool
from hypothesis import given

from synthagent.errors import SynthAgentError
from synthagent.exchange.agenticqwen import task_of
from synthagent.exchange.expected import ItemError, calls_of, response_of


def test_the_normal_path_is_answered_without_a_model_reads_after_writes_among_it() -> None:
    path = [(call["tool_name"], call["input"]) for call in NORMAL]
    expected = [{"free": True}, {"booking_id": "BK-1", "note": None}, {"free": False}]
    assert answers(task_of(item(), "x"), path) == expected


def test_a_call_that_the_paths_do_not_have_needs_a_model() -> None:
    with pytest.raises(SynthAgentError, match=r"roles\.tools\.backend"):
        answers(task_of(item(), "x"), [("find_boat", {"name": "Gull"})])


@pytest.mark.parametrize(
    ("output", "response"),
    [
        ({"a": None}, {"a": None}),
        ('{"a": 1.5}', {"a": 1.5}),
        ("{'a': True, 'b': (1, 2)}", {"a": True, "b": [1, 2]}),
        ("[1, 2]", {"result": [1, 2]}),
        (["x"], {"result": ["x"]}),
        ("Done.", {"result": "Done."}),
        ("{not json}", {"result": "{not json}"}),
        ("{'a': {1, 2}}", {"result": "{'a': {1, 2}}"}),
        ("{1: 2}", {"result": "{1: 2}"}),
        ('{"a": NaN}', {"result": '{"a": NaN}'}),
        ("007", {"result": "007"}),
        (None, {"result": None}),
        (False, {"result": False}),
    ],
)
def test_an_expected_output_of_any_form_becomes_an_object_and_loses_nothing(output: Any, response: Any) -> None:
    assert response_of(output) == response
    task = task_of(item(normal=[NORMAL[0] | {"expected_output": output}]), "x")
    assert answers(task, [("find_boat", {"name": "Heron"})]) == [response]


def test_the_paths_and_a_calls_input_may_be_json_text() -> None:
    paths = {"normal_path": [NORMAL[0] | {"input": '{"name": "Heron"}'}]}
    task = task_of(item(tool_return_expected=json.dumps(paths)), "x")
    assert answers(task, [("find_boat", {"name": "Heron"})]) == [{"free": True}]


@pytest.mark.parametrize(
    ("name", "description", "changes"),
    [
        ("get_price", "", False),
        ("checkStock", "", False),
        ("get_or_create_user", "", True),
        ("warp_core", "Retrieves the plan.", False),
        ("warp_core", "Retrieves the plan and updates it.", True),
        ("warp_core", "", True),
        ("cancel_order", "Cancels.", True),
    ],
)
def test_a_tool_changes_state_unless_its_name_or_description_says_that_it_reads(
    name: str, description: str, changes: bool
) -> None:
    task = task_of(item(tools=[tool(name, description, {})], normal=[]), "x")
    assert task.tools[0].changes_state is changes


def test_a_read_that_changes_between_two_equal_calls_is_evidence_against_the_name() -> None:
    tools = [tool("get_level", "Gets.", {}), tool("check_in", "Checks in.", {}), tool("list_x", "Lists.", {})]
    path = [
        {"tool_name": name, "input": {}, "expected_output": {"level": level}}
        for name, level in (("list_x", 0), ("get_level", 1), ("check_in", 0), ("get_level", 2), ("get_level", 2))
    ]
    task = task_of(item(tools=tools, normal=path), "x")
    assert [tool.name for tool in task.tools if tool.changes_state] == ["check_in"]
    assert answers(task, [(call["tool_name"], call["input"]) for call in path]) == [
        call["expected_output"] for call in path
    ]


def test_the_hack_path_adds_what_it_returns_up_to_where_it_contradicts() -> None:
    calls = [("find_boat", {"name": "Gull"}, {"free": True}), ("find_boat", {"name": "Heron"}, {"free": "maybe"})]
    after = [("find_boat", {"name": "Tern"}, {"free": True})]
    hack = [{"tool_name": t, "input": i, "expected_output": o} for t, i, o in calls + after]
    task = task_of(item(tool_return_expected={"normal_path": NORMAL, "hack_path": hack}), "x")
    known = [(said.tool, said.args.get("name"), said.response) for said in task.world.said if not said.state]
    assert known == [
        ("find_boat", "Heron", {"free": True}),
        ("book_boat", "Heron", {"booking_id": "BK-1", "note": None}),
        ("find_boat", "Gull", {"free": True}),
    ]


def test_a_return_that_the_hack_path_leaves_open_is_not_made_up() -> None:
    hack = [{"tool_name": "sink_boat", "input": {"name": "Heron"}, "expected_output": "no_return"}]
    task = task_of(item(tool_return_expected={"normal_path": NORMAL, "hack_path": hack}), "x")
    assert "sink_boat" not in {said.tool for said in task.world.said}


@given(JSON)
def test_expected_returns_of_any_shape_are_read_or_refused(value: Any) -> None:
    with suppress(ItemError):
        (call,), _ = calls_of({"normal_path": [NORMAL[0] | {"input": value, "expected_output": value}]})
        assert isinstance(call.response, dict)
