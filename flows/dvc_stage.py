"""One stage through DVC, as a Prefect task: lines -> log, progress, curve and metrics -> artifacts, its end -> state.

Whether there is anything to do is for DVC to say, so the task keeps no results of its own. Call the task, never submit
it: only then does a cancelled run interrupt the stage.
"""

import json
import math
import sys
import time
from collections import deque
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from subprocess import PIPE
from typing import Any
from uuid import UUID

from httpx import HTTPError
from prefect import task
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.exceptions import TerminationSignal
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed

from flows.curve import LiveCurve
from synthagent.ops.experiment import environment
from synthagent.ops.guard import end, guarded
from synthagent.stage import PROGRESS_LINES, Paths

PROGRESS = "@progress "
UPDATE_SECONDS = 1.0
UP_TO_DATE = "UpToDate"  # the name of the state of what had nothing to do


@task(task_run_name="{stage}", cache_policy=NO_CACHE)
def run_stage(stage: str, folder: Path, force: bool, lock: int) -> State[None]:
    """Bring one stage up to date by `dvc repro --single-item`, in a folder; call it with `return_state=True`.

    Returns:
        Completed, named `UpToDate` where there was nothing to do; Failed, with the line that says why; Cancelled, where
        a signal ended it. `lock`: the descriptor of a lock that is held until the stage has ended.
    """
    log, bar, curve = get_run_logger(), _ProgressBar(stage), LiveCurve(stage, folder)
    last: deque[str] = deque(maxlen=2)
    ran, interrupted, started = False, False, time.monotonic()
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", stage, *(["--force"] if force else [])]
    with guarded(command, _environment(folder), PIPE, folder=folder, held=(lock,)) as process:
        assert process.stdout
        output = TextIOWrapper(process.stdout, encoding="utf-8", errors="replace", newline="\n")
        while True:
            try:
                if not (raw := output.readline()):
                    break
                line = raw.rstrip().rpartition("\r")[2]  # as a terminal would leave it: a bar's last state
                if line.startswith(PROGRESS):
                    bar.update(json.loads(line.removeprefix(PROGRESS)))
                elif line:
                    log.info(line)
                    last.append(line)
                    ran = ran or line.startswith("Running stage ")
                    curve.update()
            except (KeyboardInterrupt, TerminationSignal):
                if interrupted:
                    raise
                interrupted = True
                end(process)  # and go on reading: the stage says what became of its outs
        code = process.wait()
    if interrupted or code:
        said, place = _error(list(last)), f"stage {stage}: "
        own = said.removeprefix("synthagent: ").startswith(f"{place}interrupted")
        if interrupted:
            return Cancelled(message=said.removeprefix("synthagent: ") if own else f"{place}interrupted: {said}")
        return Failed(message=place + said)
    bar.show(100.0)
    curve.finish()
    metrics = folder / Paths.metrics(stage)
    rows = [{"metric": name, "value": value} for name, value in json.loads(metrics.read_text()).items()]
    create_table_artifact(rows, key=f"metrics-{stage}", description=str(Paths.metrics(stage)))
    if not ran:
        return Completed(name=UP_TO_DATE, message="nothing to do: DVC finds it up to date")
    return Completed(message=f"ran for {time.monotonic() - started:.0f} s")


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


def _environment(folder: Path) -> dict[str, str]:
    """That of a folder, with progress as lines and output unbuffered."""
    return {**environment(folder), PROGRESS_LINES: "1", "PYTHONUNBUFFERED": "1"}


def _error(last: list[str]) -> str:
    """The stage's last line; where it printed none or was not run, DVC's."""
    if len(last) == 2 and ": failed to run: " in last[1] and not last[0].startswith("> "):
        return last[0]
    return last[-1] if last else "no output"
