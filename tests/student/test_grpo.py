"""GRPO on live episodes: what a step logs, what it changes, and that it can be left out."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import stdev
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from helpers.given import save_given
from helpers.grpo import GROUP, TASKS, job_of, params_of
from helpers.reasoning import params_here, problem
from helpers.student import LIMITS, new_episodes
from helpers.tasks import rubric_of

from synthagent.episodes.episode import Turn
from synthagent.episodes.real_tools import task_of
from synthagent.judging.reward import Score
from synthagent.params import LoraParams
from synthagent.student import live
from synthagent.student.checkpoint import LOG
from synthagent.student.model import Student, load_student
from synthagent.student.processes import rank, train
from synthagent.student.sampler import Sampled

if TYPE_CHECKING:
    from synthagent.student.grpo import GrpoJob


def log_of(folder: Path) -> list[dict[str, Any]]:
    log: list[dict[str, Any]] = json.loads((folder / "out" / LOG).read_text())
    return log


def trained(folder: Path, start: Student, steps: int) -> list[dict[str, Any]]:
    """The log of a training."""
    job_of(folder, start, steps)()
    return log_of(folder)


def test_every_step_is_logged_with_shares_and_means_of_its_episodes(student: Student, tmp_path: Path) -> None:
    from synthagent.student.grpo_log import GrpoStep

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


def watched(job: GrpoJob, always: frozenset[str], folder: Path) -> None:
    """The training, in which episodes of a task in `always` earn 1, and of the others every other one.

    Leaves, for this process, the tasks of its episodes and their advantages.
    """
    from synthagent.student.grpo_trainer import GRPOTrainer, LiveEpisode

    began, advantages, lucky = list[str](), list[float](), dict[LiveEpisode, bool]()
    reset, generate = LiveEpisode.reset, GRPOTrainer._generate_and_score_completions

    def begin(live: LiveEpisode, task_id: str, **more: Any) -> None:
        lucky[live] = task_id in always or len(began) % 2 == 0
        began.append(task_id)
        reset(live, task_id, **more)

    def scored(trainer: Any, inputs: Any) -> Any:
        made = generate(trainer, inputs)
        advantages.extend(made["advantages"].tolist())
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LiveEpisode, "reset", begin)
        patch.setattr(GRPOTrainer, "_generate_and_score_completions", scored)
        patch.setattr(LiveEpisode, "get_reward", lambda live: float(lucky[live]))
        job()
    (folder / f"seen-{rank()}.json").write_text(json.dumps({"began": began, "advantages": advantages}))


@pytest.mark.parametrize("processes", [1, 2])
def test_a_group_is_of_one_task_and_twins_are_in_one_step(student: Student, tmp_path: Path, processes: int) -> None:
    a, b, c, d = TASKS
    assert (TASKS[a].twin_of, TASKS[c].twin_of) == (b, d)
    job = job_of(tmp_path, student, 2, processes)
    train(partial(watched, job, frozenset({a, d}), tmp_path), processes)
    seen = [json.loads((tmp_path / f"seen-{n}.json").read_text()) for n in range(processes)]
    better, share = 0.5 / stdev([1, 1, 0, 0]), 2 * GROUP // processes
    nothing, something = [0] * GROUP, [better, -better, better, -better]
    for part, names, wanted in (
        (slice(0, share), [a, b], [*nothing, *something]),
        (slice(share, 2 * share), [c, d], [*something, *nothing]),
    ):
        began, advantages = ([x for process in seen for x in process[name][part]] for name in ("began", "advantages"))
        assert began == [name for name in names for _ in range(GROUP)]
        assert advantages == pytest.approx(wanted, abs=1e-3)
    assert [(step["reward"], step["dead_groups"]) for step in log_of(tmp_path)] == [(0.75, 0.5)] * 2


def test_problems_are_trained_on_beside_tasks_with_their_own_tools_and_their_own_reward(
    student: Student, tmp_path: Path
) -> None:
    from synthagent.student.grpo_log import GrpoStep

    job, given = job_of(tmp_path, student, steps=2), [problem(number) for number in range(3)]
    params = params_here()
    grpo = job.params.grpo.model_copy(update={"reasoning_share": 0.5})
    params = job.params.model_copy(update={"grpo": grpo, "reasoning": params.reasoning})
    tasks = {**job.tasks, **{each.id: task_of(each) for each in given}}
    job = replace(job, params=params, tasks=tasks, problems=given)
    train(partial(watched, job, frozenset({given[0].id}), tmp_path), 1)
    began = json.loads((tmp_path / "seen-0.json").read_text())["began"]
    assert began[: 2 * GROUP] == [name for name in [*TASKS][:2] for _ in range(GROUP)], "a pair of twins, whole"
    assert began[-2 * GROUP :] == [each.id for each in given[:2] for _ in range(GROUP)]
    of_tasks, of_problems = (GrpoStep(**row) for row in log_of(tmp_path))
    assert (of_tasks.reward_tasks, of_tasks.reward_reasoning) == (of_tasks.reward, None)
    assert (of_problems.reward_tasks, of_problems.reward_reasoning) == (None, 0.75)


def test_episodes_pass_through_the_network_at_most_eight_at_once_and_all_of_them() -> None:
    from synthagent.student.grpo import passes_of

    for episodes in range(1, 130):
        a_pass, passes = passes_of(episodes)
        assert a_pass * passes == episodes
        assert a_pass <= 8
    assert passes_of(32) == (8, 4)


def test_a_step_of_several_passes_logs_each_episode_once(student: Student, tmp_path: Path) -> None:
    job = job_of(tmp_path, student, 1)
    grpo = job.params.grpo.model_copy(update={"tasks_per_step": 4})
    job = replace(job, params=job.params.model_copy(update={"grpo": grpo}))
    watched(job, frozenset([*TASKS][:2]), tmp_path)
    seen = json.loads((tmp_path / "seen-0.json").read_text())
    assert seen["began"] == [name for name in TASKS for _ in range(GROUP)]
    assert len(seen["advantages"]) == len(seen["began"]) == 16
    assert [(step["step"], step["reward"], step["dead_groups"]) for step in log_of(tmp_path)] == [(1, 0.75, 0.5)]


def test_that_nothing_is_learnt_for_many_steps_is_told_once(
    student: Student, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = job_of(tmp_path, student, 12)
    episode = job.params.episode.model_copy(update={"max_tokens": 8})
    watched(replace(job, params=job.params.model_copy(update={"episode": episode})), frozenset(TASKS), tmp_path)
    (said,) = [line for line in capsys.readouterr().out.splitlines() if "nothing is learnt" in line]
    assert said.startswith("grpo: steps 1 to 10: ")
    for setting in ("grpo.group_size", "sft.demos", "rollouts.tasks"):
        assert setting in said


def test_an_episode_that_cannot_be_scored_counts_as_the_mean_of_its_tasks_so_that_nothing_is_learnt_from_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a, b, c, _ = TASKS.values()
    earned = iter((1.0, None, 0.4, 0.1, None))

    async def score_episode(*_: Any) -> Any:
        value = next(earned)
        return SimpleNamespace(score=None if value is None else Score(value, value, value, value, value))

    monkeypatch.setattr(live, "score_episode", score_episode)
    rubrics = {task.id: rubric_of(task) for task in TASKS.values()}
    found = live.TrainingEpisodes(params_of(1), rubrics, None).scores(new_episodes([a, a, b, c, c]))
    assert [score.reward for score in found] == pytest.approx([1.0, 1.0, 0.4, 0.1, 0.1])


def test_a_training_of_no_steps_leaves_the_student_as_it_is(student: Student, tmp_path: Path) -> None:
    assert trained(tmp_path, student, steps=0) == []
    before, after = (load_student(tmp_path / name).model.state_dict() for name in ("start", "out"))
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("lora", [None, LoraParams(rank=4, alpha=8, targets=("q_proj", "down_proj"))])
def test_a_model_that_was_given_learns_and_is_saved_whole(
    lora: LoraParams | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from synthagent.student.base import given_base

    earned = cycle((1.0, 0.0, 0.25))  # whatever it does: one so small earns nothing

    async def score_episode(*_: Any) -> Any:
        value = next(earned)
        return SimpleNamespace(score=Score(value, value, value, value, value))

    monkeypatch.setattr(live, "score_episode", score_episode)
    update = {"base": str(save_given(tmp_path / "given")), "lora": lora, "gradient_checkpointing": True}
    wanted = params_of(3).student.model_copy(update=update)
    job = job_of(tmp_path, given_base(wanted), steps=3)
    params = job.params.model_copy(update={"student": wanted})
    replace(job, params=params)()
    assert {row["dead_groups"] for row in log_of(tmp_path)} == {0.0}
    before, after = (load_student(tmp_path / name).model.state_dict() for name in ("start", "out"))
    assert before.keys() == after.keys()
    moved = {name.split(".")[-2] for name in before if not torch.equal(before[name], after[name])}
    assert {"q_proj", "down_proj"} <= moved
    assert ("v_proj" in moved) == (lora is None)


def test_what_is_watched_of_an_episode_is_what_happened_in_it() -> None:
    from synthagent.student.grpo_trainer import LiveEpisode
    from synthagent.student.grpo_trainer import seen as seen_of

    def ended(gate: float, reward: float, asked: int, end: bool = False) -> LiveEpisode:
        live = object.__new__(LiveEpisode)
        (live._episode,) = new_episodes([*TASKS.values()][:1])
        for _ in range(asked):
            live._episode.step(Turn("What is it?"))
        if end:
            live._episode.step(Turn("<answer>Done.</answer>"))
        live._sampled = Sampled([1, 2], [3, 4, 5], [0.0] * 3, [1, 0, 1])
        live._score = Score(gate, reward, reward, reward, reward)
        return live

    episodes = [ended(1.0, 1.0, 2, True), ended(0.0, 0.0, 0), ended(1.0, 0.5, 1)]
    seen = [seen_of(episode) for episode in episodes]
    for name, values in {
        "perfect": [1, 0, 0],
        "violations": [0, 1, 0],
        "subgoals": [1, 0, 0.5],
        "questions": [2, 0, 1],
        "turns": [3, 0, 1],
        "tokens": [2, 2, 2],
        "truncated": [0, 1, 1],
    }.items():
        assert [one[name] for one in seen] == values
    assert {one["level"] for one in seen} == {episodes[0]._episode.task.difficulty}
    assert [episode.get_reward() for episode in episodes] == [1.0, 0.0, 0.5]
