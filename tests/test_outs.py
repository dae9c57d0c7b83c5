"""Outs that outlive a failed run: as they were, or as `dvc.lock` names them, or none; with a real DVC."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers.pipeline import Project, new_project, wait_for
from helpers.projects import files_under

from synthagent.errors import StoppedError
from synthagent.outs import remove
from synthagent.stage import outs_kept

A, B, MODEL, METRICS = (Path("data") / name for name in ("a.parquet", "b.parquet", "models/m", "metrics/demo.json"))
OUTS = (A, B, MODEL, METRICS)
MAKE = f"""
import pathlib, sys
for name in ("{A}", "{B}", "{MODEL}/weights", "{MODEL}/more/words", "{METRICS}"):
    path = pathlib.Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{{name}} by {{pathlib.Path('how.txt').read_text()}}")
"""


def dvc(*args: str, cwd: Path) -> None:
    subprocess.run(["dvc", *args, "-q"], cwd=cwd, check=True, capture_output=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DVC project with one stage that has run twice; `dvc.lock` names the outs of the second run."""
    folder = tmp_path_factory.mktemp("built")
    demo = {
        "cmd": "python make.py",
        "deps": ["make.py", "how.txt"],
        "outs": [str(A), str(B), str(MODEL)],
        "metrics": [{str(METRICS): {"cache": False}}],
    }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"demo": demo}}))
    (folder / "make.py").write_text(MAKE)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    dvc("init", cwd=folder)
    for how in ("first", "second"):
        (folder / "how.txt").write_text(how)
        dvc("repro", cwd=folder)
    return folder


