"""The evaluate stage: which tasks, how they are scored, and what the scripted policies earn on them."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import pytest
from helpers.evaluations import solved
from helpers.projects import default_params
from helpers.reasoning import answer, environment, episode_of, params_here, problem, run
from helpers.simulated import simulated_task
from helpers.tasks import accepted_tasks, scored, scripted, task_of_level
from hypothesis import given, settings
from hypothesis import strategies as st

from synthagent.episodes.episode import Episode, play
from synthagent.episodes.policy import Start
from synthagent.episodes.real_tools import task_of
from synthagent.episodes.scripted import SCRIPTS
from synthagent.episodes.turn import ToolCall, Turn
from synthagent.episodes.world import fresh_world
from synthagent.judging.criteria import extract
from synthagent.params import Params
from synthagent.reasoning import share
from synthagent.reasoning.evaluation import choose_problems, constant_policy
from synthagent.reasoning.reward import score_reasoning
from synthagent.records import BENCHMARK, Evaluation, Problem, Reward, Task
from synthagent.showing.statistics import summarise
from synthagent.stage import Paths
from synthagent.stages.evaluate import (
    SPLITS,
    Acted,
    choose_tasks,
    evaluation_of,
    evaluation_of_problem,
    expert_path,
    kept,
    stored_tables,
)
from synthagent.store import write_records

PARAMS = default_params()
HELD_OUT = [task for task in accepted_tasks() if task.split != "train"]


def evaluated(policy: str, task: Task, params: Params = PARAMS) -> Evaluation:
    """What a scripted policy's episode of a task earns."""
    trajectory = scripted(policy, task).trajectory(policy)
    reward = scored(trajectory, task, rule=params.reward)
    row = evaluation_of(Acted(trajectory, "scripted"), task, reward, expert_path(task))
    assert row is not None
    return row


def mean_reward(policy: str) -> float:
    return fmean(evaluated(policy, task).reward for task in HELD_OUT)


def test_tasks_are_held_out_ones_as_many_of_each_split_as_asked_for_in_whole_pairs() -> None:
    for count in (6, 7):
        chosen = choose_tasks(accepted_tasks(), count, seed=0)
        assert [task.split for task in chosen] == [split for split in SPLITS for _ in range(6)]
        names = {task.id for task in chosen}
        assert len(names) == len(chosen)
        assert {task.twin_of for task in chosen} == names


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
    assert (row.twin_of, row.extra_questions, row.extra_calls) == (task.twin_of, 0, 0)


def test_the_right_outcome_is_that_of_the_experts_answer_and_twins_have_different_ones() -> None:
    found = {task.id: evaluated("expert", task).outcome for task in HELD_OUT}
    for task in HELD_OUT:
        answer = scripted("expert", task).messages[-1]["content"]
        assert answer.lower().startswith(f"<answer>{found[task.id]}")
        assert found[task.id] != found[task.twin_of]
    assert {"done", "refused", "kept"} >= set(found.values()) > {"done"}


def test_questions_and_calls_beyond_the_experts_are_counted_and_fewer_are_no_credit() -> None:
    task = next(task for task in HELD_OUT if evaluated("expert", task).outcome == "done")
    asked, made = (getattr(scripted("expert", task), name) for name in ("n_questions", "n_tool_calls"))
    episode = Episode(task)
    call = Turn(calls=(ToolCall("no_such_tool", {}),) * 2)
    play(episode, iter([*[Turn("What is it?")] * (asked + 3), *[call] * made, Turn("<answer>Done</answer>")]))
    trajectory = episode.trajectory("busy")
    row = evaluation_of(Acted(trajectory, "scripted"), task, scored(trajectory, task), expert_path(task))
    assert row is not None
    assert (row.extra_questions, row.extra_calls) == (3, made)
    idle = evaluated("noop", task)
    assert (idle.extra_questions, idle.extra_calls) == (0, 0)


