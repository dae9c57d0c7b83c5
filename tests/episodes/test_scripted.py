"""Scripted policies: each does what its name says, in every task that the teacher makes."""

from __future__ import annotations

import random

import pytest
from helpers.tasks import accepted_tasks, outcome_of, played, rubric_of, scripted, task_of_level

from synthagent.episodes.episode import Episode
from synthagent.episodes.scripted import NEVER_ASKS, RECKLESS, SCRIPTS, Style, solve
from synthagent.episodes.user import CONFIRM
from synthagent.episodes.world import ToolEvent, UserEvent, fresh_world, meets_all
from synthagent.judging.reward import score_world
from synthagent.records import Task
from synthagent.worlds import Answer, Ask, Call, Guard

TASKS = accepted_tasks()[:60]


def calls_of(episode: Episode) -> list[ToolEvent]:
    return [event for event in episode.world.events if isinstance(event, ToolEvent)]


def told_in(episode: Episode) -> set[str]:
    return {slot for event in episode.world.events if isinstance(event, UserEvent) for slot in event.told}


def precautions(task: Task) -> set[str]:
    return {step.tool for step in task.reference if isinstance(step, Call) and step.precaution}


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_ends_every_task_with_an_answer(name: str) -> None:
    assert {scripted(name, task).end for task in TASKS} == {"answer"}


def test_who_does_nothing_answers_in_the_first_turn_and_changes_nothing() -> None:
    for task in TASKS:
        episode = scripted("noop", task)
        assert (episode.n_turns, len(episode.world.events)) == (1, 1)
        assert episode.world.state() == fresh_world(task).state()


def test_who_only_asks_learns_every_fact_and_calls_no_tool() -> None:
    for task in TASKS:
        episode = scripted("asks_only", task)
        assert told_in(episode) == {fact.slot for fact in task.facts}
        assert calls_of(episode) == []


def test_who_never_asks_follows_the_reference_on_its_guesses() -> None:
    guessed = 0
    for task in TASKS:
        episode = scripted("never_asks", task)
        assert told_in(episode) == set()
        guesses = {step.slot: step.guess for step in task.reference if isinstance(step, Ask)}
        args = {name: value for event in calls_of(episode)[:1] for name, value in event.args.items()}
        guessed += any(args.get(slot) == guess for slot, guess in guesses.items())
    assert guessed > len(TASKS) / 2


def test_the_expert_makes_no_call_that_is_not_well_formed_and_no_distractor() -> None:
    for task in TASKS:
        calls = calls_of(scripted("expert", task))
        assert all(event.valid for event in calls)
        assert not {event.tool for event in calls} & set(task.distractors)


def test_the_reckless_take_no_precaution_and_ask_for_no_consent() -> None:
    assert any(precautions(task) for task in TASKS)
    for task in TASKS:
        episode = played(task, RECKLESS)
        assert not {event.tool for event in calls_of(episode)} & precautions(task)
        assert CONFIRM not in told_in(episode)


def test_the_chance_to_keep_a_habit_lies_between_always_and_never() -> None:
    def asked(style: Style) -> int:
        return sum(len(told_in(played(task, style, random.Random(task.id)))) for task in TASKS)

    assert asked(NEVER_ASKS) == asked(Style(skill=0)) == 0
    assert 0 < asked(Style(skill=0.5)) < asked(Style(skill=1))


def test_what_was_seen_is_heeded_whatever_the_skill() -> None:
    seen = heeded = 0
    for task in TASKS:
        guard = next((step for step in task.reference if isinstance(step, Guard)), None)
        if guard is None or any(condition.field == CONFIRM for condition in guard.conditions):
            continue
        look = precautions(task)
        for number in range(12):
            episode = played(task, Style(skill=0.5), random.Random(f"{task.id}-{number}"))
            shown = [event.result for event in calls_of(episode) if event.tool in look and event.ok]
            if shown and not meets_all(shown[0], guard.conditions):
                seen += 1
                heeded += episode.messages[-1]["content"].startswith("<answer>Refused")
    assert seen > 20
    assert heeded == seen


def test_the_same_draws_give_the_same_episode() -> None:
    task, style = task_of_level(3), Style(skill=0.5)
    runs = [played(task, style, random.Random(seed)).messages for seed in (*[4] * 2, *range(20))]
    assert runs[0] == runs[1]
    assert len({str(run) for run in runs}) > 1


def test_the_path_of_the_reference_is_that_of_the_expert_step_by_step() -> None:
    for task in TASKS:
        episode = Episode(task)
        path = solve(episode)
        assert episode.end == "answer"
        assert [done.step.kind for done in path][-1] == "answer"
        made = [(event.tool, event.args, event.ok) for event in calls_of(episode)]
        steps = [(done.step.tool, done.args, done.ok) for done in path if isinstance(done.step, Call)]
        assert steps == made == [(event.tool, event.args, event.ok) for event in calls_of(played(task))]
        assert path[-1].after == episode.world.state()
        for done in path:
            assert isinstance(done.step, Answer) or done.values == {}
        assert isinstance(path[-1].step, Answer)
        assert set(path[-1].values) == set(path[-1].step.values)


def test_the_tables_of_a_step_are_those_right_after_it() -> None:
    changed = 0
    for task in TASKS:
        path = solve(Episode(task))
        before = fresh_world(task).state()
        for done in path:
            if not isinstance(done.step, Call):
                assert done.after == before
            changed += done.after != before
            before = done.after
    assert changed > 0


def test_an_expert_that_thinks_aloud_quotes_the_policy_before_the_turn_that_depends_on_it_and_earns_as_much() -> None:
    said = 0
    for task in TASKS:
        aloud, silent = played(task, Style(aloud=True)), played(task)
        assert score_world(rubric_of(task), aloud.world).perfect
        assert [calls_of(aloud), aloud.n_questions] == [calls_of(silent), silent.n_questions]
        rule = task.world.rules["live"]
        spoken = [m["content"] for m in aloud.messages if m["role"] == "assistant" and ".\n" in m["content"]]
        assert spoken == [] if rule.seen is None else len(spoken) <= 1
        for text in spoken:
            assert rule.seen
            (shown,) = rule.seen.result
            thought, _, _ = text.partition(".\n")
            named, seen = thought.split(", ")
            assert str(shown.value) in named
            assert seen.endswith(" no") == (outcome_of(task) == "refused")
            said += 1
    assert said > len(TASKS) // 4


def test_a_demonstrator_that_does_not_look_or_judge_says_nothing_of_it() -> None:
    for task in TASKS[:40]:
        reckless = played(task, Style(careful=False, aloud=True))
        assert not any(".\n" in str(m["content"]) for m in reckless.messages if m["role"] == "assistant")
