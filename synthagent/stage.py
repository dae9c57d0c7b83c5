"""What every stage shares: one writer at a time, progress, metrics, and outs that survive a failed run."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from synthagent.errors import LockedError
from synthagent.store import write_text

T = TypeVar("T")
CACHE = Path(".cache")
PROGRESS_LINES = "SYNTHAGENT_PROGRESS_LINES"


class Paths:
    """Where datasets live, relative to the project's root. The names are those of `dvc.yaml`."""

    data = Path("data")
    personas = data / "personas.parquet"
    tasks = data / "tasks.parquet"
    rejected = data / "rejected.parquet"
    demos = data / "demos.parquet"
    rubrics = data / "rubrics.parquet"
    sft = data / "models" / "sft"
    rollouts = data / "rollouts.parquet"
    rewards = data / "rewards.parquet"
    grpo = data / "models" / "grpo"
    evaluation = data / "evaluation.parquet"
    plots = data / "plots"
    report = data / "report" / "index.html"

    @staticmethod
    def metrics(stage: str) -> Path:
        return Paths.data / "metrics" / f"{stage}.json"


@contextmanager
def running(stage: str, *outs: Path) -> Iterator[dict[str, Any]]:
    """Run a stage's body: hold its lock, then write the metrics it put into the yielded dict.

    DVC removes a stage's outs before it runs the command. Should the command then fail or be interrupted, the outs of
    the last run that went well are put back, so that what was there stays usable.

    Raises:
        LockedError: another process runs the same stage here.
    """
    lock = FileLock(CACHE / "locks" / f"{stage}.lock")
    lock_path = Path(lock.lock_file)
    lock_path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise LockedError(f"stage {stage}: another process is running it ({lock_path}); wait for it to end") from None
    kept = CACHE / "last" / stage
    started = time.monotonic()
    metrics: dict[str, Any] = {}
    try:
        yield metrics
        metrics["seconds"] = round(time.monotonic() - started, 1)
        metrics["peak_rss_mb"] = round(_peak_rss_mb())
        write_text(Paths.metrics(stage), json.dumps(metrics, indent=2) + "\n")
        _keep(kept, [*outs, Paths.metrics(stage)])
    except BaseException:
        _put_back(kept, [*outs, Paths.metrics(stage)])
        raise
    finally:
        lock.release()


def progress(items: Iterable[T], total: int, stage: str) -> Iterator[T]:
    """Yield `items` under a progress bar; a line of JSON for each percent where a flow reads our output."""
    if os.environ.get(PROGRESS_LINES):
        step = max(1, total // 100)
        for done, item in enumerate(items, 1):
            yield item
            if done % step == 0 or done == total:
                print(f"@progress {json.dumps({'stage': stage, 'done': done, 'total': total})}", flush=True)
    else:
        from tqdm import tqdm

        yield from tqdm(items, total=total, desc=stage, disable=None, file=sys.stderr)


def say(text: str) -> None:
    """A line of a stage's output."""
    print(text, flush=True)


def rounded(values: Mapping[str, float], digits: int = 4) -> dict[str, float]:
    """Metrics with floats cut to what is meant."""
    return {name: round(value, digits) for name, value in values.items()}


def _peak_rss_mb() -> float:
    usage = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return usage / (1024 if sys.platform != "darwin" else 1024**2)


def _keep(kept: Path, outs: list[Path]) -> None:
    shutil.rmtree(kept, ignore_errors=True)
    for out in outs:
        _link(out, kept / out)


def _put_back(kept: Path, outs: list[Path]) -> None:
    for out in outs:
        if not out.exists() and (kept / out).exists():
            _link(kept / out, out)


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