def test_of_a_simulated_task_neither_the_right_outcome_nor_the_experts_path_is_known() -> None:
    task = simulated_task()
    assert expert_path(task) is None
    trajectory = play(Episode(task), iter([Turn("<answer>Done</answer>")])).trajectory("noop")
    values = dict.fromkeys(("gate", "subgoals", "interactions", "reward", "reward_paper"), 1.0)
    reward = Reward(trajectory_id=trajectory.id, task_id=task.id, verdicts=(), status="ok", **values)
    row = evaluation_of(Acted(trajectory, "scripted"), task, reward, expert_path(task))
    assert row is not None
    assert (row.twin_of, row.outcome, row.extra_questions, row.extra_calls) == (None, None, None, None)


def test_a_task_whose_answer_is_a_word_of_its_own_has_no_known_outcome() -> None:
    task = task_of_level(1)
    *steps, last = task.reference
    own = task.model_copy(update={"reference": (*steps, last.model_copy(update={"outcome": "solved"}))})
    assert {expert_path(task).outcome, expert_path(own).outcome} == {"done", None}


@given(st.sampled_from(HELD_OUT), st.sampled_from(HELD_OUT), st.sampled_from(("Done", "Refused", "Kept", None)))
@settings(max_examples=30, deadline=None)
def test_a_policy_that_does_the_same_in_both_twins_has_a_pair_rate_of_zero(
    task: Task, whose: Task, answer: str | None
) -> None:
    """Whether it follows the expert's path of the task, of its twin or of another one, or changes the answer of it."""
    twin = next(other for other in HELD_OUT if other.id == task.twin_of)
    for path in (extract(one, fresh_world(one)).turns for one in (task, twin, whose)):
        turns = [*path[:-1], Turn(f"<answer>{answer}</answer>")] if answer else path
        rows = []
        for one in (task, twin):
            trajectory = play(Episode(one), iter(turns)).trajectory("same")
            rows.append(evaluation_of(Acted(trajectory, "scripted"), one, scored(trajectory, one), expert_path(one)))
        has = summarise([row for row in rows if row], 0).cells[0].measures
        assert has["pair_rate"].mean == 0
        assert has["pair_reward"].mean < 1


def test_the_expert_earns_everything_on_every_held_out_task() -> None:
    has = summarise([evaluated("expert", task) for task in HELD_OUT], 0).cells[0].measures
    assert {found.mean for found in has.values()} == {1}


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
    assert evaluation_of(Acted(trajectory, "scripted"), other, reward, expert_path(other)) is None


def test_what_another_benchmark_says_is_never_averaged_with_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ours = [evaluated("expert", task) for task in HELD_OUT[:10]]
    others = [row.model_copy(update={"benchmark": "a-suite", "reward": 0.0}) for row in ours]
    assert summarise([*ours, *others], 0) == summarise(ours, 0)
    write_records(Paths.evaluation, Evaluation, sorted([*ours, *others], key=lambda row: row.policy))
    tables = list(stored_tables(0))
    first, second = (tables.index(f"benchmark {name}") for name in (BENCHMARK, "a-suite"))
    assert all("1.000 [1.0,1.0]" in line for line in tables[first:second] if " expert " in line)
    assert all("0.000 [.00,.00]" in line for line in tables[second:] if " expert " in line)


def test_an_episode_is_kept_whole_with_its_verdicts_and_its_id_says_how_it_was_decoded() -> None:
    task = HELD_OUT[0]
    trajectory = scripted("expert", task).trajectory("sft")
    reward = scored(trajectory, task)
    greedy, sampled = (kept(Acted(trajectory, decoding), reward) for decoding in ("greedy", "sampled"))
    assert (greedy.id, sampled.id) == (f"{task.id}.sft.greedy.0", f"{task.id}.sft.0")
    assert (greedy.messages, greedy.verdicts, greedy.decoding) == (trajectory.messages, reward.verdicts, "greedy")
    assert all(verdict.evidence for verdict in greedy.verdicts)


# --- problems -------------------------------------------------------------------------------------------------------


