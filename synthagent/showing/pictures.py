"""Pictures of a run, for the report, the notebook and the README: rows -> matplotlib figures -> SVG text.

The same rows give the same bytes. On a page, a picture takes its colours from the page's CSS variables.

Launch: `python -m synthagent.showing.pictures docs/learning_curve.svg` draws `data/plots/grpo.csv`.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from synthagent.errors import StoreError, SynthAgentError
from synthagent.records import Reward, Rubric
from synthagent.showing.statistics import Measure, Summary, in_order
from synthagent.stage import Paths
from synthagent.store import write_text
from synthagent.text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The light theme, by the name of the page's CSS variable. No two alike: a page swaps each for its variable.
COLOURS = {
    "ink": "#1f2328",
    "muted": "#59636e",
    "grid": "#d1d9e0",
    "blue": "#0a69da",
    "orange": "#bc4c00",
    "green": "#1a7f37",
    "red": "#cf222e",
    "violet": "#8250df",
}
DARK = {
    "ink": "#e6edf3",
    "muted": "#9198a1",
    "grid": "#3d444d",
    "blue": "#58a6ff",
    "orange": "#f0883e",
    "green": "#3fb950",
    "red": "#ff7b72",
    "violet": "#bc8cff",
}
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
_AVERAGED = 5  # steps in a moving average
_WIDTH = 3.8  # inches of a panel; fits the screen of a phone
_TOP = 12  # names in a list of the commonest
_LONGEST = 26  # characters of a label
_BUCKETS = {"0": 0.0, "up to .25": 0.25, "up to .5": 0.5, "up to .75": 0.75, "below 1": 1 - 1e-9, "1": 1.0}
_UNUSED = re.compile(r' id="[\w.]+_\d+"| xmlns(?::\w+)?="[^"]*"|<style[^>]*>[^<]*</style>')
_LOOKS = re.compile(r'style="[^"<>]*"')


@dataclass(frozen=True, slots=True)
class Curve:
    """A column of `data/plots/grpo.csv` and how it is drawn. `share`: lies in [0, 1]."""

    column: str
    title: str
    colour: str
    share: bool = True


CURVES = (
    Curve("reward", "Mean reward", "blue"),
    Curve("perfect", "Perfect episodes", "green"),
    Curve("violations", "Violating episodes", "red"),
    Curve("dead_groups", "Dead groups: all episodes earn the same", "muted"),
    Curve("questions", "Questions an episode", "violet", share=False),
    Curve("entropy", "Entropy of the policy", "orange", share=False),
)
OF_PROBLEMS = Curve("reward_reasoning", "Mean reward of the steps' problems", "blue")
Steps = Sequence[Mapping[str, float]]


def read_steps(path: Path) -> list[dict[str, float]]:
    """The rows of `data/plots/grpo.csv`; what a step has no figure for is not in its row.

    Raises:
        StoreError: no such file, or not the table that the stage `grpo` writes.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [{name: float(value) for name, value in row.items() if value != ""} for row in csv.DictReader(file)]
    except FileNotFoundError:
        raise StoreError(f"{path}: no such file; run the stage that writes it (see dvc.yaml), or `dvc repro`") from None
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise StoreError(f"{path}: not a readable table ({error}); run `dvc checkout` or `dvc repro`") from None
    lacking = {"step", *(curve.column for curve in CURVES)} - set(rows[0]) if rows else set()
    if lacking:
        raise StoreError(f"{path}: written by another version: lacks columns {sorted(lacking)}; run `dvc repro`")
    return rows


