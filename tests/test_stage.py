"""What stages share: one writer at a time, and outs that survive a run that fails or is stopped."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from helpers.projects import ROOT, assert_one_message, files_under, synthagent, write_params

from synthagent.errors import LockedError, StoppedError, StoreError
from synthagent.stage import OUTS, PROGRESS_LINES, Paths, md5_of_metrics, outs_kept, progress

A, B, MODEL = Path("data/a.parquet"), Path("data/b.parquet"), Path("data/models/m")
OUTS_OF_DEMO = (A, B, MODEL)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, which is also the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def replace(path: Path, text: str) -> None:
    """Write as the store does: a new file takes the old one's place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    new.replace(path)


def run_once(text: str) -> None:
    """A run that goes well: both outs and a model hold `text`."""
    with outs_kept("demo", OUTS_OF_DEMO):
        replace(A, text)
        replace(B, text)
        shutil.rmtree(MODEL, ignore_errors=True)
        MODEL.mkdir(parents=True)
        (MODEL / "weights").write_text(text)


def run_that_stops(stopped_by: type[BaseException], written: list[Path]) -> None:
    """A run that is stopped when it has written some outs."""
    with outs_kept("demo", OUTS_OF_DEMO):
        for path in written:
            replace(path, "half")
        raise stopped_by


def test_headline_numbers_details_and_timings_go_to_files_of_their_own(project: Path) -> None:
    metrics, details, timings = (
        json.loads(path("tasks").read_text()) for path in (Paths.metrics, Paths.details, Paths.timings)
    )
    assert metrics["proposed"] == 40
    assert all(value is None or isinstance(value, int | float) for value in metrics.values())
    assert details["funnel"]["proposed"] == 40
    assert set(timings) == {"seconds", "peak_rss_mb", "origin", "metrics_md5"}
    assert set(timings["origin"]) == {"at", "commit", "uncommitted", "machine"}
    assert timings["metrics_md5"] == md5_of_metrics("tasks")
    assert timings["seconds"] >= 0
    assert timings["peak_rss_mb"] > 10


def test_the_outs_of_the_stages_are_those_of_dvc_yaml() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    declared = {
        name: {
            Path(path)  # an out is a path, or a path with options
            for out in [*stage["outs"], *stage.get("plots", [])]
            for path in ([out] if isinstance(out, str) else out)
        }
        for name, stage in stages.items()
    }
    assert {name: set(outs) for name, outs in OUTS.items()} == declared


@pytest.mark.parametrize("stopped_by", [RuntimeError, KeyboardInterrupt, SystemExit, StoreError])
@pytest.mark.parametrize("written", [[], [A], [A, B]])
def test_a_run_that_fails_leaves_the_outs_that_were_there(
    stopped_by: type[BaseException], written: list[Path], here: Path
) -> None:
    run_once("one")
    before = files_under(here / "data")
    with pytest.raises((stopped_by, StoppedError)):
        run_that_stops(stopped_by, written)
    assert files_under(here / "data") == before


def test_outs_that_came_from_elsewhere_are_not_replaced_by_older_ones(here: Path) -> None:
    run_once("one")
    replace(A, "checked out")
    replace(B, "checked out")
    with pytest.raises(RuntimeError), outs_kept("demo", OUTS_OF_DEMO):
        raise RuntimeError
    assert (A.read_text(), B.read_text()) == ("checked out", "checked out")


def test_a_first_run_that_fails_has_nothing_to_put_back(here: Path) -> None:
    with pytest.raises(RuntimeError), outs_kept("demo", [A]):
        raise RuntimeError
    assert not A.exists()


def test_what_a_killed_run_left_half_written_is_removed_by_the_next(here: Path) -> None:
    replace(Path("data/.a.parquet.4711.tmp"), "half")
    replace(Path("data/models/.m.x1y2.tmp/weights"), "half")
    replace(Path("data/.other.parquet.4711.tmp"), "of another stage")
    run_once("one")
    assert sorted(path.name for path in Path("data").iterdir() if path.name.startswith(".")) == [
        ".other.parquet.4711.tmp"
    ]
    assert [path.name for path in Path("data/models").iterdir()] == ["m"]


