"""The world by example; `test_any_world.py` has what holds of any."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.worlds import NEW_KEYS, a_tool

from synthagent.episodes.world import BUSY, NOT_FOUND, ToolEvent, World, compile_validators, meets
from synthagent.worlds import Condition, Effect, Requirement, Table, Tool, WorldSpec


def a_world(*effects: Effect, new_ids: tuple[str, ...] = NEW_KEYS, schema: Any = None) -> World:
    """A world of one tool, `do`, and the things a (red, 1) and b (blue, 2)."""
    rows = ({"id": "a", "colour": "red", "size": 1}, {"id": "b", "colour": "blue", "size": 2})
    tables = {"things": Table(key="id", rows=rows), "others": Table(key="id", rows=())}
    tool = a_tool("do") if schema is None else Tool(name="do", parameters=schema)
    spec = WorldSpec(tables=tables, effects={"do": effects}, new_ids=new_ids)
    return World(spec, compile_validators([tool]))


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "args",
    [
        None,
        [],
        "a",
        7,
        {"id": "\ud800"},
        {"\ud800": 1},
        {"id": nested(300)},
        {"size": float("nan")},
        {"size": float("inf")},
        {"size": 10**400},
        {"id": {"id": "a"}},
        {"id": "a\n"},
        {"id": "a", "surplus": 1},
    ],
    ids=repr,
)
def test_hostile_arguments_are_refused_and_never_raise(args: Any) -> None:
    world = a_world(Effect(op="delete", table="things", key="id"))
    before = world.state()
    event = world.call("do", args)
    assert (event.ok, event.valid) == (False, False)
    assert world.state() == before


@pytest.mark.parametrize("args", [None, [1], "a", {"id": ["a"]}, {"id": {}}, {}], ids=repr)
def test_a_lax_schema_does_not_let_odd_arguments_break_the_world(args: Any) -> None:
    event = a_world(Effect(op="get", table="things", key="id"), schema={}).call("do", args)
    assert not event.ok


def test_an_unknown_tool_is_refused() -> None:
    event = a_world(Effect(op="get", table="things", key="id")).call("undo", {})
    assert event == ToolEvent("undo", {}, False, {"error": "no such tool"}, valid=False)


def test_all_effects_of_a_tool_happen_or_none() -> None:
    create = Effect(op="create", table="others")
    paint = Effect(op="update", table="things", key="id", write={"colour": {"value": "green"}})
    strict = Effect(
        op="get", table="things", key="to", require=(Requirement(field="size", value=1, message="wrong size"),)
    )
    world = a_world(create, paint, strict)
    before = world.state()
    assert world.call("do", {"id": "a", "to": "b"}).result == {"error": "wrong size"}
    assert world.state() == before
    assert world.call("do", {"id": "b", "to": "a"}).ok
    assert world.tables["things"]["b"]["colour"] == "green"
    assert list(world.tables["others"]) == ["w"]


def test_two_rows_are_not_half_created_when_there_is_room_for_one() -> None:
    create = Effect(op="create", table="others", write={"size": {"value": 1}})
    world = a_world(create, create, new_ids=("w",))
    assert world.call("do", {}).result == {"error": "no more room"}
    assert world.tables["others"] == {}


def test_a_row_deleted_twice_in_one_call_is_deleted_once() -> None:
    delete = Effect(op="delete", table="things", key="id")
    world = a_world(delete, delete)
    assert world.call("do", {"id": "a"}).ok
    assert list(world.tables["things"]) == ["b"]
    assert world.call("do", {"id": "a"}).result == {"error": NOT_FOUND}


def test_a_failed_creation_does_not_use_up_an_id() -> None:
    small = Requirement(field="size", op="lt", value=5, message="too large", of="args")
    world = a_world(Effect(op="create", table="others", require=(small,), returns={"id": "id"}))
    assert world.call("do", {"size": 9}).result == {"error": "too large"}
    assert world.call("do", {"size": 1}).result == {"id": "w"}


def test_find_shows_one_row_bare_and_several_as_a_list() -> None:
    find = Effect(op="find", table="things", where={"colour": "colour"}, returns={"thing": "id"})
    world = a_world(find)
    assert world.call("do", {"colour": "red"}).result == {"thing": "a"}
    world.tables["things"]["b"]["colour"] = "red"
    assert world.call("do", {"colour": "red"}).result == {"results": [{"thing": "a"}, {"thing": "b"}]}
    assert world.call("do", {"colour": "green"}).result == {"error": NOT_FOUND}


def test_two_worlds_of_one_spec_share_no_row() -> None:
    paint = Effect(op="update", table="things", key="id", write={"colour": {"arg": "colour"}})
    first = a_world(paint)
    second = World(first.spec, compile_validators([a_tool("do")]))
    first.call("do", {"id": "a", "colour": "green"})
    assert second.tables["things"]["a"]["colour"] == "red"
    assert first.spec.tables["things"].rows[0]["colour"] == "red"


def test_a_copy_of_the_state_does_not_follow_the_world() -> None:
    world = a_world(Effect(op="delete", table="things", key="id"))
    before = world.state()
    world.call("do", {"id": "a"})
    assert "a" in before["things"]
    assert "a" not in world.state()["things"]


@pytest.mark.parametrize(
    ("op", "value", "expected"),
    [
        ("eq", 2, True),
        ("ne", 2, False),
        ("in", [1, 2], True),
        ("not_in", [1, 2], False),
        ("lt", 3, True),
        ("le", 2, True),
        ("gt", 2, False),
        ("ge", 2, True),
        ("lt", "three", False),
        ("in", 5, False),
    ],
)
def test_a_condition_compares_or_is_false(op: Any, value: Any, expected: bool) -> None:
    assert meets({"size": 2}, Condition(field="size", op=op, value=value)) is expected


def test_a_condition_on_an_absent_field_is_false_even_when_negated() -> None:
    assert not meets({}, Condition(field="size", op="ne", value=2))
    assert not meets({}, Condition(field="size", op="not_in", value=[2]))


# --- of natural tasks -----------------------------------------------------------------------------------------------


def test_a_tool_that_is_busy_fails_in_passing_and_changes_nothing() -> None:
    world = a_world(Effect(op="update", table="things", key="id", write={"colour": {"arg": "colour"}}, busy=2))
    arguments = {"id": "a", "colour": "blue"}
    for _ in range(2):
        event = world.call("do", arguments)
        assert (event.ok, event.valid, event.result) == (False, True, {"error": BUSY})
        assert world.state()["things"]["a"]["colour"] == "red"
    assert world.call("do", {"id": "a"}).ok


def test_a_search_by_meaning_finds_what_is_written_otherwise_and_knows_defaults() -> None:
    schema = {"type": "object", "properties": {"colour": {"type": "string"}, "size": {"type": "number"}}}
    where = {"colour": "colour", "size": "size"}
    effect = Effect(op="find", table="things", where=where, returns={"id": "id"}, by_meaning=True, defaults={"size": 1})
    world = a_world(effect, schema=schema)
    assert world.call("do", {"colour": " RED "}).result == {"id": "a"}
    assert world.call("do", {"colour": "blue", "size": 2.0}).result == {"id": "b"}
    assert world.call("do", {"colour": "blue"}).result == {"error": NOT_FOUND}
