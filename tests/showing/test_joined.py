"""The report card joins what differs from run to run when it is looked at; the stage's own page stays as it is."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers.projects import assert_one_message, synthagent, write_params

from synthagent.showing.html import PLACE
from synthagent.stage import Paths, md5_of_metrics
from synthagent.store import write_text

PAGE = f"<!doctype html><h1>Report</h1>\n{PLACE}\n<p>below</p>"
EVIL = '<script>alert("x")</script>\u202e'


def git(*args: str) -> str:
    command = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c", *args]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def committed(reward: float, said: str) -> str:
    write_text(Paths.metrics("grpo"), json.dumps({"steps": 95, "reward_last_5": reward}))
    git("add", "data/metrics", "params.yaml")
    git("commit", "-qm", said)
    return git("rev-parse", "HEAD")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a page, two runs in git and timings of the second."""
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, {"compute.checkpoint_minutes": 7, "grpo.steps": 3})
    write_text(Paths.report, PAGE)
    git("init", "-q")
    committed(0.25, "the first run")
    commit = committed(0.75, f"the second run {EVIL}")
    origin = {"at": "2026-11-26T10:00:00+00:00", "commit": commit, "uncommitted": 2, "machine": f"2 cores of {EVIL}"}
    counts = {"calls": 3, "hits": 4, "prompt_tokens": 1000, "completion_tokens": 234, "usd": 0.5}
    timings = {"seconds": 61.25, "peak_rss_mb": 700, "origin": origin, "metrics_md5": md5_of_metrics("grpo")}
    write_text(Paths.timings("grpo"), json.dumps({**timings, "llm": {"user": {"m": counts, "n": counts}}}))
    write_text(Paths.timings("sft"), json.dumps({"seconds": 5.0, "peak_rss_mb": 70}))  # of an earlier version
    return tmp_path


def joined(*args: str) -> str:
    """The page that the command writes, on one line."""
    finished = synthagent("report-card", *args, cwd=Path.cwd())
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == ".cache/report/index.html: for any browser\n"
    return " ".join(Path(".cache/report/index.html").read_text(encoding="utf-8").split())


def test_commit_machine_time_tokens_and_the_run_before_are_on_the_page(run: Path) -> None:
    page = joined()
    assert page.startswith("<!doctype html><h1>Report</h1>")
    assert page.endswith("<p>below</p>")
    assert f"<code>{git('rev-parse', 'HEAD')[:10]}</code> of " in page
    assert "<th>grpo</th><td>61.2</td><td>700</td> <td>6</td><td>8</td><td>2,468</td><td>1</td>" in page
    assert "2026-11-26 10:00:00" in page
    assert "and 2 files edited" in page
    assert "<dt>compute.checkpoint_minutes</dt><dd>7.0 <small>default 1.0</small></dd>" in page
    assert "grpo.steps" not in page  # it decides figures, so that the stage's own page names it
    assert f"Against <code>{git('rev-parse', 'HEAD~1')[:10]}</code>" in page
    assert "Headline numbers: 1 the same, 1 not" in page
    assert "<th>grpo</th><td>reward_last_5</td><td>0.2500</td><td>0.7500</td> <td>+0.5000</td>" in page


def test_what_others_wrote_stays_text(run: Path) -> None:
    page = joined()
    assert "<script" not in page
    assert "\u202e" not in page
    assert page.count("&lt;script&gt;") == 2  # of the commit's subject and of the machine


def test_times_of_another_run_are_marked(run: Path) -> None:
    assert "<th>sft <small>another run\u2019s</small></th>" in joined()
    assert "<th>grpo</th>" in joined()
    write_text(Paths.metrics("grpo"), json.dumps({"steps": 1}))
    assert "<th>grpo <small>another run\u2019s</small></th>" in joined()


def test_figures_that_are_not_committed_are_compared_with_the_last_commit_or_any_other(run: Path) -> None:
    write_text(Paths.metrics("grpo"), json.dumps({"steps": 95, "reward_last_5": 0.5}))
    assert "<td>0.7500</td><td>0.5000</td> <td>\u22120.2500</td>" in joined()
    assert "<td>0.2500</td><td>0.5000</td> <td>+0.2500</td>" in joined("--against", "HEAD~1")
    assert_one_message(synthagent("report-card", "--against", "gone", cwd=run), "--against: git has no commit 'gone'")


def test_outside_of_git_and_without_timings_there_is_a_page_too(run: Path) -> None:
    shutil.rmtree(".git")
    shutil.rmtree(Paths.timings("grpo").parent)
    page = joined()
    assert "not under git" in page
    assert "Git has no run with other figures to compare with" in page
    assert "No stage has run here since its data came" in page


def test_the_page_of_the_stage_stays_as_it_is_and_what_it_links_to_comes_along(run: Path) -> None:
    write_text(Paths.report.parent / "episodes.html", "more")
    joined()
    assert Paths.report.read_text(encoding="utf-8") == PAGE
    assert Path(".cache/report/episodes.html").read_text() == "more"


def test_a_page_that_is_missing_or_of_an_earlier_version_is_told_in_a_line(run: Path) -> None:
    write_text(Paths.report, "<h1>old</h1>")
    assert_one_message(synthagent("report-card", cwd=run), "index.html: written by another version", "dvc repro report")
    Paths.report.unlink()
    assert_one_message(synthagent("report-card", cwd=run), "index.html: no such page", "dvc repro report", "dvc pull")
