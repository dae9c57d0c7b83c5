"""The command that measures variety: sets are rows, compared at an equal number of words."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.projects import ROOT, assert_one_message, default_params, synthagent, write_params
from helpers.suites import link_bfcl, needs_bfcl
from helpers.tasks import accepted_tasks

from synthagent.errors import SynthAgentError
from synthagent.records import Task
from synthagent.stage import Paths
from synthagent.store import write_records
from synthagent.suites.variety import variety_table

REAL = ROOT.parent / "shared" / "data" / "agenticqwen_5.json"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_params(tmp_path, {})
    write_records(tmp_path / Paths.tasks, Task, accepted_tasks()[:60])
    return tmp_path


def table(folder: Path, *args: str) -> list[list[str]]:
    """The rows of the table, cell by cell."""
    finished = synthagent("variety", *args, cwd=folder)
    assert finished.returncode == 0, finished.stderr
    return [line.split() for line in finished.stdout.splitlines()[:-3]]


def test_tasks_on_disk_and_named_files_are_rows_of_one_table(project: Path) -> None:
    write_records(project / "few.parquet", Task, accepted_tasks()[:20])
    heading, row = table(project)
    assert heading[:4] == ["tasks", "instructions", "words", "tools"]
    assert row[:3] == ["data/tasks.parquet", "60", "30"]
    _, whole, few = table(project, "--tasks", "data/tasks.parquet", "--tasks", "few.parquet")
    assert (whole[:2], few[:2]) == (["data/tasks.parquet", "60"], ["few.parquet", "20"])
    assert len(few) == len(heading), "spread is empty, the name has no heading"


def test_nothing_to_measure_is_told_in_one_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_one_message(synthagent("variety", "--embeddings", cwd=project), "tasks.decontaminate.embeddings: null")
    monkeypatch.chdir(project)
    write_records(Path("none.parquet"), Task, [])
    for files, suites, said in (
        ([], "none", "nothing to measure"),
        ([Path("none.parquet")], "none", "none.parquet: no words"),
        ([Path("gone.parquet")], "none", "gone.parquet"),
        ([], "other", "other"),
    ):
        with pytest.raises(SynthAgentError, match=said):
            variety_table(files, suites, None, default_params())


@pytest.mark.skipif(not REAL.exists(), reason="the sample of another project is not here")
def test_tasks_of_another_project_are_measured_once_imported(project: Path) -> None:
    assert synthagent("import", "agenticqwen", str(REAL), "-o", "theirs.parquet", cwd=project).returncode == 0
    _, theirs = table(project, "--tasks", "theirs.parquet")
    assert theirs[:2] == ["theirs.parquet", "5"]
    assert int(theirs[5]) > 2, "shapes: its tools are typed"


@needs_bfcl
@pytest.mark.slow
def test_problems_of_the_leaderboard_stand_beside_tasks_of_ours(project: Path) -> None:
    link_bfcl(project)
    _, ours, theirs = table(project, "--suite", "bfcl")
    assert (ours[0], theirs[0]) == ("data/tasks.parquet", "bfcl")
    assert int(theirs[2].replace(",", "")) == 4275
    assert int(theirs[6].replace(",", "")) > 500 > int(ours[5]), "shapes of tools"
