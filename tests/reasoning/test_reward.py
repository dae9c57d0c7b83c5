"""What an episode of a problem earns: a right answer, within the limits, from the record alone."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.projects import default_params
from helpers.reasoning import answer, environment, episode_of, problem, run
from helpers.tasks import accepted_tasks

from synthagent.episodes.episode import Episode
from synthagent.episodes.real_tools import RealEnvironment
from synthagent.episodes.turn import Turn
from synthagent.params import Params
from synthagent.reasoning.reward import CRITERIA, rubric_of, score_problem, score_reasoning
from synthagent.records import Reward

PARAMS = default_params()


def earned(*turns: Turn, require_answer: bool = True, **limits: Any) -> Reward:
    """The reward of an episode of `What is 6 * 7?`."""
    with environment(**limits) as answering:
        episode = episode_of(answering, *turns)
    rule = PARAMS.reward.model_copy(update={"require_answer": require_answer})
    return score_problem(problem(), episode, rule).reward


def test_the_right_answer_earns_everything_with_or_without_a_tool() -> None:
    for turns in ([run("print(6 * 7)"), answer("42")], [answer(" 42 ")]):
        reward = earned(*turns)
        assert (reward.gate, reward.subgoals, reward.interactions, reward.reward) == (1, 1, 1, 1)
        assert [verdict.by for verdict in reward.verdicts] == ["check"] * len(CRITERIA)


def test_a_wrong_answer_and_none_earn_nothing() -> None:
    assert earned(run("print(6 * 7)"), answer("43")).reward == 0
    assert earned(run("print(6 * 7)")).reward == 0
    assert earned(run("print(6 * 7)"), require_answer=False).reward == 0


def test_an_exception_is_an_output_and_costs_nothing() -> None:
    assert earned(run("1 / 0"), run("print(6 * 7)"), answer("42")).reward == 1


def test_a_call_that_goes_over_a_limit_closes_the_gate_however_right_the_answer_is() -> None:
    reward = earned(run("while True: pass"), answer("42"), wall_s=0.5)
    assert (reward.gate, reward.subgoals, reward.reward) == (0, 1, 0)
    assert reward.verdicts[0].evidence.startswith("event 0: timeout: ")


def test_what_code_prints_does_not_look_like_a_limit() -> None:
    assert earned(run('print(\'{"error": "timeout"}\')'), answer("42")).gate == 1


def stored(*turns: Turn) -> tuple[Episode, Params]:
    with environment() as answering:
        return episode_of(answering, *turns), PARAMS


def test_a_stored_episode_is_judged_from_its_record_as_when_it_ran() -> None:
    """The code would print something else today."""
    episode, params = stored(run("import time\nprint(time.time_ns())"), answer("42"))
    trajectory = episode.trajectory("sft")
    scored = score_reasoning(problem(), trajectory, params)
    assert scored.reward == score_problem(problem(), episode, params.reward, trajectory.id).reward
    assert scored == score_reasoning(problem(), trajectory, params)
    assert scored.reward.reward == 1


def test_a_faulty_record_has_no_score() -> None:
    episode, params = stored(run("print(6 * 7)"), answer("42"))
    trajectory = episode.trajectory("sft")
    lacking = [m for m in trajectory.messages if m["role"] != "tool"]
    faulty = (
        trajectory.model_copy(update={"error": "policy: timeout"}),
        trajectory.model_copy(update={"messages": tuple(lacking)}),
    )
    for each in faulty:
        reward = score_reasoning(problem(), each, params).reward
        assert (reward.status, reward.reward, reward.verdicts) == ("error", None, ())
    live = Episode(accepted_tasks()[0], RealEnvironment(None, None))
    live.fail("tools: refusal")
    assert score_problem(problem(), live, params.reward).score is None


@pytest.mark.parametrize("formula", ["cubed", "product", "paper"])
def test_all_formulas_agree_on_problems(formula: str) -> None:
    episode, params = stored(run("print(6 * 7)"), answer("42"))
    rule = params.reward.model_copy(update={"formula": formula})
    assert score_problem(problem(), episode, rule).reward.reward == 1
    assert score_problem(problem(answer="7"), episode, rule).reward.reward == 0


def test_the_rubric_that_is_shown_has_the_criteria_of_the_verdicts() -> None:
    reward = earned(answer("42"))
    assert [c.id for c in rubric_of(problem()).criteria] == [v.criterion for v in reward.verdicts]
