"""Copies of the project in which the whole pipeline runs on small params, by its public commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from helpers.projects import ROOT, figures_in, write_params

PATIENCE = 300.0

# The least training after which a student's episodes differ in reward: the formula that pays for asking, and no need
# of an answer, are params as any other.
SMALL = {
    "personas.count": 20,
    "tasks.count": 220,
    "tasks.difficulty_mix": [1, 0, 0],
    "tasks.blend_share": 0.0,
    "rubrics.skill": 1.0,
    "reasoning.count": 60,
    "student.tiny": {"vocab_size": 800, "hidden_size": 32, "layers": 2, "heads": 2},
    "sft.demos": 300,
    "sft.reasoning_share": 0.1,
    "sft.batch_size": 4,
    "episode.max_turns": 8,
    "episode.max_tokens": 120,
    "episode.max_turn_tokens": 24,
    "rollouts.tasks": 24,
    "rollouts.samples": 3,
    "grpo.steps": 2,
    "grpo.tasks_per_step": 2,
    "grpo.reasoning_share": 0.5,
    "grpo.group_size": 4,
    "evaluate.tasks": 6,
    "evaluate.reasoning": 3,
    "compute.processes": 1,
    "reward.formula": "paper",
    "reward.require_answer": False,
}


@dataclass(frozen=True)
class Project:
    """A copy of the project's own files, whose code is what runs in it."""

    folder: Path

    @property
    def env(self) -> dict[str, str]:
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        ours = {"PATH": path, "PYTHONPATH": str(self.folder), "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1"}
        return os.environ | ours | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def run(
        self, *command: str, env: Mapping[str, str] | None = None, before: Callable[[], None] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.env | (env or {}),
            preexec_fn=before,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )

    def repro(self, *args: str) -> subprocess.CompletedProcess[str]:
        return self.run("dvc", "repro", *args)

    def stage(self, name: str, before: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
        return self.run("synthagent", name, before=before)

    def start(self, log: Path, *command: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a command as the head of a process group of its own, which writes to `log`."""
        with log.open("wb") as out:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.env | (env or {}),
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def params(self, **changes: Any) -> None:
        """Set the params to the small ones with some changed (`section__key`)."""
        write_params(self.folder, SMALL | {name.replace("__", "."): value for name, value in changes.items()})

    def said(self, stage: str) -> dict[str, Any]:
        """All that a stage said of its last run: metrics, details, timings."""
        return figures_in(self.folder, stage)

    def locked(self) -> dict[str, str]:
        """The md5 of every out but the metrics, by `dvc.lock`."""
        stages = yaml.safe_load((self.folder / "dvc.lock").read_text())["stages"]
        outs = [out for stage in stages.values() for out in stage["outs"]]
        return {out["path"]: out["md5"] for out in outs if not out["path"].startswith("data/metrics/")}


def new_project(folder: Path, source: Path = ROOT) -> Project:
    """What a clone of `source` would have, and what is not committed yet."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=source, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (source / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, folder / name)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    project = Project(folder)
    project.params()
    return project


@dataclass(frozen=True)
class Finished:
    """A project in which everything has run, and what that printed; not to be written to."""

    project: Project
    printed: str


def wait_for(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"in {PATIENCE} s not seen: {what}"
        time.sleep(0.02)


def processes_in(folder: Path) -> list[str]:
    """What still runs in a folder."""
    found = [p.info for p in psutil.process_iter(["cwd", "status", "cmdline"], ad_value=None)]
    return [" ".join(p["cmdline"] or ()) for p in found if p["cwd"] == str(folder) and p["status"] != "zombie"]
