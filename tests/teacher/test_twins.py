"""Twins: what a pair shares and differs in, what may make one of a task, and that pairs stay whole."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, get_args

import pytest
from helpers.tasks import accepted_tasks, outcome_of
from hypothesis import given
from hypothesis import strategies as st

from synthagent.episodes.user import CONFIRM
from synthagent.episodes.world import meets_all
from synthagent.records import Task
from synthagent.teacher.twins import Change, FactChange, RowChange, RowGone, changes, draw_pairs, in_pairs, pair
from synthagent.worlds import Called, Condition, Effect, Fact, Never, Op, Table, Told, WorldSpec

ROWS = ({"id": "A1", "status": "open", "fee": 5, "paid": True}, {"id": "A2", "status": "lost", "fee": 9, "paid": False})


def a_task(rule: Never | None = None, rows: Sequence[dict[str, Any]] = ROWS) -> Task:
    """A task of no domain: a table, a tool that shows its rows, and a rule."""
    returns = {"state": "status", "price": "fee", "paid": "paid", "id": "id"}
    world = WorldSpec(
        tables={"main": Table(key="id", rows=tuple(rows)), "other": Table(key="id", rows=tuple(rows))},
        effects={"look": (Effect(op="get", table="main", key="id", returns=returns),), "do": ()},
        rules={"live": rule} if rule else {},
    )
    facts = (
        Fact(slot="id", value="A1", phrase="the id is A1"),
        Fact(slot=CONFIRM, value="yes", phrase="yes, go ahead"),
    )
    return accepted_tasks()[0].model_copy(update={"id": "one", "twin_of": None, "facts": facts, "world": world})


# --- a pair ---------------------------------------------------------------------------------------------------------


CHANGES: list[tuple[Change, str]] = [
    (RowChange("main", "A1", "status", "lost"), "world"),
    (RowGone("main", "A1"), "world"),
    (FactChange(CONFIRM, "no", "no, leave it"), "facts"),
]


@pytest.mark.parametrize(("change", "field"), CHANGES)
def test_twins_name_each_other_and_differ_in_what_the_change_says_alone(change: Change, field: str) -> None:
    task = a_task()
    first, twin = pair(task, change, "two")
    assert first == task.model_copy(update={"twin_of": "two"})
    assert (twin.id, twin.twin_of) == ("two", "one")
    differ = {name for name in Task.model_fields if getattr(first, name) != getattr(twin, name)}
    assert differ == {"id", "twin_of", field}


def test_a_change_of_a_row_leaves_all_other_rows_tables_and_rules() -> None:
    task = a_task()
    _, other = pair(task, RowChange("main", "A1", "status", "lost"), "two")
    assert other.world.tables["main"].rows == (ROWS[0] | {"status": "lost"}, ROWS[1])
    _, gone = pair(task, RowGone("main", "A1"), "two")
    assert gone.world.tables["main"].rows == ROWS[1:]
    for twin in (other, gone):
        assert twin.world.tables["other"] == task.world.tables["other"]
        assert twin.world.model_copy(update={"tables": task.world.tables}) == task.world
    assert task.world.tables["main"].rows == ROWS, "the task itself stays as it was"


def test_a_change_of_a_fact_changes_what_the_user_says_of_it_and_keeps_the_order() -> None:
    _, twin = pair(a_task(), FactChange(CONFIRM, "no", "no, leave it"), "two")
    assert [(fact.slot, fact.value, fact.phrase) for fact in twin.facts] == [
        ("id", "A1", "the id is A1"),
        (CONFIRM, "no", "no, leave it"),
    ]


# --- what may make a twin -------------------------------------------------------------------------------------------


def by_row(condition: Condition, rows: Sequence[dict[str, Any]] = ROWS) -> list[RowChange]:
    """The changes of a task whose rule wants a look that shows this first."""
    rule = Never(tool="do", seen=Called(tool="look", result=(condition,)))
    found = list(changes(a_task(rule, rows)))
    assert all(isinstance(change, RowChange) for change in found)
    return [change for change in found if isinstance(change, RowChange)]


VALUES: dict[str, list[Any]] = {"state": ["open", "lost", "new"], "price": [5, 9, 7, 7.5], "paid": [True, False]}


@given(st.data(), st.sampled_from(get_args(Op)), st.sampled_from(sorted(VALUES)))
def test_a_change_of_a_row_turns_what_the_rule_looks_at(data: st.DataObject, op: Op, shown: str) -> None:
    one = st.sampled_from(VALUES[shown])
    listed = op in ("in", "not_in")
    value = data.draw(st.lists(one, min_size=1, max_size=3) if listed else one)
    column = {"state": "status", "price": "fee"}.get(shown, shown)
    licence = Condition(field=column, op=op, value=value)
    found = by_row(Condition(field=shown, op=op, value=value))
    for change in found:
        assert (change.table, change.column) == ("main", column)
        (before,) = (row for row in ROWS if row["id"] == change.key)
        assert meets_all(before, [licence]) != meets_all(before | {column: change.value}, [licence])
    exhaustive = listed and shown == "paid" and set(value) == {True, False}
    if not exhaustive and (shown == "price" or op in ("eq", "ne", "in", "not_in")):
        assert [change.key for change in found] == ["A1", "A2"], "each row has one"


def test_the_value_is_of_the_column_where_there_is_another() -> None:
    assert [change.value for change in by_row(Condition(field="state", value="open"))] == ["lost", "open"]
    assert [c.value for c in by_row(Condition(field="state", value="open"), ROWS[:1])] == ["other"]
    assert [c.value for c in by_row(Condition(field="state", op="in", value=["open", "other"]), ROWS[:1])] == [
        "unknown"
    ]
    assert [c.value for c in by_row(Condition(field="price", value=5), ROWS[:1])] == [6]
    assert [c.value for c in by_row(Condition(field="paid", value=True), ROWS[:1])] == [False]


def test_a_key_is_not_changed_nor_what_the_tool_does_not_show() -> None:
    assert by_row(Condition(field="id", value="A1")) == []
    assert by_row(Condition(field="unheard_of", value="A1")) == []
    never_looked = Never(tool="do", seen=Called(tool="unheard_of", result=(Condition(field="state", value="open"),)))
    assert list(changes(a_task(never_looked))) == []


def test_a_rule_that_no_row_can_meet_or_fail_makes_no_twin() -> None:
    without = [{"id": "A1"}]
    for condition in (Condition(field="state", op=op, value=[]) for op in ("in", "not_in")):
        assert by_row(condition) == by_row(condition, without) == []


def test_a_rule_on_the_users_word_turns_on_that_word() -> None:
    def of(slot: str, value: str | None) -> list[Change]:
        return list(changes(a_task(Never(tool="do", told=Told(slot=slot, value=value)))))

    assert of(CONFIRM, "yes") == [FactChange(CONFIRM, "no", "no, leave it")]
    assert of(CONFIRM, "I agree") == [FactChange(CONFIRM, "I agree", "I agree")]
    assert of("id", None) == [], "any word will do"
    assert of("unheard_of", "yes") == []


def test_without_a_rule_nothing_is_known_to_make_a_twin() -> None:
    assert list(changes(a_task())) == []


def test_what_the_embedded_teacher_changes_is_found_in_its_rules_too() -> None:
    pairs = list(zip(accepted_tasks()[:60:2], accepted_tasks()[1:60:2], strict=True))
    found = 0
    for one, two in pairs:
        task, twin = (one, two) if outcome_of(one) == "done" else (two, one)
        made = [pair(task.model_copy(update={"twin_of": None}), change, twin.id)[1] for change in changes(task)]
        found += any(other.facts == twin.facts and outcome_of(other) == outcome_of(twin) for other in made)
    assert found > len(pairs) * 0.8


# --- pairs stay whole -----------------------------------------------------------------------------------------------


def named(*names: str) -> list[Task]:
    """Tasks by name: `a1` and `a2` are twins, `b` has none."""
    return [
        a_task().model_copy(update={"id": name, "twin_of": f"{name[0]}{3 - int(name[1])}" if name[1:] else None})
        for name in names
    ]


def names(tasks: Sequence[Task]) -> list[str]:
    return [task.id for task in tasks]


def test_twins_are_put_together_in_the_order_of_the_first_of_them() -> None:
    groups = in_pairs(named("c2", "b", "a1", "c1", "d2", "a2"))
    assert [names(group) for group in groups] == [["c2", "c1"], ["b"], ["a1", "a2"], ["d2"]]
    assert in_pairs([]) == []


WHOLE = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)


@given(WHOLE, st.sets(st.sampled_from("abcdefgh")), st.integers(0, 20), st.integers(0, 3))
def test_what_is_drawn_are_whole_pairs_no_more_than_asked_for(
    letters: list[str], alone: set[str], count: int, seed: int
) -> None:
    pairs = in_pairs(named(*(name for x in letters for name in ([x] if x in alone else [f"{x}1", f"{x}2"]))))
    drawn = draw_pairs(pairs, count, random.Random(seed))
    assert {tuple(names(group)) for group in in_pairs(drawn)} <= {tuple(names(group)) for group in pairs}
    total = sum(map(len, pairs))
    assert len(drawn) <= max(count, 2)
    assert len(drawn) >= min(count, total) - 1, "one is left over at most, where only pairs remain"
    assert names(drawn) == names(draw_pairs(pairs, count, random.Random(seed)))
    if count >= total:
        assert sorted(names(drawn)) == sorted(name for group in pairs for name in names(group))


def test_which_pairs_are_drawn_depends_on_the_draw() -> None:
    pairs = in_pairs(accepted_tasks()[:60])
    first, other = (names(draw_pairs(pairs, 20, random.Random(seed))) for seed in (0, 1))
    assert len(set(first)) == len(set(other)) == 20
    assert set(first) != set(other)