@pytest.fixture
def here(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which is also the working directory."""
    shutil.copytree(built, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def fail(*written: Path) -> None:
    """A run that fails when it has written some outs."""

    def run() -> None:
        with outs_kept("demo", OUTS):
            for path in written:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        run()


def as_dvc_does_before_a_run() -> None:
    for out in OUTS:
        remove(out)


def remove_from_cache(out: Path) -> None:
    locked = yaml.safe_load(Path("dvc.lock").read_text())["stages"]["demo"]["outs"]
    md5 = next(entry["md5"] for entry in locked if entry["path"] == str(out))
    (Path(".dvc/cache/files/md5") / md5[:2] / md5[2:]).unlink()


@pytest.mark.parametrize("written", [(), (A,), (A, B, METRICS)])
def test_outs_that_dvc_removed_are_those_of_dvc_lock_again(written: tuple[Path, ...], here: Path) -> None:
    before = files_under(here / "data")
    as_dvc_does_before_a_run()
    fail(*written)
    assert files_under(here / "data") == before
    assert subprocess.run(["dvc", "status"], capture_output=True, text=True, check=True).stdout.startswith("Data and")


def test_a_cache_in_another_place_is_found(here: Path, tmp_path: Path) -> None:
    before = files_under(here / "data")
    (here / ".dvc" / "cache").rename(tmp_path / "elsewhere")
    dvc("config", "cache.dir", "../elsewhere", cwd=here)
    as_dvc_does_before_a_run()
    fail()
    assert files_under(here / "data") == before


@pytest.mark.parametrize("edited", [False, True])
def test_metrics_that_a_clone_has_from_git_alone_are_taken_from_there_if_they_are_those_of_dvc_lock(
    edited: bool, here: Path
) -> None:
    before = files_under(here / "data")
    remove_from_cache(METRICS)
    if edited:
        METRICS.write_text("another run's")
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "add", METRICS], check=True)
    subprocess.run([*git, "commit", "-qm", "metrics"], check=True)
    as_dvc_does_before_a_run()
    fail()
    assert (files_under(here / "data") == before) is not edited
    assert any(out.exists() for out in OUTS) is not edited


@pytest.mark.parametrize("out", OUTS)
def test_where_the_cache_lacks_one_of_them_none_is_put_back(out: Path, here: Path) -> None:
    remove_from_cache(out)
    as_dvc_does_before_a_run()
    with pytest.raises(StoppedError, match=r"incomplete.*run it again"), outs_kept("demo", OUTS):
        raise KeyboardInterrupt
    assert not any(out.exists() for out in OUTS)


@pytest.mark.parametrize(
    "lock", ["", "stages: {}", "[", '{"stages": {"demo": {"outs": [{"path": "data/a.parquet"}]}}}']
)
def test_a_lock_that_names_nothing_puts_nothing_back(lock: str, here: Path) -> None:
    Path("dvc.lock").write_text(lock)
    as_dvc_does_before_a_run()
    fail()
    assert not any(out.exists() for out in OUTS)


def test_outs_that_were_there_are_put_back_whatever_the_lock_names(here: Path) -> None:
    A.unlink()
    A.write_text("made by hand")
    before = files_under(here / "data")
    fail()
    assert files_under(here / "data") == before


def test_what_is_put_back_is_no_link_into_the_cache(here: Path) -> None:
    as_dvc_does_before_a_run()
    fail()
    assert {path.stat().st_nlink for path in files_under(here / "data")} == {1}
    assert not list((here / ".cache" / "kept").iterdir())


# --- the pipeline's own stages --------------------------------------------------------------------------------------


def test_an_interrupt_after_dvc_restored_older_outs_puts_back_those_and_not_the_last_runs(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    demos = Path("data/demos.parquet")
    contents = {}
    for count in (2, 3, 2):
        project.params(tasks__count=40, rubrics__demos_per_task=count)
        ran = project.repro("rubrics")
        assert ran.returncode == 0, ran.stderr
        contents.setdefault(count, (project.folder / demos).read_bytes())
    assert "Stage 'rubrics' is cached" in ran.stdout
    before = files_under(project.data)
    project.params(tasks__count=40, rubrics__demos_per_task=400)
    locks = project.folder / ".cache" / "locks"
    shutil.rmtree(locks)
    process = project.start(tmp_path / "log", "dvc", "repro", "rubrics")
    wait_for("the stage", lambda: locks.is_dir() and any("rubrics" in path.name for path in locks.iterdir()))
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait() != 0
    assert (project.folder / demos).read_bytes() == contents[2] != contents[3]
    assert "stage rubrics: interrupted; its outs are as they were" in (tmp_path / "log").read_text()
    assert files_under(project.data).keys() == before.keys()
    assert all(path.read_bytes() == text for path, text in before.items() if "timings" not in path.parts)


def persona_project(folder: Path, text: str) -> Project:
    project = new_project(folder)
    (folder / "mine.jsonl").write_text(json.dumps({"text": text}))
    project.params(personas__path="mine.jsonl")
    return project


def test_an_edited_file_of_personas_is_noticed_and_null_is_the_built_in_list(tmp_path: Path) -> None:
    project = persona_project(tmp_path / "project", "a baker")
    personas = project.data / "personas.parquet"
    contents = []
    for text in ("a baker", "a miller"):  # the second time as another file of the same name
        (project.folder / "mine.jsonl").unlink()
        (project.folder / "mine.jsonl").write_text(json.dumps({"text": text}))
        assert "mine.jsonl" in project.run("dvc", "status", "personas").stdout
        assert project.repro("personas").returncode == 0
        assert "up to date" in project.run("dvc", "status", "personas").stdout
        contents.append(personas.read_bytes())
    project.params(personas__path=None)
    assert project.repro("personas").returncode == 0
    assert "up to date" in project.run("dvc", "status", "personas").stdout
    assert len({*contents, personas.read_bytes()}) == 3


def test_a_shell_in_which_no_environment_is_active_finds_the_projects_own(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project")
    (project.folder / ".venv").symlink_to(sys.prefix)
    ran = project.run(".venv/bin/dvc", "repro", "personas", env={"PATH": "/usr/bin:/bin"})
    assert ran.returncode == 0, ran.stderr
    assert (project.data / "personas.parquet").exists()
