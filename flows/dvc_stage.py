"""One stage through DVC, as a Prefect task: lines -> log, progress -> artifact, `data/metrics/<stage>.json` -> table.

Whether there is anything to do is for DVC to say, so the task keeps no results of its own. Call the task, never submit
it: only then does a cancelled run interrupt the stage.
"""

import json
import math
import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from subprocess import PIPE
from typing import IO, Any
from uuid import UUID

from httpx import HTTPError
from prefect import task
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from synthagent.ops.guard import guarded
from synthagent.stage import PROGRESS_LINES, Paths

PROGRESS = "@progress "
UPDATE_SECONDS = 1.0


class StageError(RuntimeError):
    """A stage, or DVC about to run it, ended with an error. The message holds the last line it printed."""


@task(task_run_name="{stage}", cache_policy=NO_CACHE)
def run_stage(stage: str) -> None:
    """Bring one stage up to date by `dvc repro --single-item`.

    Raises:
        StageError: its command, or DVC, ended with an error.
    """
    log, bar = get_run_logger(), _ProgressBar(stage)
    last: deque[str] = deque(maxlen=2)
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", stage]
    with guarded(command, _environment(), PIPE) as process:
        assert process.stdout
        for line in _lines(process.stdout):
            if line.startswith(PROGRESS):
                bar.update(json.loads(line.removeprefix(PROGRESS)))
            else:
                log.info(line)
                last.append(line)
        code = process.wait()
    if code:
        raise StageError(f"stage {stage}: {_error(list(last))}")
    bar.show(100.0)
    metrics = Paths.metrics(stage)
    rows = [{"metric": name, "value": value} for name, value in json.loads(metrics.read_text()).items()]
    create_table_artifact(rows, key=f"metrics-{stage}", description=str(metrics))


class _ProgressBar:
    """A progress artifact, written at most once in `UPDATE_SECONDS`."""

    def __init__(self, stage: str) -> None:
        artifact = create_progress_artifact(0.0, key=f"progress-{stage}", description=f"stage {stage}")
        assert isinstance(artifact, UUID)  # outside of an event loop Prefect returns no coroutine
        self.artifact = artifact
        self.due = time.monotonic() + UPDATE_SECONDS

    def update(self, progress: dict[str, Any]) -> None:
        if time.monotonic() < self.due:
            return
        self.due = math.inf
        with suppress(HTTPError):  # after a minute of retries: the server is gone, the stage goes on without it
            self.show(100.0 * progress["done"] / progress["total"])
            self.due = time.monotonic() + UPDATE_SECONDS

    def show(self, percent: float) -> None:
        update_progress_artifact(self.artifact, percent)


def _environment() -> dict[str, str]:
    """Ours, with progress as lines, output unbuffered, and the commands beside this Python first."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**os.environ, PROGRESS_LINES: "1", "PYTHONUNBUFFERED": "1", "PATH": path}


def _lines(output: IO[bytes]) -> Iterator[str]:
    """Lines as a terminal would leave them: of what a bar redraws with carriage returns, the last state."""
    for raw in TextIOWrapper(output, encoding="utf-8", errors="replace", newline="\n"):
        if line := raw.rstrip().rpartition("\r")[2]:
            yield line


def _error(last: list[str]) -> str:
    """The stage's last line; where it printed none or was not run, DVC's."""
    if len(last) == 2 and ": failed to run: " in last[1] and not last[0].startswith("> "):
        return last[0]
    return last[-1] if last else "no output"
