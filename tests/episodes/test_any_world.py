"""Any world and any calls: the world against an independent model of it."""

from __future__ import annotations

import json
from typing import Any

from helpers.worlds import NEW_KEYS, a_tool
from hypothesis import given
from hypothesis import strategies as st

from synthagent.episodes.world import World, compile_validators
from synthagent.worlds import Effect, Requirement, Table, WorldSpec

TABLES = ("things", "others")
KEYS = ("a", "b", "c", "d")
COLOURS = ("red", "blue")
MARKER = "zqx"

rows = st.dictionaries(st.sampled_from(KEYS), st.tuples(st.sampled_from(COLOURS), st.integers(0, 3)), max_size=4)
sources = st.one_of(
    st.sampled_from([{"arg": "colour"}, {"arg": "size"}]), st.integers(0, 9).map(lambda value: {"value": value})
)
requirements = st.lists(
    st.one_of(
        st.builds(
            Requirement,
            field=st.just("size"),
            op=st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge"]),
            value=st.integers(0, 3),
            message=st.just("not that size"),
            of=st.sampled_from(["row", "args"]),
        ),
        st.builds(
            Requirement,
            field=st.sampled_from(["colour", "absent"]),
            op=st.sampled_from(["in", "not_in"]),
            value=st.lists(st.sampled_from(COLOURS), max_size=2),
            message=st.just("not that colour"),
            of=st.sampled_from(["row", "args"]),
        ),
    ),
    max_size=1,
).map(tuple)
effects = st.builds(
    Effect,
    op=st.sampled_from(["get", "find", "create", "update", "delete"]),
    table=st.sampled_from(TABLES),
    key=st.sampled_from(["id", "to"]),
    where=st.dictionaries(st.just("colour"), st.just("colour"), max_size=1),
    write=st.dictionaries(st.sampled_from(["colour", "size", "extra"]), sources, max_size=2),
    require=requirements,
    returns=st.dictionaries(
        st.sampled_from(["k", "l"]), st.sampled_from(["id", "colour", "size", "extra"]), max_size=2
    ),
)


@st.composite
def specs(draw: st.DrawFn) -> tuple[WorldSpec, list[dict[str, Any]]]:
    """A world and its tools."""
    tables = {}
    for name in TABLES:
        drawn = draw(rows)
        tables[name] = Table(key="id", rows=tuple({"id": k, "colour": c, "size": s} for k, (c, s) in drawn.items()))
    names = ("t0", "t1", "t2")
    tools = [a_tool(name, tuple(draw(st.sets(st.sampled_from(["id", "colour"]))))) for name in names]
    effect_lists = {name: tuple(draw(st.lists(effects, min_size=1, max_size=3))) for name in names}
    new_ids = NEW_KEYS[: draw(st.integers(0, 4))]
    return WorldSpec(tables=tables, effects=effect_lists, new_ids=new_ids), tools


good_args = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(KEYS + NEW_KEYS),
        "to": st.sampled_from(KEYS + NEW_KEYS),
        "colour": st.sampled_from(COLOURS),
        "size": st.integers(0, 9),
    },
)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=5,
)
bad_args = st.one_of(
    json_values,
    st.dictionaries(st.sampled_from(["id", "colour", "size", MARKER]), st.one_of(json_values, st.just(MARKER))),
)
calls = st.lists(
    st.tuples(st.sampled_from(["t0", "t1", "t2", "t2", MARKER]), st.one_of(good_args, good_args, good_args, bad_args)),
    max_size=12,
)