def test_a_lock_is_free_again_after_a_failure(here: Path) -> None:
    with pytest.raises(RuntimeError), outs_kept("demo", [A]):
        raise RuntimeError
    run_once("one")
    assert A.read_text() == "one"


def test_two_stages_may_run_at_once_but_not_one_stage_twice(here: Path) -> None:
    with (
        outs_kept("demo", []),
        outs_kept("other", []),
        pytest.raises(LockedError, match="stage demo"),
        outs_kept("demo", []),
    ):
        pass


def test_a_cache_that_cannot_be_written_is_told(here: Path) -> None:
    Path(".cache").write_text("")
    with pytest.raises(StoreError, match=r"\.cache.*cannot be written"), outs_kept("demo", [A]):
        pass


def test_a_stage_that_another_process_runs_is_refused_and_nothing_is_touched(project: Path) -> None:
    before = files_under(project / "data")
    script = """
from filelock import FileLock
lock = FileLock(".cache/locks/tasks.lock")
lock.acquire()
print("held", flush=True)
input()
"""
    holder = subprocess.Popen(
        [sys.executable, "-c", script], cwd=project, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert_one_message(synthagent("tasks", cwd=project), "stage tasks", "another process", "tasks.lock")
        assert files_under(project / "data") == before
    finally:
        holder.communicate("\n")
    assert synthagent("tasks", cwd=project).returncode == 0


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stage_that_is_stopped_puts_the_last_outs_back_and_says_so(
    sent: signal.Signals, code: int, project: Path
) -> None:
    before = files_under(project / "data")
    write_params(project, {"tasks.count": 1_000_000})
    process = subprocess.Popen(
        [sys.executable, "-m", "synthagent", "tasks"],
        cwd=project,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    try:
        while not list((project / "data").glob(".tasks.parquet.*.tmp")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.send_signal(sent)
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == code, errors
    assert errors.strip() == "synthagent: stage tasks: interrupted; its outs are as they were"
    assert files_under(project / "data") == before


def run_that_swallows(sent: signal.Signals, goes_on: bool) -> None:
    """A run in which some library loses the exception that a signal raised."""
    with outs_kept("demo", OUTS_OF_DEMO):
        with contextlib.suppress(BaseException):
            os.kill(os.getpid(), sent)
        replace(A, "half")
        if goes_on:
            assert list(progress(range(5), 5, "demo")) == []


@pytest.mark.parametrize("goes_on", [True, False])
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_that_a_library_swallows_stops_the_stage_nonetheless(
    sent: signal.Signals, code: int, goes_on: bool, here: Path
) -> None:
    run_once("one")
    before, handler, hook = files_under(here / "data"), signal.getsignal(sent), sys.unraisablehook
    with pytest.raises(StoppedError) as stopped:
        run_that_swallows(sent, goes_on)
    assert stopped.value.exit_code == code
    assert files_under(here / "data") == before
    assert signal.getsignal(sent) is handler
    assert sys.unraisablehook is hook
    run_once("two")
    assert A.read_text() == "two"


# --- progress -------------------------------------------------------------------------------------------------------


def test_progress_passes_everything_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress(range(5), 5, "demo")) == list(range(5))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("total", "lines"), [(3, 3), (100, 100), (1_000, 100), (250, 126)])
def test_a_flow_gets_lines_of_progress_about_a_hundred_of_them(
    total: int, lines: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(PROGRESS_LINES, "1")
    assert list(progress(range(total), total, "demo")) == list(range(total))
    said = capsys.readouterr().out.splitlines()
    assert all(line.startswith("@progress {") for line in said)
    last = json.loads(said[-1].removeprefix("@progress "))
    assert last == {"stage": "demo", "done": total, "total": total}
    assert len(said) == pytest.approx(lines, abs=1)


def test_progress_takes_items_one_by_one() -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(3):
            taken.append(number)
            yield number

    shown = progress(items(), 3, "demo")
    next(shown)
    assert taken == [0]
