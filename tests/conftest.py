"""Fixtures that several test modules share, and how hypothesis runs."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import anyio
import pytest
from helpers.pipeline import Finished, Project, new_project
from helpers.projects import synthagent, write_params
from hypothesis import settings

# The same examples in every run, and no deadline: nothing here may fail because a machine is busy.
settings.register_profile("tests", deadline=None, derandomize=True, database=None, max_examples=60)
settings.load_profile("tests")


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the stages up to `rubrics` have run; do not write to it."""
    folder = tmp_path_factory.mktemp("generated")
    no_problems = {"reasoning.count": 0, "sft.reasoning_share": 0, "grpo.reasoning_share": 0, "evaluate.reasoning": 0}
    write_params(folder, {"tasks.count": 40} | no_problems)
    for stage in ("personas", "tasks", "rubrics"):
        finished = synthagent(stage, cwd=folder)
        assert finished.returncode == 0, finished.stderr
    return folder


@pytest.fixture
def project(generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `generated`, which is also the working directory."""
    folder = tmp_path / "project"
    shutil.copytree(generated, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    project = new_project(tmp_path_factory.mktemp("first"))
    ran = project.repro()
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return Finished(project, ran.stdout)


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
