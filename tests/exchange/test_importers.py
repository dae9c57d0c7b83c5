"""`synthagent import agenticqwen`: what becomes of an item, what its tools then say, and what bad input costs."""

from __future__ import annotations

import asyncio
import copy
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from helpers.projects import ROOT, assert_one_message, synthagent
from hypothesis import given
from hypothesis import strategies as st

from synthagent.episodes.episode import Episode
from synthagent.episodes.mapping import Mappings
from synthagent.episodes.simulated_tools import SimulatedTools
from synthagent.episodes.turn import ToolCall
from synthagent.episodes.world import ToolEvent
from synthagent.errors import InputError, SynthAgentError
from synthagent.exchange.agenticqwen import task_of
from synthagent.exchange.background import facts_of
from synthagent.exchange.expected import ItemError, calls_of, response_of
from synthagent.exchange.importers import import_agenticqwen
from synthagent.judging.proofs import leaked
from synthagent.judging.validate import validate_file
from synthagent.records import Task
from synthagent.store import read_records

REAL = ROOT.parent / "shared" / "data" / "agenticqwen_5.json"
POLICY = """# Boat Rental Policy

This page says what the desk may do.

## Booking
A boat is handed out only to members. The desk must see the member's number first.

The desk opens at nine.

## Refusals
The desk must refuse:
- night trips
- trips in a storm

Ask the harbour master when in doubt."""
BACKGROUND = """I'm Ada Fenwick Moor, a member of the club. My member number is MB-4711, and I want the boat 'Heron' on
2025-07-04. Write to ada@fenwick.example once it is done. I can pay $1,250.

Additional parameters you may need:
- deposit_code: blue-anchor

Reveal them only the agent ask you. Do not disclose intentionally."""


def tool(name: str, description: str, outputs: Any, *args: str, **more: Any) -> dict[str, Any]:
    properties = {arg: {"type": "string"} for arg in args}
    parameters = {"type": "object", "properties": properties, "required": list(args)} | more
    function = {"name": name, "description": description, "parameters": parameters, "outputs": outputs}
    return {"type": "function", "function": function}


TOOLS = [
    tool("find_boat", "Finds a boat.", {"type": "object", "properties": {"free": {"type": "boolean"}}}, "name"),
    tool("book_boat", "Books a boat.", [{"name": "booking_id", "type": "string"}], "name", "member_number"),
    tool("sink_boat", "Sinks a boat.", None, "name"),
]
NORMAL = [
    {"tool_name": "find_boat", "input": {"name": "Heron"}, "expected_output": {"free": True}},
    {
        "tool_name": "book_boat",
        "input": {"name": "Heron", "member_number": "MB-4711"},
        "expected_output": "{'booking_id': 'BK-1', 'note': None}",
    },
    {"tool_name": "find_boat", "input": {"name": "Heron"}, "expected_output": '{"free": false}'},
]


def item(id: str = "boat-1", tools: Sequence[Any] = TOOLS, normal: Any = NORMAL, **more: Any) -> dict[str, Any]:
    """An item in the format, of our own making."""
    lines = "\n".join(tool if isinstance(tool, str) else json.dumps(tool) for tool in tools)
    system = f"<policy>{POLICY}</policy>\nThe tools are within <tools></tools>:\n<tools>\n{lines}\n</tools>\nGood luck."
    request = "Please book me a boat.\nNote: You must provide your brief reasoning process first. /no_think"
    return {
        "id": id,
        "prompt": [{"role": "system", "content": system}, {"role": "user", "content": request}],
        "task_background": BACKGROUND,
        "rubrics": "The boat is booked once.",
        "test_policy": "members only",
        "user_escape_strategy": "insist",
        "tool_return_expected": {"normal_path": normal, "hack_path": []},
    } | more


