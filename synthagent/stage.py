"""Runs a stage, with what all stages share: one writer at a time, figures, progress, outs that survive a failure."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from synthagent.errors import LockedError, StoreError
from synthagent.params import load_params
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
    plots = data / "plots"
    report = data / "report" / "index.html"

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
    "grpo": (Paths.grpo, Paths.plots / "grpo.csv"),
    "evaluate": (Paths.evaluation, Paths.plots / "evaluation.csv", Paths.details("evaluate")),
    "report": (Paths.report,),
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
    """Hold a stage's lock; should it fail or be interrupted, its outs are those of before, all together.

    DVC removes a stage's outs before it runs the command. Should the command then fail or be interrupted, the outs that
    were there, or else those of the last run that went well, are put back together, so that they stay usable.

    Raises:
        LockedError: another process runs the same stage here.
        StoreError: the cache cannot be written.
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
    kept = CACHE / "last" / stage
    try:
        with _stoppable():
            for out in outs:
                for left in out.parent.glob(f".{out.name}.*.tmp"):  # half-written by a run that was killed
                    _remove(left)
            if all(out.exists() for out in outs):
                _keep(kept, outs)
            yield
            _stop_if_told()
        _keep(kept, outs)
    except BaseException:
        _put_back(kept, outs)
        raise
    finally:
        lock.release()


def progress(items: Iterable[T], total: int, stage: str) -> Iterator[T]:
    """Yield `items` under a progress bar; a line of JSON for each percent where a flow reads our output."""
    if os.environ.get(PROGRESS_LINES):
        step = max(1, total // 100)
        for done, item in enumerate(items, 1):
            _stop_if_told()
            yield item
            if done % step == 0 or done == total:
                print(f"@progress {json.dumps({'stage': stage, 'done': done, 'total': total})}", flush=True)
    else:
        from tqdm import tqdm

        for item in tqdm(items, total=total, desc=stage, disable=None, file=sys.stderr):
            _stop_if_told()
            yield item


@contextmanager
def scratch(stage: str) -> Iterator[Path]:
    """An empty directory for a stage's own use, removed at the end."""
    room = CACHE / "scratch" / stage
    shutil.rmtree(room, ignore_errors=True)
    room.mkdir(parents=True)
    try:
        yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)


def say(text: str) -> None:
    """A line of a stage's output."""
    print(text, flush=True)


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGINT and SIGTERM raise, and are remembered: one in fifty is lost in a callback of pydantic-core."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    tell = sys.unraisablehook
    sys.unraisablehook = lambda lost: None if lost.exc_value in _stops else tell(lost)
    try:
        yield
    finally:
        sys.unraisablehook = tell
        for number, handler in before.items():
            signal.signal(number, handler)
        _stops.clear()


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


def _keep(kept: Path, outs: Sequence[Path]) -> None:
    shutil.rmtree(kept, ignore_errors=True)
    try:
        for out in outs:
            _link(out, kept / out)
    except OSError as error:
        raise StoreError(f"{kept}: cannot be written: {error.strerror}; make room, or the folder writable") from None


def _put_back(kept: Path, outs: Sequence[Path]) -> None:
    for out in outs:
        if (kept / out).exists():
            with contextlib.suppress(OSError):  # a folder that cannot be written still has what it had
                _remove(out)
                _link(kept / out, out)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_link_or_copy)
    else:
        _link_or_copy(source, target)


def _link_or_copy(source: Path | str, target: Path | str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
