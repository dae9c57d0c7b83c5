"""Tools that contradict themselves: how often, in what, and that nothing else of the world changes."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from helpers.grpo import params_of
from helpers.tasks import accepted_tasks, rubric_of, tasks_of_all_domains

from synthagent.episodes.episode import EMBEDDED, Episode, at_once, play
from synthagent.episodes.erring import ErringTools
from synthagent.episodes.scripted import reference
from synthagent.episodes.turn import ToolCall
from synthagent.episodes.world import ToolEvent
from synthagent.judging.reward import score_world
from synthagent.records import Task
from synthagent.student.live import training_episodes


def looked_up(task: Task, rate: float) -> list[ToolEvent]:
    """What the tools answer that the expert calls, of those that only read."""
    episode = Episode(task, ErringTools(rate))
    play(episode, reference(episode))
    reading = {name for name, effects in task.world.effects.items() if {e.op for e in effects} <= {"get", "find"}}
    return [e for e in episode.world.events if isinstance(e, ToolEvent) and e.tool in reading and e.ok]


def true_answer(task: Task, event: ToolEvent) -> dict[str, object]:
    return dict(Episode(task).world.call(event.tool, event.args).result)


def test_at_no_rate_nothing_errs_and_at_rate_one_each_answer_is_another_value_that_the_world_knows() -> None:
    random.seed(0)
    erred = 0
    for task in tasks_of_all_domains()[:200]:
        for event in looked_up(task, 0.0):
            assert event.result == true_answer(task, event)
        for event in looked_up(task, 1.0)[:1]:  # later ones may be about what the first made up
            true = true_answer(task, event)
            wrong = [name for name in true if event.result[name] != true[name]]
            assert len(wrong) <= 1
            erred += len(wrong)
            columns = {e.returns[name] for e in task.world.effects[event.tool] for name in wrong}
            known = [row[c] for table in task.world.tables.values() for row in table.rows for c in columns if c in row]
            spoken = [c.value for rule in task.world.rules.values() for c in (rule.seen.result if rule.seen else ())]
            assert all(event.result[name] in (*known, *spoken) for name in wrong)
    assert erred > 150


def test_the_same_call_is_answered_anew_each_time_at_about_the_rate() -> None:
    random.seed(1)
    task = next(t for t in accepted_tasks() if looked_up(t, 0.0) and any(looked_up(t, 1.0)))
    true = looked_up(task, 0.0)[0].result
    first = Counter(looked_up(task, 0.3)[0].result == true for _ in range(400))
    assert first[False] / 400 == pytest.approx(0.3, abs=0.08)


def test_what_a_call_does_to_the_rows_is_never_touched() -> None:
    random.seed(2)
    for task in accepted_tasks()[:60]:
        right, erring = Episode(task), Episode(task, ErringTools(1.0))
        play(right, reference(right))
        calls = [event for event in right.world.events if isinstance(event, ToolEvent)]
        for event in calls:
            answered = at_once(erring.environment.answer(erring, ToolCall(event.tool, dict(event.args))))
            assert answered is erring.world.events[-1]
        assert erring.world.state() == right.world.state()


def test_the_expert_earns_less_where_tools_contradict_themselves() -> None:
    random.seed(3)
    earned = []
    for task in accepted_tasks()[:80]:
        episode = Episode(task, ErringTools(0.5))
        play(episode, reference(episode))
        earned.append(score_world(rubric_of(task), episode.world).perfect)
    assert 0.2 < sum(earned) / len(earned) < 0.9


@pytest.mark.parametrize(("mapping", "rate", "errs"), [(False, 0.4, True), (True, 0.4, False), (False, 0.0, False)])
def test_a_training_has_them_only_where_there_is_no_mapping_and_a_rate(mapping: bool, rate: float, errs: bool) -> None:
    params = params_of(1)
    params = params.model_copy(
        update={
            "episode": params.episode.model_copy(update={"mapping": mapping}),
            "grpo": params.grpo.model_copy(update={"tool_errors": rate}),
        }
    )
    with training_episodes(params, {}, None) as episodes:
        environment = episodes.new(accepted_tasks()[0]).environment
    assert isinstance(environment, ErringTools) == errs
    assert errs or environment is EMBEDDED
