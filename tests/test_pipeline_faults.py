"""What goes wrong in a pipeline that has run: one message, and the outs stay as they were."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from helpers.pipeline import PATIENCE, Project, processes_in, wait_for
from helpers.projects import assert_one_message, files_under

from synthagent.stage import PROGRESS_LINES

# --- what goes wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"personas__count": "many"}, ("params.yaml: personas.count", "'many'")),
        ({"personas__cuont": 5}, ("params.yaml: personas.cuont", "unknown key")),
    ],
)
def test_after_a_bad_param_dvc_stops_and_the_outs_are_those_of_the_last_run(
    changes: dict[str, Any], parts: tuple[str, ...], small_project: Project
) -> None:
    """DVC removes the outs of a stage before it runs its command."""
    before = files_under(small_project.data)
    small_project.params(**changes)
    failed = small_project.repro()
    assert failed.returncode != 0
    assert "Running stage 'personas'" in failed.stdout
    assert "Traceback" not in failed.stderr
    (said,) = [line for line in failed.stderr.splitlines() if line.startswith("synthagent: ")]
    for part in parts:
        assert part in said
    assert files_under(small_project.data) == before
    small_project.params()
    assert "Running stage" not in small_project.repro().stdout
    assert files_under(small_project.data) == before


def test_a_file_of_personas_that_is_missing_is_named_and_costs_nothing(small_project: Project) -> None:
    """It is DVC that misses it, before the stage's command is run."""
    before = files_under(small_project.data)
    small_project.params(personas__path="mine.jsonl")
    failed = small_project.repro()
    assert failed.returncode != 0
    assert "'personas'" in failed.stderr
    assert "mine.jsonl" in failed.stderr
    assert files_under(small_project.data) == before
    small_project.params()
    assert "Running stage" not in small_project.repro().stdout


@pytest.mark.parametrize(
    ("stage", "changes", "parts"),
    [
        (
            "sft",
            {"student__tiny__hidden_size": 30},
            ("params.yaml: student.tiny.hidden_size / student.tiny.heads", "15"),
        ),
        ("grpo", {"compute__processes": 3}, ("params.yaml: grpo.tasks_per_step * grpo.group_size", "(3)")),
    ],
)
def test_a_size_that_cannot_be_is_told(
    stage: str, changes: dict[str, Any], parts: tuple[str, ...], small_project: Project
) -> None:
    before = files_under(small_project.data)
    small_project.params(**changes)
    assert_one_message(small_project.stage(stage), *parts)
    assert files_under(small_project.data) == before


def with_little_disk() -> None:
    """No file may grow beyond 8 kB: to a program, a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_192, 8_192))


def as_ordinary_user() -> None:
    """Give up root's right to write what is not writable (for others there is nothing to give up)."""
    bounding_set_drop, override = 24, 1
    ctypes.CDLL(None).prctl(bounding_set_drop, override, 0, 0, 0)


@pytest.mark.parametrize("stage", ["tasks", "rubrics", "sft"])
def test_on_a_full_disk_a_stage_says_so_and_keeps_what_was_there(stage: str, small_project: Project) -> None:
    before = files_under(small_project.data)
    assert_told(small_project.stage(stage, before=with_little_disk), "cannot be written: ", "File too large")
    assert files_under(small_project.data) == before


@pytest.mark.parametrize("place", ["data", "data/metrics"])
def test_where_nothing_may_be_written_a_stage_says_so_and_keeps_what_was_there(
    place: str, small_project: Project
) -> None:
    before = files_under(small_project.data)
    folders = [
        path for path in (small_project.folder / place, *(small_project.folder / place).rglob("*")) if path.is_dir()
    ]
    for path in folders:
        path.chmod(0o555)
    try:
        assert_told(small_project.stage("rubrics", before=as_ordinary_user), "cannot be written: ", "Permission denied")
    finally:
        for path in folders:
            path.chmod(0o755)
    assert files_under(small_project.data) == before


def assert_told(finished: subprocess.CompletedProcess[str], *parts: str) -> None:
    """As `assert_one_message`, but the stage may have said other things before."""
    assert finished.returncode == 1, finished
    assert "Traceback" not in finished.stderr
    (line,) = [line for line in finished.stderr.splitlines() if line.startswith("synthagent: ")]
    assert finished.stderr.strip().endswith(line)
    for part in parts:
        assert part in line


def test_ctrl_c_while_a_stage_still_loads_puts_back_what_dvc_removed(small_project: Project, tmp_path: Path) -> None:
    before = files_under(small_project.data)
    shutil.rmtree(small_project.data / "models" / "sft")
    (small_project.data / "metrics" / "sft.json").unlink()
    log = tmp_path / "log"
    process = small_project.start(log, "synthagent", "sft")
    wait_for("the import of torch", lambda: "libtorch" in Path(f"/proc/{process.pid}/maps").read_text())
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE) == 130, log.read_text()
    assert log.read_text() == "synthagent: stage sft: interrupted; its outs are as they were\n"
    assert files_under(small_project.data) == before


def test_ctrl_c_in_a_training_of_two_processes_ends_both_with_one_line(small_project: Project, tmp_path: Path) -> None:
    before = files_under(small_project.data)
    slow = {"vocab_size": 800, "hidden_size": 256, "layers": 12, "heads": 4}  # so that it does not end before Ctrl-C
    small_project.params(compute__processes=2, student__tiny=slow)
    log = tmp_path / "log"
    process = small_project.start(log, "synthagent", "sft", env={PROGRESS_LINES: "1"})
    wait_for("a step of the training", lambda: "@progress" in log.read_text() or process.poll() is not None)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE) == 130, log.read_text()
    said = [line for line in log.read_text().splitlines() if not line.startswith(("@progress", "{"))]
    assert said[-1] == "synthagent: stage sft: interrupted; its outs are as they were"
    assert "Traceback" not in log.read_text()
    assert len(said) == 4, said
    wait_for("the end of all processes", lambda: not processes_in(small_project.folder))
    assert files_under(small_project.data) == before