class Model:
    """What a world should do, written down a second time, on plain dicts."""

    def __init__(self, spec: WorldSpec, tools: list[dict[str, Any]]) -> None:
        self.spec = spec
        self.required = {t.name: t.parameters["required"] for t in tools}
        self.tables = {name: {row["id"]: dict(row) for row in table.rows} for name, table in spec.tables.items()}
        self.unused = list(spec.new_ids)

    def fits(self, name: str, args: Any) -> bool:
        if name not in self.required or not isinstance(args, dict):
            return False
        letters = "abcdefghijklmnopqrstuvwxyz"
        tests = {
            "id": lambda v: isinstance(v, str) and len(v) == 1 and v in letters,
            "to": lambda v: isinstance(v, str) and len(v) == 1 and v in letters,
            "colour": lambda v: isinstance(v, str) and v != "" and set(v) <= set(letters),
            "size": lambda v: isinstance(v, int | float) and not isinstance(v, bool) and v in range(10),
        }
        return all(key in tests and tests[key](value) for key, value in args.items()) and all(
            key in args for key in self.required[name]
        )

    def call(self, name: str, args: Any) -> dict[str, Any] | None:
        """The result, or None if the call is refused."""
        if not self.fits(name, args):
            return None
        chosen = []
        for effect in self.spec.effects[name]:
            rows = self.tables[effect.table]
            if effect.op == "create":
                found: list[dict[str, Any]] = []
            elif effect.op == "find":
                found = [r for r in rows.values() if all(r.get(c) == args.get(a) for c, a in effect.where.items())]
            else:
                found = [rows[args[effect.key]]] if args.get(effect.key) in rows else []
            subjects = {"row": found, "args": [args]}
            if (effect.op != "create" and not found) or any(
                not self.holds(subject, r) for r in effect.require for subject in subjects[r.of]
            ):
                return None
            chosen.append(found)
        if sum(effect.op == "create" for effect in self.spec.effects[name]) > len(self.unused):
            return None
        result: dict[str, Any] = {}
        for effect, found in zip(self.spec.effects[name], chosen, strict=True):
            written = {c: args.get(s["arg"]) if "arg" in s else s["value"] for c, s in effect.write.items()}
            if effect.op == "create":
                found.append({**written, "id": self.unused.pop(0)})
                self.tables[effect.table][found[0]["id"]] = found[0]
            elif effect.op == "update":
                found[0].update(written)
            elif effect.op == "delete":
                self.tables[effect.table].pop(found[0]["id"], None)
            shown = [{out: row.get(column) for out, column in effect.returns.items()} for row in found]
            result |= shown[0] if len(shown) == 1 else {"results": shown}
        return result or {"result": "ok"}

    @staticmethod
    def holds(row: dict[str, Any], r: Requirement) -> bool:
        if r.field not in row or row[r.field] is None:
            return r.field in row and r.op in ("ne", "not_in")
        if r.op in ("in", "not_in"):
            return (row[r.field] in r.value) == (r.op == "in")
        if isinstance(row[r.field], str):
            return r.op == "ne"
        return {
            "eq": row[r.field] == r.value,
            "ne": row[r.field] != r.value,
            "lt": row[r.field] < r.value,
            "le": row[r.field] <= r.value,
            "gt": row[r.field] > r.value,
            "ge": row[r.field] >= r.value,
        }[r.op]


@given(specs(), calls)
def test_any_sequence_of_calls_does_what_an_independent_model_does(spec_and_tools: Any, calls: Any) -> None:
    spec, tools = spec_and_tools
    world, model = World(spec, compile_validators(tools)), Model(spec, tools)
    for name, args in calls:
        expected = model.call(name, args)
        event = world.call(name, args)
        assert event.ok == (expected is not None)
        assert event.valid == model.fits(name, args)
        if expected is not None:
            assert event.result == expected
        assert world.state() == model.tables


@given(specs(), calls)
def test_a_refused_call_changes_nothing_and_tells_nothing_of_what_it_was_sent(spec_and_tools: Any, calls: Any) -> None:
    spec, tools = spec_and_tools
    world = World(spec, compile_validators(tools))
    for name, args in calls:
        before = world.state()
        event = world.call(name, args)
        if not event.ok:
            assert world.state() == before
            assert list(event.result) == ["error"]
            assert MARKER not in json.dumps(event.result)
        if not event.valid:
            assert event.args == {}


@given(specs(), calls)
def test_every_call_is_logged_in_order(spec_and_tools: Any, calls: Any) -> None:
    spec, tools = spec_and_tools
    world = World(spec, compile_validators(tools))
    returned = [world.call(name, args) for name, args in calls]
    assert world.events == returned
    assert [event.tool for event in returned] == [name for name, _ in calls]


@given(specs(), calls)
def test_the_same_calls_twice_lead_to_the_same_events_and_state(spec_and_tools: Any, calls: Any) -> None:
    spec, tools = spec_and_tools
    first, second = (World(spec, compile_validators(tools)) for _ in range(2))
    for name, args in calls:
        first.call(name, args)
    for name, args in calls:
        second.call(name, args)
    assert first.state() == second.state()
    assert repr(first.events) == repr(second.events)  # NaN is not equal to itself
    assert first.spec == spec
