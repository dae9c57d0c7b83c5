"""An AgenticQwen item -> a task: which parts become what, and why an item is refused."""

from __future__ import annotations

import copy
import json
import re
from contextlib import suppress
from typing import Any

import pytest
from helpers.agenticqwen import BACKGROUND, JSON, NORMAL, POLICY, TOOLS, changed, item, tool
from hypothesis import given
from hypothesis import strategies as st

from synthagent.exchange.agenticqwen import task_of
from synthagent.exchange.expected import ItemError
from synthagent.judging.proofs import leaked
from synthagent.records import Task


def test_an_item_becomes_a_simulated_task() -> None:
    task = task_of(item(), "boats.json")
    assert (task.id, task.domain, task.world_kind) == ("agenticqwen-boat-1", "boat rental", "simulated")
    assert task.instruction == "Please book me a boat."
    assert task.reference == ()
    assert task.world.background == BACKGROUND
    assert task.distractors == ("sink_boat",)
    assert [line.partition(":")[0].partition(" ")[0] for line in task.workflow] == [
        "find_boat",
        "book_boat",
        "find_boat",
        "Outcome",
    ]
    assert (task.twin_of, task.decisive) == (None, None)
    assert task.provenance["source"] == "boats.json"
    assert task.provenance["source_id"] == "boat-1"
    assert task.provenance["test_policy"] == "members only"
    assert task.provenance["user_escape_strategy"] == "insist"
    assert task.provenance["rubrics"] == "The boat is booked once."


def test_tools_come_from_the_last_block_that_is_not_empty_in_our_form() -> None:
    task = task_of(item(), "x")
    assert [tool.name for tool in task.tools] == ["find_boat", "book_boat", "sink_boat"]
    assert [tool.outputs for tool in task.tools] == [
        {"free": {"type": "boolean"}},
        {"booking_id": {"type": "string"}},
        {},
    ]
    assert all("outputs" not in tool.model_dump()["function"] for tool in task.tools)


@pytest.mark.parametrize(
    ("given_outputs", "ours"),
    [
        ({"a": {"description": "x"}}, {"a": {"type": "string", "description": "x"}}),
        ({"a": "integer", "b": "who"}, {"a": {"type": "integer"}, "b": {"type": "string", "description": "who"}}),
        (["a", {"name": "b", "type": "number"}], {"a": {"type": "string"}, "b": {"type": "number"}}),
        ({"type": "object"}, {}),
        ("text", {}),
    ],
)
def test_outputs_of_any_form_become_names_with_types(given_outputs: Any, ours: Any) -> None:
    task = task_of(item(tools=[tool("get_x", "Gets.", given_outputs)], normal=[]), "x")
    assert task.tools[0].outputs == ours


def test_the_constraints_are_the_whole_policy_a_paragraph_with_a_rule_each() -> None:
    constraints = task_of(item(), "x").constraints
    assert [c.id for c in constraints] == ["c1", "c2"]
    assert "\n\n".join(c.text for c in constraints) == POLICY
    assert "only to members" in constraints[0].text
    assert "- night trips\n- trips in a storm" in constraints[1].text


def test_what_the_request_or_a_schema_shows_is_no_fact() -> None:
    given_item = item()
    given_item["prompt"][1]["content"] = "Book the Heron for MB-4711."
    task = task_of(given_item, "x")
    assert not {"name", "member_number"} & {fact.slot for fact in task.facts}
    assert task.provenance["public"] == ["name", "member_number"]
    assert leaked(task) == []


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (None, "item"),
        ([], "item"),
        ({"id": "x"}, "prompt: Field required"),
        (changed(id=""), "id: "),
        (changed(prompt=[]), "no message of the user"),
        (changed(prompt=[{"role": "user", "content": "hi"}]), "no <tools> block"),
        (changed(prompt="hello"), "prompt: "),
        (changed(tool_return_expected=None), "normal_path"),
        (changed(tool_return_expected={"normal_path": [{}]}), "normal_path call 1: needs"),
        (item(tools=["{"]), "not JSON at line 2"),
        (item(tools=[tool("a b", "", {})]), "no tool can be named 'a b'"),
        (item(tools=[TOOLS[0], TOOLS[0]]), "'find_boat' is there twice"),
        (item(tools=[tool("get_x", "", {}, type=7)]), "no JSON schema"),
        (item(tools=[tool("get_x", "", {}, **{"$ref": "http://127.0.0.1:9/x"})]), "no schema of its own"),
        (item(normal=[NORMAL[0] | {"tool_name": "fly"}]), "normal_path call 1, 'fly': no such tool"),
        (item(normal=[NORMAL[0] | {"input": {}}]), "'find_boat': missing argument"),
        (item(normal=[NORMAL[0] | {"input": "Heron"}]), "its input is no object"),
        (item(normal=[NORMAL[0], NORMAL[0] | {"expected_output": {"error": "x"}}][::-1]), "contradicts call 1"),
        (changed(rubrics="\ud800"), "half a surrogate pair"),
        (changed(rubrics=json.loads("[" * 50 + "]" * 50)), "nested deeper"),
        (changed(rubrics=float("inf")), "no JSON number"),
    ],
)
def test_an_item_that_cannot_be_used_says_why(broken: Any, why: str) -> None:
    with pytest.raises(ItemError, match=re.escape(why)):
        task_of(broken, "x")


@given(st.sampled_from(sorted(item())), JSON)
def test_an_item_with_any_value_in_any_place_is_a_task_or_refused(key: str, value: Any) -> None:
    with suppress(ItemError):
        assert isinstance(task_of(item() | {key: value}, "x"), Task)


@given(st.sampled_from(["name", "description", "parameters", "outputs", "function"]), JSON)
def test_a_tool_with_any_value_in_any_place_is_taken_or_refused(key: str, value: Any) -> None:
    odd = copy.deepcopy(TOOLS[0])
    (odd if key == "function" else odd["function"])[key] = value
    with suppress(ItemError):
        task = task_of(item(tools=[odd], normal=[]), "x")
        assert all("type" in schema for schema in task.tools[0].outputs.values())
