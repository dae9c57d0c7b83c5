"""What several test modules share: tasks of a given level, small projects, and the public command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import settings

from synthagent.criteria import extract
from synthagent.params import Params, load_params
from synthagent.records import Rubric, Task
from synthagent.stages.personas import built_in
from synthagent.stages.tasks import judge_proposals, propose
from synthagent.teacher.domains import load_vocabulary
from synthagent.world import fresh_world

ROOT = Path(__file__).resolve().parent.parent

# The same examples in every run, and no deadline: nothing here may fail because a machine is busy.
settings.register_profile("tests", deadline=None, derandomize=True, database=None, max_examples=60)
settings.load_profile("tests")


@lru_cache
def default_params() -> Params:
    """The params that ship with the project."""
    return load_params(ROOT / "params.yaml")


@lru_cache
def accepted_tasks(count: int = 300) -> tuple[Task, ...]:
    """What the teacher's first `count` proposals come to."""
    personas, vocabulary, params = tuple(built_in()), load_vocabulary(), default_params().tasks
    proposals = (propose(number, personas, vocabulary, params, seed=7) for number in range(count))
    return tuple(row for row in judge_proposals(proposals) if isinstance(row, Task))


def task_of_level(level: int, where: Callable[[Task], bool] = lambda task: True) -> Task:
    """The first accepted task of a level that has the property asked for."""
    return next(task for task in accepted_tasks() if task.difficulty == level and where(task))


def rubric_of(task: Task) -> Rubric:
    """The rubric that the reference's path gives."""
    return Rubric(task_id=task.id, criteria=extract(task, fresh_world(task)).criteria, coverage=1.0)


def write_params(folder: Path, changes: Mapping[str, Any]) -> Path:
    """The project's params with some changed (`section.key` -> value), as `params.yaml` in `folder`."""
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    for place, value in changes.items():
        *sections, key = place.split(".")
        target = raw
        for section in sections:
            target = target[section]
        target[key] = value
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


def synthagent(*args: str, cwd: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the public command in `cwd`."""
    command = [sys.executable, "-m", "synthagent", *args]
    env = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return subprocess.run(command, cwd=cwd, input=stdin, env=env, capture_output=True, text=True, check=False)


def assert_one_message(finished: subprocess.CompletedProcess[str], *parts: str) -> None:
    """The command failed with exit code 1 and a single line that has all `parts`."""
    assert finished.returncode == 1, finished
    assert "Traceback" not in finished.stderr
    assert finished.stdout == ""
    lines = finished.stderr.strip().splitlines()
    assert len(lines) == 1, finished.stderr
    assert len(lines[0]) < 1_000
    for part in ("synthagent: ", *parts):
        assert part in lines[0], lines[0]


def files_under(folder: Path) -> dict[Path, bytes]:
    """Every file in a folder, with its content."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the stages up to `rubrics` have run; do not write to it."""
    folder = tmp_path_factory.mktemp("generated")
    write_params(folder, {"tasks.count": 40})
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
