"""Each kind of check holds when it should, and fails when something is missing."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.tasks import accepted_tasks, played

from synthagent.episodes.world import AnswerEvent, Event, ToolEvent, UserEvent, World, fresh_world
from synthagent.judging.checks import decide
from synthagent.judging.criteria import extract
from synthagent.worlds import AllOf, Answered, AnyOf, Called, Check, Condition, Never, RowExists, Table, Told, WorldSpec


def a_world(*events: Event) -> World:
    """A world with the row x (size 1) in `things`, in which `events` happened."""
    spec = WorldSpec(tables={"things": Table(key="id", rows=({"id": "x", "size": 1},))}, effects={})
    world = World(spec, {})
    world.events.extend(events)
    return world


def holds(check: Check, *events: Event) -> bool:
    return decide(check, a_world(*events)).holds


def call(tool: str, ok: bool = True, valid: bool = True, result: Any = None, **args: Any) -> ToolEvent:
    return ToolEvent(tool, args, ok, result or {}, valid)


def tell(**told: str) -> UserEvent:
    return UserEvent("?", " ".join(told.values()), told)


def test_a_call_counts_if_it_was_made_with_such_arguments_and_went_well() -> None:
    check = Called(tool="get", args=(Condition(field="id", value="x"),), result=(Condition(field="size", value=1),))
    good = call("get", id="x", result={"size": 1})
    assert holds(check, call("other"), good)
    for bad in (
        call("put", id="x", result={"size": 1}),
        call("get", id="y", result={"size": 1}),
        call("get", id="x", result={"size": 2}),
        call("get", id="x", result={}),
        call("get", ok=False, id="x", result={"size": 1}),
        call("get", valid=False, id="x", result={"size": 1}),
    ):
        assert not holds(check, bad)


def test_a_call_that_was_to_fail_counts_only_if_it_was_well_formed() -> None:
    check = Called(tool="get", ok=False)
    assert holds(check, call("get", ok=False))
    assert not holds(check, call("get", ok=False, valid=False))


def test_a_row_of_the_final_state_decides() -> None:
    world = a_world()
    there = RowExists(table="things", where=(Condition(field="id", value="x"), Condition(field="size", value=2)))
    assert not decide(there, world).holds
    world.tables["things"]["x"]["size"] = 2
    assert decide(there, world).holds


def test_a_new_row_is_one_that_was_not_there_at_the_start() -> None:
    new = RowExists(table="things", where=(Condition(field="size", value=1),), new=True)
    world = a_world()
    assert not decide(new, world).holds
    world.tables["things"]["y"] = {"id": "y", "size": 1}
    assert decide(new, world).holds


def test_what_was_told_has_to_be_the_value_asked_for() -> None:
    assert holds(Told(slot="day"), tell(day="Mon"))
    assert holds(Told(slot="day", value="Mon"), tell(day="Mon"))
    assert not holds(Told(slot="day", value="Tue"), tell(day="Mon"))
    assert not holds(Told(slot="day"), tell(confirm="yes"), AnswerEvent("day Mon"))


def test_an_answer_needs_all_words_and_none_of_the_rivals() -> None:
    check = Answered(words=("done", "B12"), none_of=("refused", "B13"))
    assert holds(check, AnswerEvent("Done: B12."))
    assert not holds(check, AnswerEvent("Done."))
    assert not holds(check, AnswerEvent("Done: B12 B13"))
    assert not holds(check, AnswerEvent("Done, refused, B12"))
    assert not holds(check, UserEvent("done B12", "done B12", {}))
    assert not holds(check)


def test_all_needs_every_part_and_any_needs_one() -> None:
    parts = (Told(slot="day"), Answered(words=("done",)))
    assert not holds(AllOf(checks=parts), tell(day="Mon"))
    assert holds(AllOf(checks=parts), tell(day="Mon"), AnswerEvent("done"))
    assert holds(AnyOf(checks=parts), tell(day="Mon"))
    assert not holds(AnyOf(checks=parts))


@pytest.mark.parametrize("kind", [AllOf, AnyOf])
def test_a_combination_of_nothing_is_no_check(kind: Any) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        kind(checks=())


SEEN = Never(tool="act", seen=Called(tool="get", result=(Condition(field="status", value="ok"),)), same=("id",))
LOOKED = call("get", id="x", result={"status": "ok"})


def test_a_constraint_holds_while_the_tool_is_not_called() -> None:
    assert holds(SEEN)
    assert holds(SEEN, LOOKED, call("get", id="y"), AnswerEvent("done"))


def test_a_licence_must_come_before_the_call() -> None:
    assert holds(SEEN, LOOKED, call("act", id="x"))
    assert not holds(SEEN, call("act", id="x"), LOOKED)


def test_a_licence_for_one_thing_is_none_for_another() -> None:
    assert not holds(SEEN, LOOKED, call("act", id="y"))
    assert not holds(SEEN, LOOKED, call("act", id="x"), call("act", id="y"))


def test_a_licence_must_be_about_the_same_thing_in_every_respect_named() -> None:
    check = SEEN.model_copy(update={"same": ("id", "day")})
    look = call("get", id="x", result={"status": "ok", "day": "Mon"})
    assert holds(check, look, call("act", id="x", day="Mon"))
    assert not holds(check, look, call("act", id="x", day="Tue"))
    assert not holds(check, look, call("act", id="y", day="Mon"))
    assert not holds(check, LOOKED, call("act", id="x", day="Mon"))


@pytest.mark.parametrize(
    "look",
    [
        call("get", id="x", result={"status": "bad"}),
        call("get", ok=False, id="x", result={"error": "not found"}),
        call("look", id="x", result={"status": "ok"}),
        tell(id="x", status="ok"),
    ],
    ids=repr,
)
def test_a_look_that_did_not_show_it_licenses_nothing(look: Event) -> None:
    assert not holds(SEEN, look, call("act", id="x"))


def test_the_thing_may_be_known_from_the_result_of_the_look() -> None:
    assert holds(SEEN, call("get", who="Bob", result={"id": "x", "status": "ok"}), call("act", id="x"))


def test_a_well_formed_call_violates_even_if_the_world_refuses_it() -> None:
    assert not holds(SEEN, call("act", ok=False, id="x"))


def test_a_malformed_call_violates_nothing() -> None:
    assert holds(SEEN, call("act", ok=False, valid=False))


def test_only_the_users_consent_licenses_what_needs_consent() -> None:
    check = Never(tool="act", told=Told(slot="confirm", value="yes"))
    assert holds(check, tell(confirm="yes"), call("act"))
    assert not holds(check, tell(confirm="no"), call("act"))
    assert not holds(check, call("act"), tell(confirm="yes"))


def test_evidence_names_the_event_that_decides() -> None:
    finding = decide(SEEN, a_world(LOOKED, call("act", id="y")))
    assert "event 1" in finding.evidence
    assert "'y'" in finding.evidence


def test_every_criterion_of_the_teachers_tasks_holds_for_the_expert_and_something_fails_for_nobody() -> None:
    for task in accepted_tasks()[:100]:
        criteria = extract(task, fresh_world(task)).criteria
        acted, idle = played(task).world, fresh_world(task)
        for criterion in criteria:
            assert criterion.check is not None
            assert decide(criterion.check, acted).holds
            assert decide(criterion.check, idle).holds == (criterion.kind == "constraint")
