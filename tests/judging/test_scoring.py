"""The scorer: live or stored, an episode earns the same; a fault of the record is a row, any other fault raises."""

from __future__ import annotations

import pytest
from helpers import dinner
from helpers.projects import default_params
from helpers.tasks import played, rubric_of, scored, task_of_level

from synthagent.episodes.episode import at_once
from synthagent.judging.scoring import needs_judge, score_all, score_episode, score_trajectory
from synthagent.llm.usage import Usage
from synthagent.records import Criterion
from synthagent.worlds import RowExists

PARAMS = default_params()
TASK = task_of_level(1)


def test_a_live_episode_and_its_record_earn_the_same() -> None:
    episode, rubric = played(TASK), rubric_of(TASK)
    live = at_once(score_episode(episode, rubric, PARAMS, name="x"))
    trajectory = episode.trajectory("expert").model_copy(update={"id": "x"})
    stored = at_once(score_trajectory(trajectory, TASK, rubric, PARAMS))
    assert live == stored
    assert (live.score and live.score.perfect, live.reward.status) == (True, "ok")


def test_a_fault_of_the_record_is_a_row_without_a_score() -> None:
    for change in ({"error": "user_fault"}, {"messages": (*played(TASK).messages[:2], {"role": "assistant"}, {})}):
        trajectory = played(TASK).trajectory("expert").model_copy(update=change)
        assert scored(trajectory, TASK).status == "error"


def test_a_fault_that_is_not_the_records_raises() -> None:
    """A rubric about a table that the world does not have is somebody's mistake, and no reason to drop a trajectory."""
    broken = Criterion(id="s1", kind="subgoal", text="x", check=RowExists(table="nowhere", where=()))
    rubric = rubric_of(TASK).model_copy(update={"criteria": (broken,)})
    with pytest.raises(KeyError, match="nowhere"):
        scored(played(TASK).trajectory("expert"), TASK, rubric)


def test_without_a_judge_what_no_check_decides_is_open() -> None:
    episode = dinner.episode()
    polite = Criterion(id="c2", kind="constraint", text="Never be rude.")
    rubric = rubric_of(TASK).model_copy(update={"task_id": episode.task.id, "criteria": (polite,)})
    found = at_once(score_episode(episode, rubric, PARAMS))
    assert (found.reward.status, found.score, found.open, found.void) == ("error", None, 1, 0)
    assert not needs_judge(PARAMS, [rubric])
    judge = PARAMS.roles.judge.model_copy(update={"backend": "openai", "model": "m"})
    judged = PARAMS.model_copy(update={"roles": PARAMS.roles.model_copy(update={"judge": judge})})
    assert needs_judge(judged, [rubric])
    assert not needs_judge(judged, [rubric_of(TASK)])


def test_all_are_scored_in_their_order() -> None:
    good = played(TASK).trajectory("b")
    bad = good.model_copy(update={"id": "a", "error": "user_fault"})
    rows = score_all([good, bad], {TASK.id: TASK}, {TASK.id: rubric_of(TASK)}, PARAMS, "test", Usage({}))
    assert [(row.reward.trajectory_id, row.reward.status) for row in rows] == [(good.id, "ok"), ("a", "error")]