def learning_curve(steps: Steps, curves: Sequence[Curve] = CURVES[:4]) -> Figure:
    """One panel a curve, by step: every step in a light colour, and the moving average."""
    columns = min(2, len(curves))
    lines = -(-len(curves) // columns)
    with _style():
        figure = _figure(_WIDTH * columns, 2.1 * lines)
        for axes, curve in zip(figure.subplots(lines, columns, squeeze=False).flat, curves, strict=False):
            axes.set_title(curve.title, loc="left")
            _plain(axes)
            drawn = [row for row in steps if curve.column in row]
            numbers, values = [row["step"] for row in drawn], [row[curve.column] for row in drawn]
            colour = COLOURS[curve.colour]
            axes.plot(numbers, values, color=colour, alpha=0.3, linewidth=1)
            axes.plot(numbers, _smoothed(values), color=colour, linewidth=2)
            axes.set_xlabel("step")
            axes.margins(x=0.02)
            top = max(values, default=1.0) * 1.1 or 0.1
            axes.set_ylim(0, min(1.0, top) if curve.share else top)
        return figure


def bars(values: Mapping[str, float], title: str, colour: str = "blue", shares: bool = False) -> Figure:
    """Horizontal bars, in the given order, each with its value. `shares`: of [0, 1]."""
    with _style():
        figure = _figure(_WIDTH, 0.5 + 0.24 * max(1, len(values)))
        axes = figure.subplots()
        figure.suptitle(title, x=0.01, ha="left")
        _plain(axes)
        places = list(range(len(values)))
        axes.barh(places, list(values.values()), color=COLOURS[colour], height=0.66)
        axes.set_yticks(places, [visible(label)[:_LONGEST] for label in values])
        axes.invert_yaxis()
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.grid(False)
        most = 1.0 if shares else max(values.values(), default=0) or 1
        axes.set_xlim(0, most * 1.18)
        for place, value in zip(places, values.values(), strict=True):
            text = f"{value:.2f}" if shares else f"{value:,}"
            axes.text(value + most * 0.015, place, text, va="center", color=COLOURS["muted"])
        return figure


def policies(summary: Summary, split: str, measure: Measure, title: str) -> Figure:
    """A measure of every policy on a split, with its 95% interval; hollow: decoded greedily."""
    of_split = (cell for cell in summary.cells if cell.split == split and not cell.difficulty)
    cells = in_order(cell for cell in of_split if measure in cell.measures)
    names = list(dict.fromkeys(cell.policy for cell in cells))
    with _style():
        figure = _figure(_WIDTH, 0.8 + 0.24 * max(1, len(names)))
        axes = figure.subplots()
        figure.suptitle(f"{title} on {split}, with 95% intervals", x=0.01, ha="left")
        _plain(axes)
        for cell in cells:
            greedy, found = cell.decoding == "greedy", cell.measures[measure]
            thickness, size = (1.0, 4) if greedy else (2.5, 6)
            place = names.index(cell.policy) + (0.22 if greedy else 0)
            colour = COLOURS["orange" if cell.policy == "grpo" else "blue" if cell.policy == "sft" else "muted"]
            axes.plot([found.low, found.high], [place] * 2, color=colour, linewidth=thickness)
            face = "none" if greedy else colour
            axes.plot([found.mean], [place], "o", color=colour, markerfacecolor=face, markersize=size)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(-0.03, 1.03)
        return figure


def reward_parts(rewards: Sequence[Reward]) -> Figure:
    """The mean of every part of the reward."""
    parts = {
        "no violation": "gate",
        "sub-goals met": "subgoals",
        "interactions met": "interactions",
        "reward": "reward",
        "paper's formula": "reward_paper",
    }
    means = {label: _mean([getattr(reward, name) for reward in rewards]) for label, name in parts.items()}
    return bars(means, "Mean parts of the reward", shares=True)


def reward_histogram(rewards: Sequence[Reward]) -> Figure:
    """How many episodes earned how much."""
    counts = dict.fromkeys(_BUCKETS, 0)
    for reward in rewards:
        counts[next(name for name, most in _BUCKETS.items() if (reward.reward or 0) <= most)] += 1
    return bars(counts, "Episodes by reward", "green")


def criteria_passed(rewards: Sequence[Reward], rubrics: Mapping[str, Rubric]) -> Figure:
    """The share of criteria passed, by kind. `rubrics`: by task."""
    passed: dict[str, list[float]] = {}
    for reward in rewards:
        kinds = {c.id: c.kind for c in rubrics[reward.task_id].criteria}
        for verdict in reward.verdicts:
            passed.setdefault(kinds[verdict.criterion], []).append(verdict.passed)
    means = {kind: _mean(values) for kind, values in sorted(passed.items())}
    return bars(means, "Criteria passed, by kind", "violet", shares=True)


def commonest(counts: Mapping[str, int], rest: bool = True) -> dict[str, int]:
    """The largest counts in order, and with `rest` the sum of the others."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    top, others = dict(ranked[:_TOP]), ranked[_TOP:]
    return top | {f"{len(others):,} others": sum(n for _, n in others)} if rest and others else top


def svg(figure: Figure, on_page: bool = False) -> str:
    """The figure as SVG: a document of its own, or an element that uses the colours of its page."""
    text = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    title = figure.get_suptitle() or "".join(axes.get_title("left") for axes in figure.axes)
    with _style(salt=title):
        figure.savefig(text, format="svg", metadata=nothing, transparent=on_page)
    drawing = _LOOKS.sub(lambda found: found[0].replace("'DejaVu Sans'", _FONT), text.getvalue())
    if not on_page:
        return drawing
    drawing = _UNUSED.sub("", drawing[drawing.index("<svg") :]).replace("xlink:href", "href")
    drawing = re.sub(r'<svg width="[^"]*" height="[^"]*"', '<svg role="img"', drawing, count=1)
    return _LOOKS.sub(_with_variables, drawing)


def _with_variables(found: re.Match[str]) -> str:
    look = found[0]
    for name, colour in COLOURS.items():
        look = look.replace(colour, f"var(--{name})")
    return look


def _smoothed(values: Sequence[float]) -> list[float]:
    """The mean of each value and those around it."""
    half = _AVERAGED // 2
    windows = (values[max(0, n - half) : n + half + 1] for n in range(len(values)))
    return [_mean(window) for window in windows]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))


@contextmanager
def _style(salt: str = "") -> Iterator[None]:
    import matplotlib.style

    given = {
        "svg.hashsalt": salt or "synthagent",
        "svg.fonttype": "none",
        "font.family": ["DejaVu Sans"],
        "font.size": 9,
        "text.parse_math": False,  # labels may come from a teacher
        "text.color": COLOURS["ink"],
        "axes.edgecolor": COLOURS["grid"],
        "axes.labelcolor": COLOURS["muted"],
        "axes.titlesize": 10,
        "axes.titlecolor": COLOURS["ink"],
        "figure.titlesize": 10,
        "grid.color": COLOURS["grid"],
        "grid.linewidth": 0.6,
        "xtick.color": COLOURS["muted"],
        "ytick.color": COLOURS["muted"],
    }
    with matplotlib.style.context(["default", given]):
        yield


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0)
    axes.grid(True)
    axes.set_axisbelow(True)


def main(out: Path) -> None:
    """Draw the learning curve of the last run."""
    write_text(out, svg(learning_curve(read_steps(Paths.plots / "grpo.csv"))))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m synthagent.showing.pictures OUT.svg")
    try:
        main(Path(sys.argv[1]))
    except SynthAgentError as error:
        sys.exit(f"synthagent: {error}")
