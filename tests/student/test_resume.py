"""A training that is killed goes on from its last checkpoint, and ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from helpers.grpo import job_of
from helpers.pipeline import PATIENCE, Project, wait_for
from helpers.projects import default_params, files_under
from helpers.student import Demo

from synthagent.errors import SynthAgentError
from synthagent.stage import CACHE
from synthagent.student.model import Student, save_student
from synthagent.student.resume import Checkpoints, checkpoints_of, key_of, last_sealed, newest, seal, step_of

if TYPE_CHECKING:
    from synthagent.student.sft import SftJob

OUTS = {
    "sft": ("models/sft", "metrics/sft.json"),
    "grpo": ("models/grpo", "metrics/grpo.json", "plots/grpo.csv"),
}


def outs_of(project: Project, stage: str) -> dict[Path, bytes]:
    """What a training leaves, by file."""
    found = files_under(project.data)
    wanted = [project.data / out for out in OUTS[stage]]
    return {
        path.relative_to(project.data): content
        for path, content in found.items()
        if any(out in (path, *path.parents) for out in wanted)
    }


def training_of(project: Project, stage: str) -> list[Path]:
    """The folders with checkpoints of a stage."""
    return sorted((project.folder / CACHE / "training").glob(f"{stage}-*"))


def kill(project: Project, stage: str, step: int, log: Path) -> None:
    """Run a stage, and SIGKILL all its processes as soon as the checkpoint of a step is whole."""
    process = project.start(log, "synthagent", stage)

    def reached() -> bool:
        last = [last_sealed(folder) for folder in training_of(project, stage)]
        return any(path and step_of(path) >= step for path in last) or process.poll() is not None

    wait_for(f"the checkpoint of step {step}", reached)
    assert process.poll() is None, log.read_text()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)


@pytest.mark.parametrize(
    ("stage", "processes", "step"),
    [
        ("sft", 1, 20),
        pytest.param("sft", 2, 20, marks=pytest.mark.slow),
        pytest.param("grpo", 2, 1, marks=pytest.mark.slow),
    ],
)
def test_a_training_that_is_killed_goes_on_and_ends_with_the_same_bytes(
    stage: str, processes: int, step: int, small_project: Project, tmp_path: Path
) -> None:
    size = {"compute__processes": processes, "grpo__steps": 4, "sft__demos": 160}
    small_project.params(**size, compute__checkpoint_minutes=None)
    whole = small_project.stage(stage)
    assert whole.returncode == 0, whole.stderr
    wanted = outs_of(small_project, stage)
    assert training_of(small_project, stage) == []
    small_project.params(**size, compute__checkpoint_minutes=0)
    kill(small_project, stage, step, tmp_path / "log")
    for out in OUTS[stage]:  # as DVC would, before it runs the stage again
        path = small_project.data / out
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    again = small_project.stage(stage)
    assert again.returncode == 0, again.stderr
    assert f"{stage}: goes on after step " in again.stdout
    speeds = [float(speed.replace(",", "")) for speed in re.findall(r"(\S+) tok/s", again.stdout)]
    assert speeds
    assert min(speeds) > 0
    assert outs_of(small_project, stage) == wanted
    assert training_of(small_project, stage) == []


def test_where_no_checkpoint_can_be_written_it_is_said_once_and_the_training_ends_as_ever(
    small_project: Project,
) -> None:
    wanted = outs_of(small_project, "sft")
    weights = (small_project.data / "models" / "sft" / "model.safetensors").stat().st_size
    limit = weights + 20_000  # the optimizer's state is larger

    def little() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    small_project.params(compute__checkpoint_minutes=0)
    done = small_project.stage("sft", before=little)
    assert done.returncode == 0, done.stderr
    (said,) = [line for line in done.stdout.splitlines() if "cannot be written" in line]
    for part in (".cache/training/sft-", "checkpoint-10", "make room", "training goes on", "there is none yet"):
        assert part in said
    assert outs_of(small_project, "sft") == wanted
    assert training_of(small_project, "sft") == []


# --- a training in this process -------------------------------------------------------------------------------------


@pytest.fixture
def job(untrained: Student, demos: list[Demo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SftJob:
    """Forty steps, each of one row."""
    from synthagent.student.sft import SftJob  # trl takes seconds: not where the tests are only collected

    monkeypatch.chdir(tmp_path)
    rows = [untrained.format.tokenise(demo.messages, demo.task.tools) for demo in demos[:40]]
    whole = default_params()
    params = whole.sft.model_copy(update={"batch_size": 1})
    save_student(untrained, tmp_path / "start")
    return SftJob(tmp_path / "start", tmp_path / "out", rows, params, 0, 1, whole.student)


@contextmanager
def interrupted(monkeypatch: pytest.MonkeyPatch, step: int) -> Iterator[None]:
    """A training raises KeyboardInterrupt after the checkpoint of a step."""
    from synthagent.student.training import _When

    def stop(_: Any, args: Any, state: Any, *__: Any, **___: Any) -> None:
        if state.global_step == step:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_When, "on_save", stop)
        yield


def test_grpo_in_one_process_goes_on_as_if_nothing_had_happened(
    student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job_of(tmp_path / "whole", student, 4)()
    job = job_of(tmp_path / "parts", student, 4)
    part = replace(job, checkpoints=checkpoints_of("grpo", job, 0))
    with interrupted(monkeypatch, 3), pytest.raises(KeyboardInterrupt):
        part()
    checkpoints = checkpoints_of("grpo", job, 0)
    assert checkpoints
    assert checkpoints.start
    assert step_of(checkpoints.start) == 3
    replace(job, checkpoints=checkpoints)()
    whole, parts = (
        {path.name: content for path, content in files_under(tmp_path / name / "out").items()}
        for name in ("whole", "parts")
    )
    assert {name: whole[name] for name in parts} == parts
    assert len(json.loads(parts["log.json"])) == 4


def test_what_checkpoints_will_take_is_said_before_and_is_enough(
    job: SftJob, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = checkpoints_of("sft", job, 0)
    assert checkpoints
    part = replace(job, checkpoints=checkpoints)
    with interrupted(monkeypatch, 30), pytest.raises(KeyboardInterrupt):
        part()
    said = capsys.readouterr().out
    assert "sft: checkpoints of at most " in said
    size = float(said.partition("at most ")[2].partition(" MB")[0])
    tensors = ("model.safetensors", "optimizer.pt")
    for checkpoint in checkpoints.folder.glob("checkpoint-*"):
        assert sum((checkpoint / name).stat().st_size for name in tensors) < 1e6 * (size + 0.1)


def test_a_loss_that_is_not_a_number_stops_the_training_and_leaves_the_last_good_checkpoint(
    job: SftJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    from synthagent.student.sft import SFTTrainer

    compute = SFTTrainer.compute_loss

    def spoilt(trainer: Any, *args: Any, **kwargs: Any) -> Any:
        return compute(trainer, *args, **kwargs) * (float("nan") if trainer.state.global_step == 24 else 1)

    monkeypatch.setattr(SFTTrainer, "compute_loss", spoilt)
    checkpoints = checkpoints_of("sft", job, 0)
    assert checkpoints
    with pytest.raises(SynthAgentError) as told:
        replace(job, checkpoints=checkpoints)()
    for part in (
        "sft: the loss of step 25 is not finite",
        "lower sft.muon_rate or sft.adam_rate",
        "of step 20 is kept",
    ):
        assert part in str(told.value)
    last = newest(checkpoints.folder)
    assert last
    assert step_of(last) == 20


# --- what lies in the folder ----------------------------------------------------------------------------------------


def written(folder: Path, step: int, score: float | None) -> Path:
    """A checkpoint; half-written where there is no score."""
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "weights").write_text(f"weights of {step}")
    (checkpoint / "state").write_text("{}")
    if score is not None:
        seal(checkpoint, score)
    return checkpoint


def test_the_last_and_the_best_are_kept(tmp_path: Path) -> None:
    left = []
    for step, score in ((1, 0.1), (2, 0.5), (3, 0.2), (10, 0.3), (11, 0.6)):
        written(tmp_path, step, score)
        left.append(sorted(step_of(path) for path in tmp_path.iterdir()))
    assert left == [[1], [2], [2, 3], [2, 10], [11]]


def test_a_save_that_was_cut_off_falls_back_to_the_one_before_it_without_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = written(tmp_path, 10, 0.0)
    half = written(tmp_path, 20, None)
    assert newest(tmp_path) == before
    assert not half.exists()
    assert capsys.readouterr().out == ""


def cut(checkpoint: Path) -> None:
    os.truncate(checkpoint / "weights", 3)


def altered(checkpoint: Path) -> None:
    (checkpoint / "weights").write_text("WEIGHTS OF 20")


def lost(checkpoint: Path) -> None:
    (checkpoint / "state").unlink()


def unreadable(checkpoint: Path) -> None:
    (checkpoint / "whole.json").write_bytes(b"\x00\xff")


@pytest.mark.parametrize("spoil", [cut, altered, lost, unreadable])
def test_a_corrupt_checkpoint_is_told_in_one_line_and_not_used(
    spoil: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = written(tmp_path, 20, 0.0)
    spoil(checkpoint)
    assert newest(tmp_path) is None
    (said,) = capsys.readouterr().out.splitlines()
    assert str(checkpoint) in said
    assert "training begins anew" in said
    assert not checkpoint.exists()


def test_of_a_corrupt_last_checkpoint_the_best_before_it_takes_the_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best, last = written(tmp_path, 10, 1.0), written(tmp_path, 20, 0.0)
    cut(last)
    assert newest(tmp_path) == best
    assert "from an older one" in capsys.readouterr().out


def test_checkpoints_of_other_params_are_left_alone_but_not_more_than_two_and_are_told(
    job: SftJob, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = []
    for seed in range(1, 5):
        checkpoints = checkpoints_of("sft", replace(job, seed=seed), 1)
        assert checkpoints
        written(checkpoints.folder, 10, 0.0)
        os.utime(checkpoints.folder, (seed, seed))
        folders.append(checkpoints.folder)
    capsys.readouterr()
    assert checkpoints_of("sft", job, 1) == Checkpoints(CACHE / "training" / f"sft-{key_of(job)}", 1, None)
    assert [folder.exists() for folder in folders] == [False, False, True, True]
    (said,) = capsys.readouterr().out.splitlines()
    assert folders[-1].name in said
    assert "`rm -r .cache/training` frees that" in said
    assert checkpoints_of("sft", job, None) is None


def test_the_key_tells_what_decides_a_training_from_what_does_not(
    job: SftJob, student: Student, tmp_path: Path
) -> None:
    key = key_of(job)
    same = replace(job, out=tmp_path / "elsewhere", checkpoints=Checkpoints(tmp_path, 1, None))
    assert key_of(same) == key
    rates = job.params.model_copy(update={"adam_rate": 0.1})
    others = [replace(job, seed=1), replace(job, rows=job.rows[::-1]), replace(job, processes=2)]
    keys = [key_of(other) for other in (*others, replace(job, params=rates))]
    save_student(student, job.start)
    assert len({key, *keys, key_of(job)}) == 6
    grpo = job_of(tmp_path / "grpo", student, 2)
    often = grpo.params.compute.model_copy(update={"checkpoint_minutes": 9})
    assert key_of(replace(grpo, params=grpo.params.model_copy(update={"compute": often}))) == key_of(grpo)
    assert key_of(replace(grpo, order=grpo.order[::-1])) != key_of(grpo)
