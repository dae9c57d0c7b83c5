"""The evaluate stage: which tasks, how they are scored, and what the scripted policies earn on them."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import pytest
from helpers.projects import default_params
from helpers.tasks import accepted_tasks, scored, scripted, task_of_level

from synthagent.episodes.scripted import SCRIPTS
from synthagent.params import Params
from synthagent.records import BENCHMARK, Evaluation, Task
from synthagent.showing.statistics import summarise
from synthagent.stage import Paths
from synthagent.stages.evaluate import SPLITS, Acted, choose_tasks, evaluation_of, stored_tables
from synthagent.store import write_records

PARAMS = default_params()
HELD_OUT = [task for task in accepted_tasks() if task.split != "train"]


def evaluated(policy: str, task: Task, params: Params = PARAMS) -> Evaluation:
    """What a scripted policy's episode of a task earns."""
    trajectory = scripted(policy, task).trajectory(policy)
    reward = scored(trajectory, task, rule=params.reward)
    row = evaluation_of(Acted(trajectory, "scripted"), task, reward)
    assert row is not None
    return row


def mean_reward(policy: str) -> float:
    return fmean(evaluated(policy, task).reward for task in HELD_OUT)


def test_tasks_are_held_out_ones_as_many_of_each_split_as_asked_for() -> None:
    chosen = choose_tasks(accepted_tasks(), 5, seed=0)
    assert [task.split for task in chosen] == [split for split in SPLITS for _ in range(5)]
    assert len({task.id for task in chosen}) == len(chosen)


def test_where_there_are_fewer_tasks_all_are_taken() -> None:
    chosen = choose_tasks(accepted_tasks(), 10_000, seed=0)
    assert sorted(task.id for task in chosen) == sorted(task.id for task in HELD_OUT)
    assert choose_tasks([], 5, seed=0) == []


def test_the_choice_depends_on_the_seed_and_nothing_else() -> None:
    first, again, other = (choose_tasks(accepted_tasks(), 8, seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_an_evaluation_says_who_did_what_and_what_it_earned() -> None:
    task = task_of_level(1, lambda task: task.split == "heldout")
    row = evaluated("expert", task)
    assert (row.policy, row.benchmark, row.task_id, row.split) == ("expert", BENCHMARK, task.id, "heldout")
    assert (row.difficulty, row.sample, row.decoding, row.end) == (1, 0, "scripted", "answer")
    assert (row.reward, row.reward_paper, row.gate, row.subgoals, row.interactions) == (1, 1, 1, 1, 1)
    assert row.n_turns > row.n_questions > 0


def test_the_expert_earns_everything_on_every_held_out_task() -> None:
    assert all(evaluated("expert", task).reward == 1 for task in HELD_OUT)


def test_doing_nothing_or_asking_only_earns_almost_nothing() -> None:
    assert mean_reward("noop") <= 0.1
    assert mean_reward("asks_only") <= 0.1
    assert mean_reward("never_asks") <= 0.3


def test_asking_only_earns_under_the_papers_formula_what_ours_denies_it() -> None:
    rows = [evaluated("asks_only", task) for task in HELD_OUT]
    assert fmean(row.reward_paper for row in rows) > fmean(row.reward for row in rows) + 0.3
    rule = PARAMS.reward.model_copy(update={"formula": "paper"})
    paper = PARAMS.model_copy(update={"reward": rule})
    task = HELD_OUT[0]
    assert evaluated("asks_only", task, paper).reward == evaluated("asks_only", task).reward_paper


@pytest.mark.parametrize("policy", SCRIPTS)
def test_a_scripted_policy_does_the_same_every_time(policy: str) -> None:
    assert all(evaluated(policy, task) == evaluated(policy, task) for task in HELD_OUT[:10])


def test_a_trajectory_of_another_task_is_not_made_into_a_score() -> None:
    one, other = (task_of_level(1, lambda task, split=split: task.split == split) for split in SPLITS)
    trajectory = scripted("expert", one).trajectory("expert")
    reward = scored(trajectory, other)
    assert evaluation_of(Acted(trajectory, "scripted"), other, reward) is None


def test_what_another_benchmark_says_is_never_averaged_with_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ours = [evaluated("expert", task) for task in HELD_OUT[:10]]
    others = [row.model_copy(update={"benchmark": "a-suite", "reward": 0.0}) for row in ours]
    assert summarise([*ours, *others], 0) == summarise(ours, 0)
    write_records(Paths.evaluation, Evaluation, sorted([*ours, *others], key=lambda row: row.policy))
    tables = list(stored_tables(0))
    first, second = (tables.index(f"benchmark {name}") for name in ("a-suite", BENCHMARK))
    assert all("0.000 [0.00, 0.00]" in line for line in tables[first:second] if " expert " in line)
    assert all("1.000 [1.00, 1.00]" in line for line in tables[second:] if " expert " in line)
