"""The project's params, small projects, the public command and what is to be said of its outcome."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from synthagent.params import Params
from synthagent.params_file import load_params
from synthagent.stage import Figures, Paths

ROOT = Path(__file__).resolve().parents[2]


@lru_cache
def default_params() -> Params:
    """The params that ship with the project."""
    return load_params(ROOT / "params.yaml")


def write_params(folder: Path, changes: Mapping[str, Any]) -> Path:
    """The project's params with some changed (`section.key` -> value), as `params.yaml` in `folder`."""
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    for place, value in deepcopy(dict(changes)).items():  # a section that was given whole may be changed below
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
    command = [sys.executable, "-P", "-m", "synthagent", *args]  # -P: a project may have a folder of that name
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


def said_by(figures: Figures) -> dict[str, Any]:
    """All that a stage says of its run, by name."""
    return {**figures.metrics, **(figures.details or {}), **figures.usage}


def figures_in(folder: Path, stage: str) -> dict[str, Any]:
    """All that a stage said of its run in a project: the content of its metrics, details and timings."""
    paths = [folder / path(stage) for path in (Paths.metrics, Paths.details, Paths.timings)]
    return {name: value for path in paths if path.exists() for name, value in json.loads(path.read_text()).items()}


def files_under(folder: Path) -> dict[Path, bytes]:
    """Every file in a folder, with its content."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
