"""Tasks without an information gap: the instruction says all, nothing has to be asked, and the rest is as before."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest
from helpers.fake_openai import serving
from helpers.projects import default_params, write_params
from helpers.simulated import params_for
from helpers.tasks import accepted_tasks, outcome_of, played, rubric_of, scored

from synthagent.episodes.scripted import NEVER_ASKS, Style
from synthagent.errors import ParamsError
from synthagent.judging.proofs import PROOFS, WITHOUT_GAP
from synthagent.params_file import load_params
from synthagent.records import Task
from synthagent.stages import rubrics
from synthagent.stages import tasks as stage
from synthagent.stages.personas import built_in
from synthagent.stages.tasks import propose
from synthagent.teacher.acceptance import judge_proposals
from synthagent.teacher.domains import load_vocabulary

COUNT = 300


@lru_cache
def told_tasks() -> tuple[Task, ...]:
    """As `accepted_tasks`, without the gap."""
    params = default_params().tasks.model_copy(update={"information_gap": False})
    personas, vocabulary = tuple(built_in()), load_vocabulary()
    proposals = (propose(n, personas, vocabulary, params, seed=7) for n in range(COUNT // 2))
    return tuple(row for row in judge_proposals(proposals, WITHOUT_GAP) if isinstance(row, Task))


def test_they_are_the_same_tasks_but_for_the_instruction_which_says_what_the_user_would() -> None:
    before = {task.id: task for task in accepted_tasks(COUNT)}
    assert len(told_tasks()) > 0.95 * len(before)
    for task in told_tasks():
        known = before.get(task.id)
        if known is None:
            continue
        assert task.instruction.startswith(known.instruction)
        assert all(fact.phrase.lower() in task.instruction.lower() for fact in task.facts)
        same = ("facts", "tools", "constraints", "world", "reference", "split", "twin_of", "domain")
        assert [getattr(task, name) for name in same] == [getattr(known, name) for name in same]
        assert outcome_of(task) == outcome_of(known)


def test_the_proofs_that_need_a_gap_are_told_as_they_are_and_the_others_hold() -> None:
    for task in told_tasks():
        assert all(getattr(task, name) for name in WITHOUT_GAP)
        assert (task.no_leak, task.needs_user) == (False, False)
    assert {task.constraint_live for task in told_tasks()} == {True, False}, "who was told yes need not wait"
    assert set(WITHOUT_GAP) < set(PROOFS)


def test_without_asking_all_is_earned_and_there_is_no_interaction_to_be_had() -> None:
    for task in told_tasks()[:100]:
        episode = played(task, NEVER_ASKS)
        assert episode.n_questions == 0
        earned = scored(episode.trajectory("never_asks"), task)
        assert (earned.reward, earned.status) == (1.0, "ok")
        assert not [c for c in rubric_of(task).criteria if c.kind == "interaction"]


def test_demonstrations_do_not_ask() -> None:
    params = default_params()
    demos = [demo for task in told_tasks()[:60] for demo in rubrics.demonstrate(task, params).demos]
    assert len(demos) > 60
    assert not any(demo.n_questions for demo in demos)


def test_a_user_who_is_asked_nevertheless_answers() -> None:
    task = next(task for task in told_tasks() if task.facts)
    asked = played(task.model_copy(update={"no_leak": True}), Style())
    assert asked.n_questions > 0, "the same task, taken as one with a gap"


def test_consent_that_the_instruction_gives_counts_and_refusal_does_too() -> None:
    consent = [task for task in told_tasks() if any(fact.slot == "confirm" for fact in task.facts)]
    outcomes = {outcome_of(task) for task in consent}
    assert {"done", "kept"} <= outcomes
    for task in consent:
        assert scored(played(task).trajectory("expert"), task).reward == 1.0


def test_a_teacher_that_is_a_model_is_refused_with_the_remedy(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(lambda _: "") as server:
        params = params_for(tmp_path, server.base_url, "teacher")
    params = params.model_copy(update={"tasks": params.tasks.model_copy(update={"information_gap": False})})
    with pytest.raises(ParamsError, match=r"tasks\.information_gap: .*; set it to true, or roles\.teacher\.backend"):
        stage.run(params)
    assert load_params(write_params(project, {})).tasks.information_gap
