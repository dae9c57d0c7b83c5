"""What a person watches while a training runs: a line a logged step, a live table, some episodes as text.

They lie in `.cache/live`, outside DVC's outs, since they tell the time: `STAGE.csv` grows by a row with each logged
step, `grpo-episodes/step-*.txt` hold the best and the worst episode of a step. What cannot be written is told once and
does without; a training never fails for it. Imports nothing heavy.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthagent.records import Reward, Rubric, Trajectory
from synthagent.stage import CACHE, say

LIVE = CACHE / "live"
FILES = 20  # with episodes, in a training
_MOST = 20_000  # characters of an episode
_TIMED = ("seconds", "tokens_per_second")
_SHOWN = {  # in the line of a step: the name, and so many decimals
    "reward": ("reward", 3),
    "reward_reasoning": ("problems", 3),
    "loss": ("loss", 3),
    "pair_rate": ("pair", 2),
    "perfect": ("perfect", 2),
    "questions": ("asked", 1),
    "violations": ("violations", 2),
    "entropy": ("entropy", 2),
    "dead_groups": ("dead", 2),
    "replaced": ("replaced", 0),
    "clipped": ("clip", 2),
}

Log = Sequence[dict[str, Any]]
StepRow = Mapping[str, float | None]
Render = Callable[[Trajectory, Reward, Rubric | None], str]


@dataclass(frozen=True, slots=True)
class Live:
    """Where the live files lie, and how an episode becomes text."""

    folder: Path
    render: Render


@dataclass(frozen=True, slots=True)
class Watch:
    """What is watched of a training. `row`: the figures of the step that was logged last; None: that was no step.

    `tokens`: how many the step was about, for the speed; of what was logged since the training last went on.
    """

    row: Callable[[Log], StepRow | None]
    tokens: Callable[[Log], float]
    live: Path | None


def line_of(stage: str, total: int, row: StepRow) -> str:
    """`grpo 12/95  reward .412  perfect .33  1,240 tok/s`: what is known of a step, on one line."""
    return f"{stage} {row['step']:.0f}/{total}  {figures_of(row)}"


def figures_of(row: StepRow) -> str:
    """`reward .412  perfect .33  1,240 tok/s`."""
    shown = ((key, row.get(key)) for key in _SHOWN if key != "replaced" or row.get(key))
    parts = [f"{_SHOWN[key][0]} {_short(value, _SHOWN[key][1])}" for key, value in shown if value is not None]
    speed = row.get("tokens_per_second")
    return "  ".join([*parts, *([] if speed is None else [f"{speed:,.0f} tok/s"])])


def _short(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text.removeprefix("0") if text.startswith("0.") else text


class LiveTable:
    """The rows of a training's steps, with what is known of the clock, in a file that grows with each."""

    def __init__(self, path: Path | None, steps_before: int) -> None:
        self._path, self._file_has_names = path, False
        self._since = time.monotonic()
        if path is not None:
            self._tried(lambda: self._begin(path, steps_before))

    def timed(self, row: StepRow, tokens: float) -> dict[str, float | None]:
        """The row with the seconds since the one before it; it is in the file now."""
        now = time.monotonic()
        seconds, self._since = now - self._since, now
        whole = {**row, "seconds": round(seconds, 3), "tokens_per_second": round(tokens / max(seconds, 1e-6), 1)}
        self._tried(lambda: self._append(whole))
        return whole

    def _begin(self, path: Path, steps: int) -> None:
        """Keep the rows of the steps that a training goes on after; begin anew, without old episodes, if none."""
        path.parent.mkdir(parents=True, exist_ok=True)
        kept: list[str] = []
        if not steps:
            for old in path.with_name(f"{path.stem}-episodes").glob("step-*.txt"):
                old.unlink()
        if steps and path.exists():
            names, *rows = path.read_text(encoding="utf-8").splitlines() or [""]
            wanted = {*map(str, range(1, steps + 1))}
            kept = [names, *(row for row in rows if row.partition(",")[0] in wanted)]
        self._file_has_names = bool(kept)
        path.write_text("".join(f"{row}\n" for row in kept), encoding="utf-8")

    def _append(self, row: Mapping[str, float | None]) -> None:
        if self._path is None:
            return
        with self._path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [*row], lineterminator="\n")
            if not self._file_has_names:
                writer.writeheader()
            self._file_has_names = True
            writer.writerow(row)

    def _tried(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            say(f"{self._path}: cannot be written ({error.strerror}); the training goes on without it")
            self._path = None


def speed_of(path: Path) -> float | None:
    """Tokens a second over all steps in a live table; None: there is no such table."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [[float(row[name]) for name in _TIMED] for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return None
    seconds = sum(spent for spent, _ in rows)
    return round(sum(spent * speed for spent, speed in rows) / seconds, 1) if seconds else None


@dataclass(frozen=True, slots=True)
class Seen:
    """An episode that is to be shown."""

    trajectory: Trajectory
    reward: Reward
    rubric: Rubric | None


def due(step: int, steps: int) -> bool:
    """Whether episodes of a step (from 1) are shown: of the first, and of `FILES` in all at most."""
    return step == 1 or step % -(-steps // (FILES - 1)) == 0


def write_episodes(live: Live, step: int, episodes: Sequence[Seen]) -> None:
    """Leave some episodes of a step as readable text; `live.render` sees to it that none can steer a terminal."""
    texts = [live.render(seen.trajectory, seen.reward, seen.rubric) for seen in episodes]
    cut = [t if len(t) <= _MOST else f"{t[:_MOST]}\n[{len(t) - _MOST:,} characters more]" for t in texts]
    path = live.folder / "grpo-episodes" / f"step-{step:04d}.txt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n\n".join(cut) + "\n", encoding="utf-8")
    except OSError as error:
        say(f"{path}: cannot be written ({error.strerror}); the training goes on without it")
