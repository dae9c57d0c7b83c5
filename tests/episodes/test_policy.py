"""A policy is one protocol: whoever acts takes starts and gives trajectories, within its setting."""

from __future__ import annotations

import pytest
from helpers.tasks import accepted_tasks, rubric_of, task_of_level

from synthagent.episodes.policy import Policy, ScriptedPolicy, Setting, Start
from synthagent.episodes.rerun import rerun
from synthagent.episodes.scripted import SCRIPTS
from synthagent.judging.reward import score_world


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_scripted_policy_acts_in_every_start_in_order(name: str) -> None:
    policy: Policy = ScriptedPolicy(name, SCRIPTS[name], Setting())
    starts = [Start(task, sample) for task in accepted_tasks()[:10] for sample in (0, 7)]
    rows = list(policy.run(starts))
    assert [(row.task_id, row.sample, row.policy) for row in rows] == [(t.id, n, name) for t, n in starts]
    assert {row.end for row in rows} == {"answer"}
    assert (policy.name, policy.decoding) == (name, "scripted")


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_the_setting_limits_the_turns_of_a_script(limit: int) -> None:
    task = task_of_level(3)
    (row,) = ScriptedPolicy("expert", SCRIPTS["expert"], Setting(max_turns=limit)).run([Start(task)])
    assert (row.n_turns, row.end) == (limit, "turn_limit")
    assert score_world(rubric_of(task), rerun(task, row.messages, limit).world).reward == 0
