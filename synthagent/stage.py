"""Runs a stage, with what all stages share: one writer at a time, figures, progress, outs that survive a failure."""

from __future__ import annotations

import importlib
import json
import os
import resource
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from synthagent.errors import LockedError, ParamsError, StoppedError, StoreError
from synthagent.outs import copy_from_dvc, keep, put_back, remove
from synthagent.params_file import load_params
from synthagent.store import write_text

T = TypeVar("T")
CACHE = Path(".cache")
PROGRESS_LINES = "SYNTHAGENT_PROGRESS_LINES"
_stops: list[BaseException] = []  # what SIGINT and SIGTERM raised, should anything have swallowed it


class Paths:
    """Where datasets live, relative to the project's root. The names are those of `dvc.yaml`."""

    data = Path("data")
    personas = data / "personas.parquet"
    tasks = data / "tasks.parquet"
    rejected = data / "rejected.parquet"
    demos = data / "demos.parquet"
    rubrics = data / "rubrics.parquet"
    dropped = data / "dropped.parquet"
    sft = data / "models" / "sft"
    rollouts = data / "rollouts.parquet"
    mappings = data / "mappings.parquet"
    rewards = data / "rewards.parquet"
    grpo = data / "models" / "grpo"
    evaluation = data / "evaluation.parquet"
    episodes = data / "episodes.parquet"
    plots = data / "plots"
    report = data / "report" / "index.html"
    browser = data / "report" / "episodes.html"

    @staticmethod
    def metrics(stage: str) -> Path:
        return Paths.data / "metrics" / f"{stage}.json"

    @staticmethod
    def details(stage: str) -> Path:
        return Paths.data / "details" / f"{stage}.json"

    @staticmethod
    def timings(stage: str) -> Path:
        return Paths.data / "timings" / f"{stage}.json"


OUTS: Mapping[str, tuple[Path, ...]] = {  # of each stage, as in `dvc.yaml`
    "personas": (Paths.personas,),
    "tasks": (Paths.tasks, Paths.rejected, Paths.details("tasks")),
    "rubrics": (Paths.demos, Paths.rubrics, Paths.dropped, Paths.details("rubrics")),
    "sft": (Paths.sft,),
    "rollouts": (Paths.rollouts, Paths.mappings, Paths.details("rollouts")),
    "rewards": (Paths.rewards,),
    "grpo": (Paths.grpo, Paths.plots / "grpo.csv", Paths.details("grpo")),
    "evaluate": (Paths.evaluation, Paths.episodes, Paths.plots / "evaluation.csv", Paths.details("evaluate")),
    "report": (Paths.report, Paths.browser),
}


@dataclass(frozen=True, slots=True)
class Figures:
    """What a stage says of its run, besides its datasets.

    `metrics`: at most 15 headline numbers. `details`: everything else that the same params give again. `usage`: what
    differs between two runs of the same params: calls, cache hits, tokens.
    """

    metrics: Mapping[str, float | None]
    details: Mapping[str, Any] | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)


def run_stage(stage: str, params_file: Path) -> None:
    """Run a stage: params and datasets -> its outs, its metrics and details, its timings.

    Raises:
        SynthAgentError: what is wrong with params, lock, datasets or disk.
    """
    with outs_kept(stage, (*OUTS[stage], Paths.metrics(stage))):
        started = time.monotonic()
        params = load_params(params_file)
        figures: Figures = importlib.import_module(f"synthagent.stages.{stage}").run(params)
        _stop_if_told()
        if figures.details is not None:
            _write_json(Paths.details(stage), figures.details)
        _write_json(Paths.metrics(stage), figures.metrics)
        spent = {"seconds": round(time.monotonic() - started, 1), "peak_rss_mb": round(_peak_rss_mb())}
        _write_json(Paths.timings(stage), {**spent, **figures.usage})


