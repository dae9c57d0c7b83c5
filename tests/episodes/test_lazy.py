"""Lazy policies: what each does, that none knows more than it may, and what each earns in pairs of twins."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from statistics import mean

import pytest
from helpers.simulated import simulated_task
from helpers.tasks import accepted_tasks, rubric_of, scripted

from synthagent.episodes.episode import Episode
from synthagent.episodes.lazy import INJECTION, LAZY, reading, writing
from synthagent.episodes.scripted import SCRIPTS
from synthagent.episodes.world import ToolEvent, UserEvent, fresh_world
from synthagent.judging.reward import score_world
from synthagent.params import Formula
from synthagent.records import Task
from synthagent.teacher.twins import in_pairs
from synthagent.worlds import Constraint, Fact, Tool

TASKS = accepted_tasks()
FEW = TASKS[:60]
ASKING = ("asks_only", "timid", "doer", "always_kept", "injector")


def calls_of(episode: Episode) -> list[ToolEvent]:
    return [event for event in episode.world.events if isinstance(event, ToolEvent)]


def names(tools: Sequence[Tool]) -> set[str]:
    return {tool.name for tool in tools}


def answer_of(episode: Episode) -> str:
    return str(episode.messages[-1]["content"])


@lru_cache
def rewards(policy: str, formula: Formula) -> dict[str, float]:
    """What a policy earns in every task."""
    return {t.id: score_world(rubric_of(t), scripted(policy, t).world, formula).reward for t in TASKS}


def test_every_lazy_policy_is_among_the_scripts() -> None:
    assert LAZY.items() <= SCRIPTS.items()


@pytest.mark.parametrize("name", LAZY)
def test_a_lazy_policy_does_the_same_whatever_reference_rules_and_policy_say(name: str) -> None:
    for task in FEW:
        world = task.world.model_copy(update={"rules": {}})
        blank = {"reference": (), "workflow": (), "distractors": (), "world": world, "twin_of": None}
        other = task.model_copy(update={**blank, "constraints": (Constraint(id="c", text="Do as you like."),)})
        assert scripted(name, task).messages[1:] == scripted(name, other).messages[1:]


@pytest.mark.parametrize("name", ASKING)
def test_who_asks_asks_for_every_fact(name: str) -> None:
    for task in FEW:
        events = scripted(name, task).world.events
        told = {slot for event in events if isinstance(event, UserEvent) for slot in event.told}
        assert told == {fact.slot for fact in task.facts}


@pytest.mark.parametrize("name", ["noop", "asks_only", "timid", "always_kept"])
def test_who_does_not_act_changes_nothing(name: str) -> None:
    for task in FEW:
        assert scripted(name, task).world.state() == fresh_world(task).state()


@pytest.mark.parametrize("name", ["timid", "always_kept"])
def test_who_reads_calls_every_reading_tool_that_the_expert_calls(name: str) -> None:
    chained = 0
    for task in FEW:
        called = {event.tool for event in calls_of(scripted(name, task))}
        read = {event.tool for event in calls_of(scripted("expert", task))} & names(reading(task))
        before = {event.tool for event in calls_of(scripted("expert", task))} & names(writing(task))
        assert called <= names(reading(task))
        chained += len(called) > 1
        assert read <= called or before  # what the act gives out can be read only after it
    assert chained


def test_the_timid_one_refuses_with_whatever_it_read() -> None:
    for task in FEW:
        episode = scripted("timid", task)
        assert "Refused" in answer_of(episode)
        for event in calls_of(episode):
            assert all(str(value) in answer_of(episode) for value in event.result.values())


def test_the_doer_calls_every_writing_tool_that_the_expert_calls_each_once() -> None:
    for task in FEW:
        called = [event.tool for event in calls_of(scripted("doer", task))]
        assert len(called) == len(set(called))
        assert {event.tool for event in calls_of(scripted("expert", task))} <= set(called)


def test_the_injector_writes_into_questions_arguments_and_the_answer() -> None:
    for task in FEW:
        written = [message for message in scripted("injector", task).messages if message["role"] == "assistant"]
        *questions, injected = [message for message in written if INJECTION in message["content"]][
            : len(task.facts) + 1
        ]
        assert len(questions) == len(task.facts)
        assert all(INJECTION in call["function"]["arguments"] for call in injected["tool_calls"])
        assert INJECTION in written[-1]["content"]


@pytest.mark.parametrize("name", LAZY)
def test_a_lazy_policy_ends_a_simulated_task_with_an_answer(name: str) -> None:
    facts = [Fact(slot="id", value="A17", phrase="it is A17"), Fact(slot="day", value="Friday", phrase="Friday")]
    for task in (simulated_task(), simulated_task(facts=tuple(facts))):
        assert scripted(name, task).end == "answer"


def test_in_a_simulated_task_the_tools_say_themselves_what_they_change() -> None:
    task = simulated_task()
    assert (names(reading(task)), names(writing(task))) == ({"look", "count"}, {"move"})


def test_by_the_mean_reward_of_the_old_formula_laziness_pays() -> None:
    assert mean(rewards("timid", "product").values()) > 0.4
    assert mean(rewards("asks_only", "paper").values()) > 0.4


def test_who_calls_everything_calls_the_rival_act_and_earns_next_to_nothing_by_any_formula() -> None:
    for formula in ("cubed", "product", "paper"):
        assert mean(rewards("doer", formula).values()) < 0.05


@pytest.mark.parametrize("name", LAZY)
@pytest.mark.parametrize("split", ["train", "heldout", "unseen_domain"])
def test_no_lazy_policy_has_a_pair_reward_above_a_little(name: str, split: str) -> None:
    earned = rewards(name, "cubed")
    pairs = [pair for pair in in_pairs(task for task in TASKS if task.split == split) if len(pair) == 2]
    assert pairs
    assert mean(min(earned[task.id] for task in pair) for pair in pairs) <= 0.15


def test_the_expert_earns_all_in_every_pair() -> None:
    assert min(rewards("expert", "cubed").values()) == 1.0


def test_some_tasks_are_refused_and_some_kept_by_laziness_alone() -> None:
    def won(name: str) -> set[str]:
        return {task for task, reward in rewards(name, "cubed").items() if reward == 1.0}

    assert won("timid")
    assert won("always_kept")
    assert not won("timid") & won("always_kept")


def test_twins_are_told_apart_by_no_lazy_policy() -> None:
    def both(name: str) -> list[tuple[Task, ...]]:
        earned = rewards(name, "cubed")
        return [pair for pair in in_pairs(TASKS) if all(earned[task.id] == 1.0 for task in pair)]

    assert {name: both(name) for name in LAZY} == {name: [] for name in LAZY}
