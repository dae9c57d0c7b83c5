"""Criteria are read off the reference's path; any other path to the same end counts as well."""

from __future__ import annotations

from helpers.tasks import accepted_tasks, played, rubric_of, task_of_level

from synthagent.episodes.episode import Episode
from synthagent.episodes.scripted import solve
from synthagent.episodes.turn import Turn
from synthagent.episodes.world import ToolEvent, fresh_world
from synthagent.judging.checks import decide
from synthagent.judging.criteria import OUTCOMES, extract
from synthagent.judging.reward import score_world
from synthagent.records import Criterion, Task
from synthagent.worlds import AllOf, Answered, Ask, Call, RowExists, Told


def criteria_of(task: Task) -> tuple[Criterion, ...]:
    return extract(task, fresh_world(task)).criteria


def is_done(task: Task) -> bool:
    return "done" in answered_of(task).words


def answered_of(task: Task) -> Answered:
    """The check on the words of the final answer."""
    last = criteria_of(task)[-1].check
    said = last.checks[0] if isinstance(last, AllOf) else last
    assert isinstance(said, Answered)
    return said


def test_there_is_a_criterion_for_each_constraint_and_each_step_that_the_expert_takes() -> None:
    for task in accepted_tasks()[:100]:
        steps = [done.step for done in solve(Episode(task))]
        kinds = [criterion.kind for criterion in criteria_of(task)]
        assert kinds.count("constraint") == len(task.constraints)
        assert kinds.count("interaction") == sum(isinstance(step, Ask) for step in steps)
        assert kinds.count("subgoal") == len(steps) - kinds.count("interaction")


def test_every_criterion_has_an_id_of_its_own_a_text_and_a_check() -> None:
    for task in accepted_tasks()[:100]:
        criteria = criteria_of(task)
        assert len({criterion.id for criterion in criteria}) == len(criteria)
        assert all(criterion.text and criterion.check is not None for criterion in criteria)


def test_the_workflow_is_the_milestones_of_the_path_and_the_tasks_own() -> None:
    for task in accepted_tasks()[:100]:
        extracted = extract(task, fresh_world(task))
        assert extracted.workflow == task.workflow
        assert extracted.workflow == tuple(c.text for c in extracted.criteria if c.kind != "constraint")


def test_a_required_interaction_is_met_by_the_fact_told_in_whatever_words() -> None:
    task = task_of_level(1)
    fact = task.facts[0]
    interaction = next(c for c in criteria_of(task) if c.kind == "interaction")
    assert interaction.check == Told(slot=fact.slot)
    world = fresh_world(task)
    Episode(task, world=world).step(Turn(f"Could I have your {fact.slot.replace('_', ' ')}?"))
    assert decide(Told(slot=fact.slot), world).holds


def changes_a_row(task: Task) -> bool:
    return any(isinstance(criterion.check, RowExists) and not criterion.check.new for criterion in criteria_of(task))


def test_a_subgoal_that_changes_a_row_is_met_by_any_way_to_that_state() -> None:
    task = task_of_level(1, changes_a_row)
    criterion = next(c for c in criteria_of(task) if isinstance(c.check, RowExists))
    assert isinstance(criterion.check, RowExists)
    world = fresh_world(task)
    assert not decide(criterion.check, world).holds
    key = world.spec.tables[criterion.check.table].key
    wanted = {condition.field: condition.value for condition in criterion.check.where}
    world.tables[criterion.check.table][wanted[key]].update(wanted)
    assert decide(criterion.check, world).holds


def makes_a_row(task: Task) -> bool:
    return any(isinstance(criterion.check, RowExists) and criterion.check.new for criterion in criteria_of(task))


def test_a_created_row_is_known_by_what_it_holds_not_by_its_key() -> None:
    task = task_of_level(1, makes_a_row)
    criterion = next(c for c in criteria_of(task) if isinstance(c.check, RowExists) and c.check.new)
    assert isinstance(criterion.check, RowExists)
    key = task.world.tables[criterion.check.table].key
    assert key not in {condition.field for condition in criterion.check.where}
    world = fresh_world(task)
    row = {condition.field: condition.value for condition in criterion.check.where}
    world.tables[criterion.check.table]["ZZZ"] = {key: "ZZZ", **row}
    assert decide(criterion.check, world).holds


def test_an_answer_must_not_name_the_other_outcomes() -> None:
    for task in accepted_tasks()[:100]:
        check = answered_of(task)
        (outcome,) = set(OUTCOMES) & set(check.words)
        assert set(OUTCOMES) - {outcome} <= set(check.none_of)
        assert not set(check.words) & set(check.none_of)


def test_naming_every_value_there_is_does_not_count_as_an_answer() -> None:
    task = task_of_level(3, lambda t: len(answered_of(t).words) > 1)
    check = answered_of(task)
    episode = played(task)
    assert decide(check, episode.world).holds
    said = episode.messages[-1]["content"].removesuffix("</answer>")
    shotgun = fresh_world(task)
    Episode(task, world=shotgun).step(Turn(f"{said} {' '.join(check.none_of)}</answer>"))
    assert not decide(check, shotgun).holds


def test_saying_done_without_having_done_it_meets_no_subgoal() -> None:
    for task in accepted_tasks()[:100]:
        if not is_done(task):
            continue
        world = fresh_world(task)
        said = " ".join(answered_of(task).words)
        Episode(task, world=world).step(Turn(f"<answer>{said}</answer>"))
        assert score_world(rubric_of(task), world).subgoals == 0


def test_extraction_leaves_the_task_as_it_was_and_is_the_same_each_time() -> None:
    task = task_of_level(3)
    before = task.model_dump_json()
    assert criteria_of(task) == criteria_of(task)
    assert task.model_dump_json() == before


def test_a_look_is_a_subgoal_that_only_that_call_meets() -> None:
    task = task_of_level(1, lambda t: any(isinstance(step, Call) and step.precaution for step in t.reference))
    look = next(step for step in task.reference if isinstance(step, Call) and step.precaution)
    criterion = next(c for c in criteria_of(task) if c.text == look.milestone)
    assert criterion.check is not None
    world = played(task).world
    assert decide(criterion.check, world).holds
    others = [event for event in world.events if not (isinstance(event, ToolEvent) and event.tool == look.tool)]
    world.events[:] = others
    assert not decide(criterion.check, world).holds