@contextmanager
def outs_kept(stage: str, outs: Sequence[Path]) -> Iterator[None]:
    """Hold a stage's lock. Should the stage fail or be stopped, its outs are put back, all together.

    They are those that were there at its start; DVC removes them before it runs a command: then those that `dvc.lock`
    names, from DVC's cache, or none where it has not all of them.

    Raises:
        LockedError: another process runs the same stage here.
        StoppedError: SIGINT or SIGTERM.
        StoreError: `.cache` cannot be written.
    """
    lock_path = CACHE / "locks" / f"{stage}.lock"
    lock = FileLock(lock_path)
    try:
        lock_path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise LockedError(f"stage {stage}: another process is running it ({lock_path}); wait for it to end") from None
    except OSError as error:
        raise StoreError(f"{lock_path}: cannot be written: {error.strerror}; make the folder writable") from None
    folder = CACHE / "kept" / stage
    try:
        there = keep(outs, folder)
        try:
            with _stoppable():
                for out in outs:
                    for left in out.parent.glob(f".{out.name}.*.tmp"):  # half-written by a run that was killed
                        remove(left)
                yield
                _stop_if_told()
        except BaseException as error:
            with _signals(signal.SIG_IGN):
                if whole := there or copy_from_dvc(stage, outs, folder):
                    put_back(outs, folder)
            if isinstance(error, KeyboardInterrupt | SystemExit):
                became = "are as they were" if whole else "are incomplete, and DVC's cache lacks them: run it again"
                code = 128 + (signal.SIGINT if isinstance(error, KeyboardInterrupt) else signal.SIGTERM)
                raise StoppedError(f"stage {stage}: interrupted; its outs {became}", code) from None
            raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def progress(items: Iterable[T], total: int, stage: str, figures: Callable[[], str] | None = None) -> Iterator[T]:
    """Yield `items` under a progress bar; a line of JSON for each percent where a flow reads our output.

    `figures`: what stands behind the bar.
    """
    if os.environ.get(PROGRESS_LINES):
        step = max(1, total // 100)
        for done, item in enumerate(items, 1):
            _stop_if_told()
            yield item
            if done % step == 0 or done == total:
                print(f"@progress {json.dumps({'stage': stage, 'done': done, 'total': total})}", flush=True)
    else:
        from tqdm import tqdm

        bar = tqdm(items, total=total, desc=stage, disable=None, file=sys.stderr)
        for item in bar:
            _stop_if_told()
            yield item
            if figures is not None:
                bar.set_postfix_str(figures(), refresh=False)


def scratch_of(stage: str) -> Path:
    """Where a stage's scratch directory is while it runs."""
    return CACHE / "scratch" / stage


def number_in_environment(name: str, default: int) -> int:
    """A number that the environment gives; raises ParamsError where it is none."""
    text = os.environ.get(name) or str(default)
    if not text.isdecimal():
        raise ParamsError(f"{name}: must be a number, but it is {text!r}; set it in the environment, or unset it")
    return int(text)


def is_further_node() -> bool:
    """Whether this machine only takes part in what the first of several nodes runs."""
    return number_in_environment("MACHINE_RANK", 0) > 0


@contextmanager
def scratch(stage: str) -> Iterator[Path]:
    """An empty directory for a stage's own use, removed at the end."""
    folder = scratch_of(stage)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def say(text: str) -> None:
    """A line of a stage's output."""
    print(text, flush=True)


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGINT and SIGTERM raise, and are remembered: one in fifty is lost in a callback of pydantic-core."""
    tell = sys.unraisablehook
    sys.unraisablehook = lambda lost: None if lost.exc_value in _stops else tell(lost)
    try:
        with _signals(_on_signal):
            yield
    finally:
        sys.unraisablehook = tell
        _stops.clear()


@contextmanager
def _signals(handler: Callable[[int, Any], None] | signal.Handlers) -> Iterator[None]:
    """SIGINT and SIGTERM go to `handler`; only the main thread may say so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)


def _on_signal(number: int, _: Any) -> None:
    _stops.append(KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number))
    _stop_if_told()


def _stop_if_told() -> None:
    if _stops:
        raise _stops[0]


def _peak_rss_mb() -> float:
    usage = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return usage / (1024 if sys.platform != "darwin" else 1024**2)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=2) + "\n")