def of_problems(folder: Path, monkeypatch: pytest.MonkeyPatch, count: int = 10, wanted: int = 3) -> list[Problem]:
    """So many problems as a dataset in `folder`, every other one held out; those that are evaluated."""
    monkeypatch.chdir(folder)
    rows = [problem(number, split="heldout" if number % 2 else "train") for number in range(count)]
    write_records(Paths.reasoning, Problem, rows)
    params = params_here()
    evaluate = params.evaluate.model_copy(update={"reasoning": wanted})
    return choose_problems(params.model_copy(update={"evaluate": evaluate})).problems


def test_held_out_problems_are_evaluated_as_many_as_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = of_problems(tmp_path, monkeypatch)
    assert len(chosen) == 3
    assert {each.split for each in chosen} == {"heldout"}
    assert chosen == sorted(chosen, key=lambda each: each.id) == of_problems(tmp_path, monkeypatch)


def test_the_constant_policy_gives_the_commonest_answer_of_each_kinds_train_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    train = [("gcd", "2"), ("gcd", "1"), ("gcd", "2"), ("lcm", "9"), ("lcm", "12")]
    heldout = [("gcd", "1"), ("gcd", "1"), ("gcd", "1"), ("gcd", "1"), ("lcm", "12"), ("chain_sum", "5")]
    rows = [
        problem(number, kind=kind, answer=right, split=split)
        for number, (split, kind, right) in enumerate(
            [*(("train", *one) for one in train), *(("heldout", *one) for one in heldout)]
        )
    ]
    write_records(Paths.reasoning, Problem, rows)
    found = choose_problems(params_here())
    policy = constant_policy(found, max_turns=4)
    acted = policy.run([Start(task_of(each)) for each in found.problems])
    given = [(each.kind, one.messages[-1]["content"]) for each, one in zip(found.problems, acted, strict=True)]
    assert given == [
        *[("gcd", "<answer>2</answer>")] * 4,
        ("lcm", "<answer>12</answer>"),
        ("chain_sum", "<answer></answer>"),
    ]
    assert (policy.name, policy.decoding) == ("constant", "scripted")


def test_where_no_code_can_be_isolated_problems_are_dropped_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert of_problems(tmp_path, monkeypatch, wanted=0) == []
    assert capsys.readouterr().out == ""
    assert of_problems(tmp_path, monkeypatch, count=0) == []
    assert "has no held-out problem" in capsys.readouterr().out
    monkeypatch.setattr(share, "available", lambda _: "bwrap is not there; install bubblewrap")
    assert of_problems(tmp_path, monkeypatch) == []
    assert "evaluate: evaluate.reasoning: dropped" in capsys.readouterr().out


def test_an_episode_of_a_problem_is_a_row_of_a_benchmark_of_its_own() -> None:
    with environment() as answering:
        trajectory = episode_of(answering, run("print(6 * 7)"), answer("42")).trajectory("grpo")
    reward = score_reasoning(problem(kind="gcd"), trajectory, PARAMS).reward
    row = evaluation_of_problem(Acted(trajectory, "greedy"), problem(kind="gcd"), reward)
    assert row is not None
    assert (row.benchmark, row.category, row.task_id, row.policy) == ("reasoning", "gcd", problem().id, "grpo")
    assert (row.reward, row.gate, row.subgoals, row.n_turns, row.outcome, row.twin_of) == (1, 1, 1, 2, None, None)
    failed = trajectory.model_copy(update={"error": "policy: timeout"})
    unscored = score_reasoning(problem(), failed, PARAMS).reward
    assert evaluation_of_problem(Acted(failed, "greedy"), problem(), unscored) is None
    assert summarise([row], 0).cells == ()


def test_the_stored_tables_show_both_kinds_ours_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [evaluated("expert", HELD_OUT[0]), *solved("sft", "gcd", 0, [1, 0]), *solved("grpo", "gcd", 0, [1, 1])]
    write_records(Paths.evaluation, Evaluation, sorted(rows, key=lambda row: row.policy))
    lines = list(stored_tables(0))
    heads = [line for line in lines if line.startswith("benchmark")]
    assert heads == ["benchmark synthagent", "benchmark reasoning"]
    assert "grpo - sft on problems: +0.500" in lines[-1]
