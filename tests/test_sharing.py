"""A run is shared: git stays clean, metrics and experiments compare, and a clone that pulls has nothing to compute."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from helpers.pipeline import Finished, Project, new_project
from helpers.projects import ROOT, files_under

from synthagent.cli import STAGES
from synthagent.reading import load_run


def git(folder: Path, *args: str) -> str:
    command = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c", *args]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def said(project: Project, *command: str) -> str:
    """What a command that goes well prints."""
    finished = project.run(*command)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def committed(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the finished project with everything committed; not to be written to."""
    folder = tmp_path_factory.mktemp("committed") / "copy"
    shutil.copytree(finished.project.folder, folder, symlinks=True)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "a run")
    return Project(folder)


@pytest.fixture
def shared(committed: Project, tmp_path: Path) -> Project:
    """A copy of it, to do anything with."""
    shutil.copytree(committed.folder, tmp_path / "copy", symlinks=True)
    return Project(tmp_path / "copy")


def test_git_tracks_the_metrics_and_no_other_data(committed: Project) -> None:
    tracked = set(git(committed.folder, "ls-files", "data").splitlines())
    assert {path for path in tracked if not path.endswith(".gitignore")} == {f"data/metrics/{s}.json" for s in STAGES}
    timings = {f"data/timings/{stage}.json" for stage in STAGES}
    assert timings == {str(path.relative_to(committed.folder)) for path in files_under(committed.data / "timings")}
    lock = (committed.folder / "dvc.lock").read_text()
    assert "data/details/tasks.json" in lock
    assert "timings" not in lock


@pytest.mark.slow
def test_a_second_run_of_everything_leaves_git_clean(shared: Project) -> None:
    before = {path: text for path, text in files_under(shared.data).items() if "timings" not in path.parts}
    again = shared.repro("--force")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("Running stage") == len(STAGES)
    assert git(shared.folder, "status", "--porcelain") == ""
    assert {path: path.read_bytes() for path in before} == before


def test_experiments_and_metrics_can_be_compared(shared: Project) -> None:
    assert said(shared, "dvc", "metrics", "diff") == ""
    ran = said(shared, "dvc", "exp", "run", "-S", "grpo.steps=3")
    assert "Running stage 'grpo'" in ran
    assert "Running stage 'sft'" not in ran
    (change,) = (
        row
        for row in json.loads(said(shared, "dvc", "metrics", "diff", "--json"))["data/metrics/grpo.json"].items()
        if row[0] == "steps"
    )
    assert change[1] == {"old": 2, "new": 3, "diff": 1}
    shown = said(shared, "dvc", "exp", "show", "--csv").splitlines()
    assert {"steps", "grpo.steps"} <= set(shown[0].split(","))
    assert len(shown) == 4  # head, workspace, commit, experiment
    listed = said(shared, "dvc", "metrics", "show", "--json")
    assert len(listed) < 10_000


@pytest.mark.slow
def test_a_sweep_waits_in_the_queue_runs_beside_the_tree_and_can_be_compared_and_applied(shared: Project) -> None:
    queued = said(shared, "dvc", "exp", "run", "--queue", "-S", "evaluate.tasks=2,4")
    assert queued.count("Queued experiment") == 2
    assert "Queued" in said(shared, "dvc", "queue", "status")
    before = git(shared.folder, "status", "--porcelain")
    said(shared, "dvc", "exp", "run", "--run-all", "-j", "1")
    assert git(shared.folder, "status", "--porcelain") == before
    rows = list(csv.DictReader(io.StringIO(said(shared, "dvc", "exp", "show", "--csv"))))
    names = {row["evaluate.tasks"]: row["Experiment"] for row in rows if row["Experiment"]}
    assert set(names) == {"2", "4"}
    compared = said(shared, "dvc", "params", "diff", names["2"], names["4"])
    assert "evaluate.tasks" in compared
    page = shared.folder / "dvc_plots" / "index.html"
    said(shared, "dvc", "plots", "diff", *names.values())
    assert all(name in page.read_text(encoding="utf-8") for name in names.values())
    said(shared, "dvc", "exp", "apply", names["4"])
    assert yaml.safe_load((shared.folder / "params.yaml").read_text())["evaluate"]["tasks"] == 4
    assert said(shared, "dvc", "status") == "Data and pipelines are up to date.\n"
    said(shared, "dvc", "exp", "remove", names["2"])


def test_a_clone_that_pulls_is_up_to_date_and_runs_nothing(shared: Project, tmp_path: Path) -> None:
    said(shared, "dvc", "remote", "add", "-d", "elsewhere", str(tmp_path / "remote"))
    git(shared.folder, "commit", "-qam", "a remote")
    said(shared, "dvc", "push")
    git(tmp_path, "clone", "-q", str(shared.folder), "clone")
    clone = Project(tmp_path / "clone")
    said(clone, "dvc", "pull")
    assert said(clone, "dvc", "status") == "Data and pipelines are up to date.\n"
    assert "Running stage" not in said(clone, "dvc", "repro")
    assert git(clone.folder, "status", "--porcelain") == ""

    def outs(project: Project) -> dict[Path, bytes]:
        found = {path.relative_to(project.data): text for path, text in files_under(project.data).items()}
        return {path: text for path, text in found.items() if path.parts[0] != "timings"}

    assert outs(clone) == outs(shared)


def test_a_task_written_by_hand_takes_the_place_of_the_teachers_and_another_revision_is_still_there(
    tmp_path: Path,
) -> None:
    shared = new_project(tmp_path / "shared")
    said(shared, "dvc", "repro", "rubrics")
    git(shared.folder, "add", "-A")
    git(shared.folder, "commit", "-qm", "the teacher's tasks")
    said(shared, "python", str(ROOT / "docs/how_to/world_by_hand.py"), "data/tasks.parquet")
    said(shared, "dvc", "commit", "-f", "tasks")
    ran = said(shared, "dvc", "repro", "rubrics")
    assert "Running stage 'rubrics'" in ran
    assert "Running stage 'tasks'" not in ran
    run, before = load_run(root=shared.folder), load_run("HEAD", shared.folder)
    assert list(run.tasks.index) == list(run.rubrics.index) == ["boat-1"]
    assert len(before.tasks) >= len(before.rubrics) > 1
    assert before.record("tasks", before.tasks.index[0]).id == before.tasks.index[0]
    said(shared, "dvc", "repro", "-f", "tasks")
    assert set(load_run(root=shared.folder).tasks.index) == set(before.tasks.index)
    (shared.data / "tasks.parquet").unlink()
    said(shared, "dvc", "checkout", "data/tasks.parquet")
    assert set(load_run(root=shared.folder).tasks.index) == set(before.tasks.index)