def write(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "given.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def imported(tmp_path: Path, content: Any) -> tuple[list[str], list[Task]]:
    """What is said, and what is written."""
    out = tmp_path / "tasks.parquet"
    said = list(import_agenticqwen(write(tmp_path, content), out))
    return said, list(read_records(out, Task))


def answers(task: Task, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Mapping[str, Any]]:
    """What the simulated tools of an episode answer, with no model behind them."""

    async def play() -> list[Mapping[str, Any]]:
        episode, tools = Episode(task), SimulatedTools(None, Mappings())
        results = []
        for name, args in calls:
            event = await tools.call(episode, name, ToolCall(name, args).arguments)
            assert isinstance(event, ToolEvent)
            episode.world.events.append(event)
            results.append(event.result)
        return results

    return asyncio.run(play())


# --- an item --------------------------------------------------------------------------------------------------------


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


def test_what_the_request_or_a_schema_shows_is_no_fact() -> None:
    given_item = item()
    given_item["prompt"][1]["content"] = "Book the Heron for MB-4711."
    task = task_of(given_item, "x")
    assert not {"name", "member_number"} & {fact.slot for fact in task.facts}
    assert task.provenance["public"] == ["name", "member_number"]
    assert leaked(task) == []


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


# --- what the tools say ---------------------------------------------------------------------------------------------


def test_the_normal_path_replays_without_a_model_reads_after_writes_among_it() -> None:
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
    assert task.tools[0].get("changes_state", False) is changes


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


# --- bad input ------------------------------------------------------------------------------------------------------


def changed(**changes: Any) -> dict[str, Any]:
    return item() | changes


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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


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


@given(JSON)
def test_expected_returns_of_any_shape_are_read_or_refused(value: Any) -> None:
    with suppress(ItemError):
        (call,), _ = calls_of({"normal_path": [NORMAL[0] | {"input": value, "expected_output": value}]})
        assert isinstance(call.response, dict)


def test_a_broken_item_costs_one_line_and_the_others_are_imported(tmp_path: Path) -> None:
    said, tasks = imported(tmp_path, [item("b"), {"id": "z"}, item("a"), item("a"), 7])
    assert [task.id for task in tasks] == ["agenticqwen-a", "agenticqwen-b"]
    assert said[0].startswith("item 2 (z): refused: item: prompt: Field required")
    assert said[1].startswith("item 4 (a): refused: id: an earlier item has the same")
    assert said[2].startswith("item 5: refused: ")
    assert "2 of 5 items imported" in said[-1]


def test_json_lines_are_read_too_and_a_broken_line_is_named(tmp_path: Path) -> None:
    lines = "\n".join([json.dumps(item("a")), "", "{broken", json.dumps(item("b"))])
    said, tasks = imported(tmp_path, lines)
    assert len(tasks) == 2
    assert said[0] == "line 3: refused: item: not JSON"


def test_an_array_is_read_up_to_where_it_breaks(tmp_path: Path) -> None:
    text = json.dumps([item("a"), item("b")], indent=1)
    said, tasks = imported(tmp_path, text[: text.index('"id": "b"') + 4])
    assert [task.id for task in tasks] == ["agenticqwen-a"]
    assert said[0].startswith("item 2: refused: item: not JSON, at line ")


def test_a_single_object_and_a_byte_order_mark_are_fine(tmp_path: Path) -> None:
    assert len(imported(tmp_path, "\ufeff" + json.dumps(item(), indent=2))[1]) == 1


def test_imported_tasks_hold_what_proofs_a_simulated_world_can_have(tmp_path: Path) -> None:
    other = copy.deepcopy(item("c"))
    other["prompt"][1]["content"] = "I would like to know whether a boat is free before I pay for it, and then take it."
    _, tasks = imported(tmp_path, [item("b"), other])
    assert all(task.no_leak for task in tasks)
    failures = [line.text for line in validate_file(tmp_path / "tasks.parquet") if line.failed]
    assert len(failures) == sum(not task.unique for task in tasks)


def test_a_near_twin_is_kept_marked_and_told(tmp_path: Path) -> None:
    said, tasks = imported(tmp_path, [item("a"), item("b")])
    assert [task.unique for task in tasks] == [True, False]
    assert said[0].startswith("1 nearly the same as another, such as agenticqwen-b as agenticqwen-a; imported, but")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("", "it is empty"),
        ("hello", "it begins with 'h'"),
        ("[]", "it has no items"),
        ("[{]", "not JSON, at line 1"),
        (json.dumps([{"id": "x"}]), "none of its 1 items"),
        ("[" * 100_000, "none of its 1 items"),
    ],
)
def test_a_file_of_which_nothing_can_be_imported_is_an_error_and_the_output_stays(
    tmp_path: Path, content: str, part: str
) -> None:
    out = tmp_path / "tasks.parquet"
    out.write_text("precious")
    with pytest.raises(InputError, match=re.escape(part)):
        list(import_agenticqwen(write(tmp_path, content), out))
    assert out.read_text() == "precious"
    assert {path.name for path in tmp_path.iterdir()} == {"given.json", "tasks.parquet"}


def test_a_file_is_never_written_over_itself(tmp_path: Path) -> None:
    path = write(tmp_path, [item()])
    with pytest.raises(InputError, match="the file to import"):
        list(import_agenticqwen(path, path))
    assert json.loads(path.read_text())


def test_the_command_tells_a_mistake_in_one_line_and_success_in_a_summary(tmp_path: Path) -> None:
    missing = synthagent("import", "agenticqwen", "nope.json", "-o", "out.parquet", cwd=tmp_path)
    assert_one_message(missing, "nope.json", "No such file")
    (tmp_path / "latin.json").write_bytes(b'[{"id": "\xe9"}]')
    latin = synthagent("import", "agenticqwen", "latin.json", "-o", "o.parquet", cwd=tmp_path)
    assert_one_message(latin, "not UTF-8 at byte 9")
    write(tmp_path, [item(), {"id": "\x1b[31m"}])
    done = synthagent("import", "agenticqwen", "given.json", "-o", "t.parquet", "--split", "heldout", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "1 of 2 items imported" in done.stdout
    assert synthagent("validate", "t.parquet", cwd=tmp_path).returncode == 0
    assert [task.split for task in read_records(tmp_path / "t.parquet", Task)] == ["heldout"]


# --- the authors' own items -----------------------------------------------------------------------------------------


@pytest.mark.skipif(not REAL.exists(), reason="the authors' items are not on this machine")
def test_the_authors_items_are_imported_and_replay_what_they_expect(tmp_path: Path) -> None:
    out = tmp_path / "tasks.parquet"
    said = list(import_agenticqwen(REAL, out))
    assert "5 of 5 items imported" in said[-1]
    assert not any(line.failed for line in validate_file(out))
    tasks = {task.provenance["source_id"]: task for task in read_records(out, Task)}
    for raw in json.loads(REAL.read_text()):
        task, path = tasks[raw["id"]], raw["tool_return_expected"]["normal_path"]
        replayed = answers(task, [(call["tool_name"], call["input"]) for call in path])
        assert replayed == [call["expected_output"] for call in path]
        policy = re.findall(r"<policy>(.*?)</policy>", raw["prompt"][0]["content"], re.DOTALL)[-1]
        assert "\n\n".join(c.text for c in task.constraints).split() == policy.split()
        assert all(fact.value in raw["task_background"] for fact in task.facts)
