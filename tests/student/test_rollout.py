"""Batches of episodes: seeds, order and processes."""

from __future__ import annotations

import copy

import pytest
import torch
from helpers.student import LIMITS, tasks_of_different_length
from helpers.tasks import accepted_tasks

from synthagent.student.format import ChatFormat
from synthagent.student.model import Student
from synthagent.student.rollout import batches, roll_out, run_batch


def test_batches_take_every_pair_once_in_order_with_a_seed_each(student: Student) -> None:
    pairs = [(task, number) for task in accepted_tasks()[:50] for number in range(3)]
    work = batches("sft", student, pairs, LIMITS, seed=1)
    assert [pair for batch in work for pair in batch.pairs] == pairs
    seeds = [batch.seed for seed in (1, 2) for batch in batches("sft", student, pairs, LIMITS, seed)]
    assert len(work) > 1
    assert len(set(seeds)) == len(seeds)


def test_a_batch_comes_back_as_trajectories_in_its_own_order(student: Student) -> None:
    pairs = [(task, number) for task in tasks_of_different_length(student.tokenizer, 3) for number in (4, 5)]
    (batch,) = batches("me", student, pairs, LIMITS, seed=0)
    rows = run_batch(batch)
    assert [row.id for row in rows] == [f"{task.id}.me.{number}" for task, number in pairs]
    for row, (task, number) in zip(rows, pairs, strict=True):
        assert (row.task_id, row.sample, row.policy) == (task.id, number, "me")
        assert row.prompt_tokens == len(ChatFormat.of(student.tokenizer).prompt_ids(task))
        assert 0 < row.completion_tokens <= LIMITS.max_tokens
        assert row.n_turns <= LIMITS.max_turns
    assert rows == run_batch(batch)


def test_trajectories_do_not_depend_on_the_number_of_processes(student: Student) -> None:
    pairs = [(task, number) for task in accepted_tasks()[:35] for number in range(2)]
    limits = LIMITS.model_copy(update={"max_tokens": 60})
    work = batches("sft", student, pairs, limits, seed=0)
    assert len(work) == 2
    in_one, in_two = ([t for part in roll_out(work, n, "test") for t in part] for n in (1, 2))
    assert in_one == in_two
    assert len(in_one) == len(pairs)


def test_the_student_moves_to_the_device_in_the_process_that_runs_it(
    student: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not where it is loaded: it goes to other processes, and each rank of a training has a GPU of its own."""
    moved = Student(copy.deepcopy(student.model), student.tokenizer)
    (batch,) = batches("sft", moved, [(accepted_tasks()[0], 0)], LIMITS, seed=0)
    assert moved.model.device.type == "cpu"
    monkeypatch.setattr("synthagent.student.rollout.device", lambda: torch.device("meta"))
    with pytest.raises(RuntimeError, match="META device"):  # there it ends, for want of a random generator
        run_batch(batch)
    assert moved.model.device.type == "meta"
