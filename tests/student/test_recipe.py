"""The recipe of GRPO in real trainings: losses, masks, dead groups, the curriculum, the probe."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from helpers.grpo import GROUP, TASKS, job_of
from helpers.projects import files_under
from helpers.tasks import accepted_tasks, rubric_of

from synthagent.params import CurriculumParams, ProbeParams
from synthagent.showing.show import trajectory_text
from synthagent.student.checkpoint import LOG
from synthagent.student.model import Student, load_student
from synthagent.student.processes import rank, train
from synthagent.student.resume import checkpoints_of, step_of
from synthagent.student.watch import Live

if TYPE_CHECKING:
    from synthagent.student.grpo import GrpoJob

MORE = {task.id: task for task in accepted_tasks()[:12]}
PAIRS = [tuple(sorted((task.id, task.twin_of or task.id))) for task in [*MORE.values()][::2]]


def recipe_job(
    folder: Path, start: Student, steps: int, processes: int = 1, more: Mapping[str, Any] | None = None, **grpo: Any
) -> GrpoJob:
    """The training of `job_of`, with some params of GRPO, and more tasks to choose from."""
    job = job_of(folder, start, steps, processes)
    assert all(name in MORE for pair in PAIRS for name in pair)
    params = job.params.model_copy(update={"grpo": job.params.grpo.model_copy(update=grpo)})
    rubrics = {task.id: rubric_of(task) for task in MORE.values()}
    return replace(job, params=params, tasks=MORE, rubrics=rubrics, pool=PAIRS, **(more or {}))


def log_of(folder: Path) -> list[dict[str, Any]]:
    log: list[dict[str, Any]] = json.loads((folder / "out" / LOG).read_text())
    return log


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = load_student(folder / "out").model.state_dict()
    return weights


def earning(job: GrpoJob, dead: frozenset[str], folder: Path) -> None:
    """The training, in which all episodes of a task in `dead` earn 0, and of the others every other one 1."""
    from synthagent.student.grpo_trainer import LiveEpisode

    began, lucky = list[str](), dict[LiveEpisode, bool]()
    reset = LiveEpisode.reset

    def begin(live: LiveEpisode, task_id: str, **more: Any) -> None:
        lucky[live] = task_id not in dead and len(began) % 2 == 0
        began.append(task_id)
        reset(live, task_id, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LiveEpisode, "reset", begin)
        patch.setattr(LiveEpisode, "get_reward", lambda live: float(lucky[live]))
        job()
    (folder / f"began-{rank()}.json").write_text(json.dumps(began))


@pytest.mark.parametrize(
    "recipe",
    [
        {"loss_type": "grpo", "importance_sampling_level": "sequence"},
        {"loss_type": "dr_grpo", "scale_rewards": "none"},
        {"loss_type": "bnpo", "scale_rewards": "batch"},
        {"loss_type": "cispo", "clip_high": 5.0},
        {"loss_type": "sapo"},
        {"loss_type": "luspo", "importance_sampling_level": "sequence"},
        {"loss_type": "vespo"},
    ],
    ids=lambda recipe: recipe["loss_type"],
)
def test_every_loss_of_trl_trains_the_student_and_its_steps_are_logged(
    recipe: dict[str, Any], student: Student, tmp_path: Path
) -> None:
    earning(recipe_job(tmp_path, student, 2, **recipe), frozenset(), tmp_path)  # the first has a rate of 0
    *_, step = log_of(tmp_path)
    assert (step["reward"], step["dead_groups"]) == (0.5, 0.0)
    assert (step["clipped"] is None) == (recipe["loss_type"] in ("sapo", "vespo"))
    before, after = student.model.state_dict(), weights_of(tmp_path)
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_a_step_may_move_the_weights_more_than_once_and_the_ratio_of_what_it_sampled_is_then_clipped(
    student: Student, tmp_path: Path
) -> None:
    job = recipe_job(tmp_path, student, 3, updates=2, clip_low=0.0001, clip_high=0.0001, adam_rate=0.01)
    earning(job, frozenset(), tmp_path)
    log = log_of(tmp_path)
    assert [(step["step"], step["reward"]) for step in log] == [(1, 0.5), (2, 0.5), (3, 0.5)]
    assert log[-1]["clipped"] > 0
    began = json.loads((tmp_path / "began-0.json").read_text())
    assert len(began) == 3 * 2 * GROUP


@pytest.mark.parametrize("scale", ["batch", "none"])
def test_dead_groups_are_counted_group_by_group_however_rewards_are_scaled(
    scale: str, student: Student, tmp_path: Path
) -> None:
    job = recipe_job(tmp_path, student, 1, scale_rewards=scale)
    earning(job, frozenset([*TASKS][:1]), tmp_path)
    assert log_of(tmp_path)[0]["dead_groups"] == 0.5


@pytest.mark.parametrize("masked", [False, True])
def test_from_episodes_that_a_limit_ended_nothing_is_learnt_if_that_is_wanted(
    masked: bool, student: Student, tmp_path: Path
) -> None:
    job = recipe_job(tmp_path, student, 2, mask_truncated_completions=masked)
    short = job.params.episode.model_copy(update={"max_turns": 1})  # the turn ends, the episode has not answered
    earning(replace(job, params=job.params.model_copy(update={"episode": short})), frozenset(), tmp_path)
    *_, step = log_of(tmp_path)
    assert step["truncated"] == 1.0
    assert step["tokens"] > 0
    before, after = student.model.state_dict(), weights_of(tmp_path)
    assert all(torch.equal(before[name], after[name]) for name in before) == masked


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_groups_that_teach_nothing_are_replaced_whole_also_where_processes_share_them(
    processes: int, student: Student, tmp_path: Path
) -> None:
    dead = frozenset([*TASKS][:2])  # those of the first step
    job = recipe_job(tmp_path, student, 2, processes, replace_dead=2, tasks_per_step=1 if processes == 2 else 2)
    train(partial(earning, job, dead, tmp_path), processes)
    first, *_ = log_of(tmp_path)
    assert (first["dead_groups"], first["reward"]) == (0.0, 0.5)
    assert first["replaced"] == job.params.grpo.tasks_per_step
    began = [json.loads((tmp_path / f"began-{n}.json").read_text()) for n in range(processes)]
    share = job.params.grpo.tasks_per_step * GROUP // processes
    instead = Counter(name for process in began for name in process[share : 2 * share])
    assert set(instead.values()) == {GROUP}
    assert not instead.keys() & dead


def test_where_nothing_else_teaches_more_the_bound_holds_and_it_is_told(
    student: Student, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = recipe_job(tmp_path, student, 10, replace_dead=1)
    short = job.params.episode.model_copy(update={"max_tokens": 8})
    earning(replace(job, params=job.params.model_copy(update={"episode": short})), frozenset(MORE), tmp_path)
    assert [(step["dead_groups"], step["replaced"]) for step in log_of(tmp_path)] == [(1.0, 2)] * 10
    (said,) = [line for line in capsys.readouterr().out.splitlines() if "nothing is learnt" in line]
    assert "20 that were sampled in place of dead ones" in said


RISING = CurriculumParams(start=(1, 0, 0), end=(0, 1, 0), low=0.1, high=0.2)


def test_a_curriculum_moves_on_with_the_reward(student: Student, tmp_path: Path) -> None:
    levels = {name: 1 + n % 4 // 2 for n, name in enumerate(MORE)}
    tasks = {name: task.model_copy(update={"difficulty": levels[name]}) for name, task in MORE.items()}
    job = recipe_job(tmp_path, student, 3, curriculum=RISING, more={})
    earning(replace(job, tasks=tasks), frozenset(), tmp_path)
    assert [step["level"] for step in log_of(tmp_path)] == [1.0, 2.0, 2.0]


def test_a_training_that_goes_on_chooses_as_it_would_have(
    student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from synthagent.student.training import _When

    monkeypatch.chdir(tmp_path)
    recipe = {"curriculum": RISING, "replace_dead": 2, "updates": 2, "probe": ProbeParams(every=2, pairs=2)}
    more = {"pairs": PAIRS[-2:]}
    recipe_job(tmp_path / "whole", student, 4, more=more, **recipe)()
    job = recipe_job(tmp_path / "parts", student, 4, more=more, **recipe)

    def stop(_: Any, args: Any, state: Any, *__: Any, **___: Any) -> None:
        if state.global_step == 2 * 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_When, "on_save", stop)
        with pytest.raises(KeyboardInterrupt):
            replace(job, checkpoints=checkpoints_of("grpo", job, 0))()
    checkpoints = checkpoints_of("grpo", job, 0)
    assert checkpoints
    assert checkpoints.start
    assert step_of(checkpoints.start) == 2 * 3
    replace(job, checkpoints=checkpoints)()
    whole, parts = (
        {path.name: content for path, content in files_under(tmp_path / name / "out").items()}
        for name in ("whole", "parts")
    )
    assert {name: whole[name] for name in parts} == parts


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_probe_changes_nothing_but_what_is_logged(processes: int, student: Student, tmp_path: Path) -> None:
    probe = ProbeParams(every=2, pairs=3)
    without = recipe_job(tmp_path / "without", student, 3, processes, probe=None)
    probed = recipe_job(tmp_path / "probed", student, 3, processes, {"pairs": PAIRS[-3:]}, probe=probe)
    for job in (without, probed):
        train(job, processes)
    before, after = (weights_of(tmp_path / name) for name in ("without", "probed"))
    assert all(torch.equal(before[name], after[name]) for name in before)
    rates = [step.pop("pair_rate") for step in log_of(tmp_path / "probed")]
    assert rates[0] is None
    assert all(rate * 3 == pytest.approx(round(rate * 3), abs=1e-3) for rate in rates[1:])


def test_the_best_checkpoint_is_that_of_the_best_probe(
    student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from synthagent.student.grpo import GrpoJob
    from synthagent.student.training import _When

    monkeypatch.chdir(tmp_path)
    good = iter([1, 2, 1, 0])  # of two pairs, in four looks

    def perfect(*args: Any) -> dict[str, bool]:
        names, done = args[-1], next(good)
        return {name: n < 2 * done for n, name in enumerate(names)}

    def stop(_: Any, args: Any, state: Any, *__: Any, **___: Any) -> None:
        if state.global_step == 7:
            raise KeyboardInterrupt

    monkeypatch.setattr(GrpoJob, "_perfect", perfect)
    probe = ProbeParams(every=2, pairs=2)
    job = recipe_job(tmp_path, student, 8, more={"pairs": PAIRS[-2:]}, probe=probe)
    part = replace(job, checkpoints=checkpoints_of("grpo", job, 60))
    monkeypatch.setattr(_When, "on_log", stop, raising=False)
    with pytest.raises(KeyboardInterrupt):
        part()
    (folder,) = (tmp_path / ".cache" / "training").iterdir()
    assert sorted(step_of(path) for path in folder.iterdir()) == [4]


def test_lines_table_and_episodes_are_there_while_it_trains(
    student: Student, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = recipe_job(tmp_path, student, 2)
    replace(job, live=Live(tmp_path / "live", trajectory_text))()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("grpo ")]
    assert [line.split()[1] for line in lines] == ["1/2", "2/2"]
    assert all(line.endswith(" tok/s") for line in lines)
    assert len((tmp_path / "live" / "grpo.csv").read_text().splitlines()) == 3
    shown = sorted(path.name for path in (tmp_path / "live" / "grpo-episodes").iterdir())
    assert shown == ["step-0001.txt", "step-0002.txt"]
