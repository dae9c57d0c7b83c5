"""Fixtures that several test modules share, and how hypothesis runs."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from filelock import FileLock
from helpers.pipeline import Finished, Project, new_project
from helpers.projects import synthagent, write_params
from hypothesis import settings

# Tests run beside each other on all cores: threads of their own would wait for one another, and spin while they do.
# torch reads it when it is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples in every run, and no deadline: nothing here may fail because a machine is busy.
settings.register_profile("tests", deadline=None, derandomize=True, database=None, max_examples=60)
settings.load_profile("tests")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with long tests come first, lest one of them be left to one process when all others have ended."""
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder that `make` fills: by the first process of the tests that asks for it, and for all of them."""
    own = factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / name
    with FileLock(f"{folder}.lock"):
        if not (folder / "made").exists():
            shutil.rmtree(folder, ignore_errors=True)  # half of one: `make` failed elsewhere, and fails here again
            (folder / "it").mkdir(parents=True)
            make(folder / "it")
            (folder / "made").touch()
    return folder / "it"


def _generate(folder: Path) -> None:
    no_problems = {"reasoning.count": 0, "sft.reasoning_share": 0, "grpo.reasoning_share": 0, "evaluate.reasoning": 0}
    write_params(folder, {"tasks.count": 40} | no_problems)
    for stage in ("personas", "tasks", "rubrics"):
        finished = synthagent(stage, cwd=folder)
        assert finished.returncode == 0, finished.stderr


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the stages up to `rubrics` have run; do not write to it."""
    return made_once(tmp_path_factory, "generated", _generate)


@pytest.fixture
def project(generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `generated`, which is also the working directory."""
    folder = tmp_path / "project"
    shutil.copytree(generated, folder)
    monkeypatch.chdir(folder)
    return folder


def _finish(folder: Path) -> None:
    ran = new_project(folder / "project").repro()
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (folder / "printed").write_text(ran.stdout)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A project in which everything has run; do not write to it."""
    folder = made_once(tmp_path_factory, "finished", _finish)
    return Finished(Project(folder / "project"), (folder / "printed").read_text())


@pytest.fixture
def small_project(finished: Finished, tmp_path: Path) -> Project:
    """A copy of the finished project, to do anything with."""
    shutil.copytree(finished.project.folder, tmp_path / "copy", symlinks=True)
    return Project(tmp_path / "copy")


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Back-off takes no time; the delays that would have been waited are recorded."""
    delays: list[float] = []

    async def sleep(delay: float) -> None:
        delays.append(delay)
        await asyncio.sleep(0)

    monkeypatch.setattr(anyio, "sleep", sleep)
    return delays
