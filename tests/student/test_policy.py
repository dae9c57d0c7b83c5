"""The student as a policy: seeds, order, processes, and the device."""

from __future__ import annotations

import copy

import pytest
import torch
from helpers.projects import default_params
from helpers.student import LIMITS, tasks_of_different_length
from helpers.tasks import accepted_tasks

from synthagent.episodes.policy import Setting, Start
from synthagent.params import EpisodeParams, Params
from synthagent.student.format import ChatFormat
from synthagent.student.model import Student
from synthagent.student.policy import StudentPolicy
from synthagent.student.processes import workers


def params_with(limits: EpisodeParams = LIMITS, seed: int = 0) -> Params:
    return default_params().model_copy(update={"episode": limits, "seed": seed})


def policy_of(student: Student, limits: EpisodeParams = LIMITS, seed: int = 0, **more: object) -> StudentPolicy:
    return StudentPolicy("me", student, params_with(limits, seed), Setting(max_turns=limits.max_turns), **more)  # type: ignore[arg-type]


def test_every_start_becomes_a_trajectory_in_its_order(student: Student) -> None:
    starts = [Start(task, number) for task in tasks_of_different_length(student.tokenizer, 3) for number in (4, 5)]
    policy = policy_of(student)
    rows = list(policy.run(starts))
    assert (policy.decoding, [row.id for row in rows]) == ("sampled", [f"{t.id}.me.{number}" for t, number in starts])
    for row, (task, number) in zip(rows, starts, strict=True):
        assert (row.task_id, row.sample, row.policy) == (task.id, number, "me")
        assert row.prompt_tokens == len(ChatFormat.of(student.tokenizer).prompt_ids(task))
        assert 0 < row.completion_tokens <= LIMITS.max_tokens
        assert row.n_turns <= LIMITS.max_turns
    assert rows == list(policy.run(starts))
    assert policy_of(student, greedy=True).decoding == "greedy"


def test_the_turns_end_where_the_setting_says(student: Student) -> None:
    starts = [Start(task) for task in tasks_of_different_length(student.tokenizer, 4)]
    rows = policy_of(student, LIMITS.model_copy(update={"max_turns": 1})).run(starts)
    assert {row.n_turns for row in rows} <= {0, 1}


def test_batches_of_one_run_and_runs_of_other_seeds_differ(student: Student) -> None:
    limits = LIMITS.model_copy(update={"max_tokens": 30})
    task = accepted_tasks()[0]
    rows = list(policy_of(student, limits).run([Start(task, number) for number in range(70)]))
    other = list(policy_of(student, limits, seed=1).run([Start(task, number) for number in range(64)]))
    assert [row.messages for row in rows[:6]] != [row.messages for row in rows[64:]]
    assert [row.messages for row in rows[:64]] != [row.messages for row in other]


def test_trajectories_do_not_depend_on_the_number_of_processes(student: Student) -> None:
    starts = [Start(task, number) for task in accepted_tasks()[:35] for number in range(2)]
    limits = LIMITS.model_copy(update={"max_tokens": 60})
    in_one = list(policy_of(student, limits).run(starts))
    with workers(default_params().compute) as pool:
        in_two = list(policy_of(student, limits, workers=pool).run(starts))
    assert in_one == in_two
    assert len(in_one) == len(starts)


def test_the_student_moves_to_the_device_in_the_process_that_runs_it(
    student: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not where it is loaded: it goes to other processes, and each rank of a training has a GPU of its own."""
    moved = Student(copy.deepcopy(student.model), student.tokenizer)
    rows = policy_of(moved).run([Start(accepted_tasks()[0])])
    assert moved.model.device.type == "cpu"
    monkeypatch.setattr("synthagent.student.policy.device", lambda: torch.device("meta"))
    with pytest.raises(RuntimeError, match="META device"):  # there it ends, for want of a random generator
        list(rows)
    assert moved.model.device.type == "meta"
