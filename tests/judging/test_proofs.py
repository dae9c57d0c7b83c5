"""Each proof holds for a sound task and fails for one that is broken in just that way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from helpers.tasks import accepted_tasks, outcome_of, task_of_level

from synthagent.episodes.world import fresh_world
from synthagent.judging.criteria import Derived, extract
from synthagent.judging.proofs import PROOFS, Decisive, Uniqueness, decisive, leaked, prove
from synthagent.records import Task
from synthagent.teacher.acceptance import alone
from synthagent.worlds import Answer, Answered, Ask, Call, Constraint, Fact, Guard, Never, Tool


def is_allowed_look_first(task: Task) -> bool:
    """A task in which the expert looks, is permitted to act, acts and reports."""
    return task.workflow[-1].startswith("Report") and any(isinstance(s, Call) and s.precaution for s in task.reference)


SOUND = alone(task_of_level(1, is_allowed_look_first))
PAIRS = list(zip(accepted_tasks()[::2], accepted_tasks()[1::2], strict=True))


def broken(task: Task = SOUND, **changes: Any) -> Task:
    return task.model_copy(update=changes)


def failures(task: Task) -> set[str]:
    return {name for name, holds in prove(task).holds.items() if not holds}


def test_a_sound_task_holds_every_proof_that_running_it_can_give() -> None:
    proved = prove(SOUND)
    assert failures(SOUND) == set()
    assert set(proved.holds) == set(PROOFS) - {"unique", "decisive"}
    assert set(proved.detail) == set(proved.holds)
    assert isinstance(proved.extracted, Derived)


def test_a_reference_that_breaks_its_own_policy_does_not_solve() -> None:
    careless = tuple(s for s in SOUND.reference if not (isinstance(s, Guard) or (isinstance(s, Call) and s.precaution)))
    proved = prove(broken(reference=careless))
    assert not proved.holds["solvable"]
    assert proved.detail["solvable"] == "the reference earns 0.000"


def test_a_reference_that_never_answers_does_not_solve() -> None:
    assert "solvable" in failures(broken(reference=SOUND.reference[:-1]))


def test_a_task_of_no_steps_is_not_solvable() -> None:
    assert "solvable" in failures(broken(reference=()))


def test_an_answer_that_names_a_value_unknown_to_the_expert_is_a_broken_task() -> None:
    *steps, last = SOUND.reference
    assert isinstance(last, Answer)
    with pytest.raises(KeyError):
        prove(broken(reference=(*steps, last.model_copy(update={"values": ("never_learnt",)}))))


def test_a_task_that_can_be_solved_without_asking_does_not_need_its_user() -> None:
    known = {fact.slot: fact.value for fact in SOUND.facts}
    steps = []
    for step in SOUND.reference:
        if isinstance(step, Ask):
            continue
        steps.append(step.model_copy(update={"guess": known}) if isinstance(step, Call) else step)
    proved = prove(broken(reference=tuple(steps)))
    assert proved.holds["solvable"]
    assert not proved.holds["needs_user"]
    assert proved.detail["needs_user"] == "without asking it earns 1.000"


def test_a_constraint_on_a_tool_that_nobody_is_tempted_to_call_is_not_live() -> None:
    rules = {name: Never(tool=SOUND.distractors[0], seen=rule.seen) for name, rule in SOUND.world.rules.items()}
    assert failures(broken(world=SOUND.world.model_copy(update={"rules": rules}))) == {"constraint_live"}


def test_a_task_without_constraints_has_no_live_one() -> None:
    assert failures(broken(constraints=())) == {"constraint_live"}


@pytest.mark.parametrize("form", ["It is {value}.", "{value}", "({value})", "my {lower}, please"])
def test_a_value_in_the_instruction_is_a_leak(form: str) -> None:
    fact = SOUND.facts[0]
    said = form.format(value=fact.value, lower=fact.value.lower())
    task = broken(instruction=f"{SOUND.instruction} {said}")
    assert failures(task) == {"no_leak"}
    assert leaked(task) == [fact.slot]
    assert fact.slot in prove(task).detail["no_leak"]


def test_a_value_in_a_tools_schema_is_a_leak() -> None:
    fact = SOUND.facts[0]
    *others, last = SOUND.tools
    properties = {**last.parameters["properties"], "x": {"enum": ["Q99", fact.value]}}
    last = last.model_copy(update={"parameters": {**last.parameters, "properties": properties}})
    assert failures(broken(tools=(*others, last))) == {"no_leak"}


def test_a_value_at_the_start_of_a_line_of_a_description_is_a_leak() -> None:
    tool = Tool(name="look", description=f"For example\n{SOUND.facts[0].value}")
    assert leaked(broken(tools=(tool,))) == [SOUND.facts[0].slot]


@pytest.mark.parametrize("value", ["Zoë", "北京", "Ångström 7"])
def test_a_value_of_any_script_can_leak(value: str) -> None:
    facts = (Fact(slot="where", value=value, phrase=f"it is {value}"),)
    assert leaked(broken(facts=facts)) == []
    assert leaked(broken(facts=facts, instruction=f"Go to {value}!")) == ["where"]
    assert leaked(broken(facts=facts, tools=(Tool(name="look", parameters={"enum": [value]}),))) == ["where"]


def test_the_same_task_under_another_id_is_not_unique() -> None:
    index = Uniqueness()
    assert index.near_duplicate_of(SOUND) is None
    assert index.near_duplicate_of(broken(id="again")) == SOUND.id


def test_a_task_that_differs_in_one_value_is_not_unique() -> None:
    index = Uniqueness()
    index.near_duplicate_of(SOUND)
    first, *rest = SOUND.facts
    other = first.model_copy(update={"value": "Q99", "phrase": first.phrase.replace(first.value, "Q99")})
    assert index.near_duplicate_of(broken(id="near", facts=(other, *rest))) == SOUND.id


def test_what_is_like_another_does_not_enter_the_index() -> None:
    index = Uniqueness()
    index.near_duplicate_of(SOUND)
    assert index.near_duplicate_of(broken(id="second")) == SOUND.id
    assert index.near_duplicate_of(broken(id="third")) == SOUND.id


def test_twins_are_not_like_each_other_but_a_third_is_like_one_of_them() -> None:
    for one, two in PAIRS[:40]:
        for first, second in ((one, two), (two, one)):
            index = Uniqueness()
            assert [index.near_duplicate_of(task) for task in (first, second)] == [None, None]
            assert index.near_duplicate_of(broken(first, id="third")) == first.id, (
                "it claims to be the twin of the other"
            )
            assert index.near_duplicate_of(broken(first, id="third", twin_of=None)) in (first.id, second.id)


def test_different_tasks_are_unique_and_the_order_of_asking_does_not_matter() -> None:
    tasks = accepted_tasks()[:200]
    forwards, backwards = Uniqueness(), Uniqueness()
    assert [forwards.near_duplicate_of(task) for task in tasks] == [None] * len(tasks)
    assert [backwards.near_duplicate_of(task) for task in reversed(tasks)] == [None] * len(tasks)


# --- decisive -------------------------------------------------------------------------------------------------------


def found(task: Task) -> Derived:
    return extract(task, fresh_world(task))


def of(task: Task, twin: Task) -> Decisive:
    return decisive(task, twin, found(task), found(twin))


ONE, TWO = next(pair for pair in PAIRS if outcome_of(pair[0]) == "done")


def test_the_teachers_twins_are_decisive_whichever_comes_first() -> None:
    for one, two in PAIRS[:60]:
        assert of(one, two).holds, one.id
        assert of(two, one).holds, one.id
    assert of(ONE, TWO).detail == f"{ONE.id} ends done, {TWO.id} {outcome_of(TWO)}"


def test_two_that_end_alike_are_not_decisive() -> None:
    again = broken(ONE, id="again")
    assert of(ONE, again) == Decisive(False, f"{ONE.id} and again both end done")


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("instruction", {"instruction": f"{TWO.instruction} Please."}),
        ("tools", {"tools": TWO.tools[::-1]}),
        ("constraints", {"constraints": (*TWO.constraints, Constraint(id="more", text="Never be rude."))}),
        ("what the tools do", {"world": TWO.world.model_copy(update={"effects": {}})}),
        ("rules", {"world": TWO.world.model_copy(update={"rules": {}})}),
        ("slots of facts", {"facts": (*TWO.facts, Fact(slot="more", value="x", phrase="x"))}),
    ],
)
def test_two_that_do_not_look_the_same_are_not_decisive_and_where_they_differ_is_told(
    what: str, changes: dict[str, Any]
) -> None:
    other = broken(TWO, **changes)
    proof = decisive(ONE, other, found(ONE), found(TWO))
    assert proof == Decisive(False, f"{ONE.id} and {TWO.id} differ in {what}")
    assert decisive(other, ONE, found(TWO), found(ONE)).detail == f"{TWO.id} and {ONE.id} differ in {what}"


def test_a_path_that_earns_too_much_in_the_other_twin_is_told_with_its_figure() -> None:
    own, its = found(ONE), found(TWO)
    copied = replace(its, turns=own.turns)
    assert decisive(ONE, TWO, own, copied).detail == f"the path of {TWO.id} earns 1.000 in {ONE.id}"
    assert decisive(TWO, ONE, copied, own).detail == f"the path of {TWO.id} earns 1.000 in {ONE.id}"
    copied = replace(own, turns=its.turns)
    assert decisive(ONE, TWO, copied, its).detail == f"the path of {ONE.id} earns 1.000 in {TWO.id}"


def test_half_the_reward_in_the_other_twin_is_not_too_much() -> None:
    own = found(ONE)
    names = [criterion.id for criterion in own.criteria if criterion.kind == "subgoal"]
    other = broken(ONE, id="other")
    for extra, holds in ((len(names), True), (len(names) - 1, False)):
        unmet = tuple(
            own.criteria[-1].model_copy(update={"id": f"x{n}", "kind": "subgoal", "check": Answered(words=("never",))})
            for n in range(extra)
        )
        harder = replace(own, criteria=(*own.criteria, *unmet), outcome="refused")
        assert decisive(ONE, other, replace(harder, outcome="done"), harder).holds == holds


def test_proving_is_repeatable_and_leaves_the_task_alone() -> None:
    before = SOUND.model_dump_json()
    assert prove(SOUND) == prove(SOUND)
    assert SOUND.model_dump_json() == before
