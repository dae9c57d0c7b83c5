"""GRPO on live episodes: what a step logs, what it changes, and that it can be left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.projects import default_params
from helpers.student import LIMITS, new_episodes
from helpers.tasks import accepted_tasks, rubric_of

from synthagent.episodes.episode import Turn
from synthagent.params import Params
from synthagent.student.checkpoint import LOG
from synthagent.student.model import Student, load_student, save_student

TASKS = {task.id: task for task in accepted_tasks()[:4]}
GROUP = 4


def params_of(steps: int) -> Params:
    """Two tasks a step."""
    params = default_params()
    grpo = params.grpo.model_copy(update={"steps": steps, "prompts_per_step": 2, "group_size": GROUP})
    compute = params.compute.model_copy(update={"processes": 1})
    episode = LIMITS.model_copy(update={"max_tokens": 60})
    return params.model_copy(update={"grpo": grpo, "compute": compute, "episode": episode})


def trained(folder: Path, start: Student, steps: int) -> list[dict[str, Any]]:
    """Train from `start` to `folder`; return the log."""
    from synthagent.student.grpo import GrpoJob  # trl takes seconds: not where the tests are only collected

    save_student(start, folder / "start")
    rubrics = {task.id: rubric_of(task) for task in TASKS.values()}
    GrpoJob(folder / "start", folder / "out", [*TASKS][: 2 * steps], TASKS, rubrics, params_of(steps), None)()
    log: list[dict[str, Any]] = json.loads((folder / "out" / LOG).read_text())
    return log


def test_every_step_is_logged_with_shares_and_means_of_its_episodes(student: Student, tmp_path: Path) -> None:
    from synthagent.student.grpo import GrpoStep

    torch.manual_seed(0)
    steps = [GrpoStep(**row) for row in trained(tmp_path, student, steps=2)]
    assert [step.step for step in steps] == [1, 2]
    for step in steps:
        shares = (step.reward, step.perfect, step.violations, step.dead_groups)
        assert all(0 <= share <= 1 for share in shares)
        assert step.perfect * 2 * GROUP == pytest.approx(round(step.perfect * 2 * GROUP), abs=1e-3)
        assert step.dead_groups in (0, 0.5, 1)
        assert 0 < step.tokens <= 60
        assert 0 <= step.questions <= LIMITS.max_turns
        assert step.entropy > 0


def test_a_training_of_no_steps_leaves_the_student_as_it_is(student: Student, tmp_path: Path) -> None:
    assert trained(tmp_path, student, steps=0) == []
    before, after = (load_student(tmp_path / name).model.state_dict() for name in ("start", "out"))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_watched_rewards_say_what_happened_in_each_episode() -> None:
    from synthagent.judging.reward import Score
    from synthagent.student.grpo import LiveEpisode, perfect, questions, violations

    def ended(gate: float, reward: float, asked: int) -> LiveEpisode:
        live = object.__new__(LiveEpisode)
        (live._episode,) = new_episodes([*TASKS.values()][:1])
        for _ in range(asked):
            live._episode.step(Turn("What is it?"))
        live._score = Score(gate, reward, reward, reward, reward)
        return live

    episodes = [ended(1.0, 1.0, 2), ended(0.0, 0.0, 0), ended(1.0, 0.5, 1)]
    assert perfect(episodes) == [1.0, 0.0, 0.0]
    assert violations(episodes) == [0.0, 1.0, 0.0]
    assert questions(episodes) == [2.0, 0.0, 1.0]
    assert [episode.get_reward() for episode in episodes] == [1.0, 0.0, 0.5]
