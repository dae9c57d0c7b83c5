"""The student as a policy: seeds, order, processes, and the device."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from helpers.projects import default_params
from helpers.reasoning import params_here, problem
from helpers.student import LIMITS, tasks_of_different_length
from helpers.tasks import accepted_tasks
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen3Config

from synthagent.episodes.policy import Setting, Start
from synthagent.episodes.real_tools import task_of
from synthagent.params import EpisodeParams, Params
from synthagent.reasoning.evaluation import setting_of
from synthagent.student.format import ChatFormat
from synthagent.student.model import Student
from synthagent.student.policy import StudentPolicy, cache_of_token, episodes_within
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


def test_in_problems_the_tools_are_opened_by_the_process_that_acts(student: Student) -> None:
    given = [problem(number) for number in range(3)]
    params = params_with().model_copy(update={"reasoning": params_here().reasoning})
    policy = StudentPolicy("me", student, params, setting_of(given, params))
    sent = pickle.loads(pickle.dumps(policy))  # as a worker gets it
    starts = [Start(task_of(each)) for each in given]
    trajectories = list(sent.run(starts))
    assert [trajectory.task_id for trajectory in trajectories] == [each.id for each in given]
    assert trajectories == list(policy.run(starts))


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


def test_a_batch_on_a_gpu_is_as_large_as_the_memory_given_to_it_holds() -> None:
    eight = Qwen3Config(num_hidden_layers=36, num_key_value_heads=8, num_attention_heads=32, head_dim=128)
    assert cache_of_token(eight, 2) == 147_456  # Qwen3-8B, as docs/scaling.md has it
    assert episodes_within(20 * 2**30, 147_456, 13_000) == 10
    assert episodes_within(20 * 2**30, 23_040, 1024) == 369
    assert episodes_within(20 * 2**30, 23_040, 100) == 512
    assert episodes_within(2**20, 147_456, 13_000) == 1


def test_the_cache_of_a_token_is_what_the_model_keeps_of_it() -> None:
    for config in (
        Qwen3Config(
            vocab_size=64, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, head_dim=8
        ),
        LlamaConfig(vocab_size=64, hidden_size=48, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=3),
    ):
        model = AutoModelForCausalLM.from_config(config)
        cache = model(torch.zeros(1, 5, dtype=torch.long), use_cache=True).past_key_values
        kept = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
        assert kept == 5 * cache_of_token(config, 4)


def test_batches_on_a_gpu_do_not_depend_on_the_number_of_processes(
    student: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = type("Properties", (), {"total_memory": 2**30})
    monkeypatch.setattr("synthagent.student.policy.device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: gpu)
    shown = params_with()
    sizes = set()
    for processes in (1, 2, 8):
        compute = shown.compute.model_copy(update={"processes": processes})
        params = shown.model_copy(update={"compute": compute})
        sizes.add(StudentPolicy("me", student, params, Setting())._at_once())
    assert len(sizes) == 1
    assert sizes.pop() > 64
