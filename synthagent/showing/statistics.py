"""Means with bootstrap intervals of an evaluation, and the tables that show them. Pure.

Intervals are percentile bootstraps at 95% over tasks; differences are paired by task.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthagent.records import BENCHMARK, Evaluation

Values = NDArray[np.float64]
_RESAMPLES = 2_000
POLICIES = ("noop", "asks_only", "never_asks", "base", "sft", "grpo", "expert")


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its 95% interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Cell:
    """One policy on one split (and one level, or all: 0)."""

    policy: str
    decoding: str
    split: str
    difficulty: int
    n: int
    reward: Interval
    perfect: Interval
    reward_paper: float
    asks_rate: float
    violation_rate: float


@dataclass(frozen=True, slots=True)
class Difference:
    """GRPO minus SFT on one split, paired by task."""

    split: str
    reward: Interval
    perfect: Interval


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything that an evaluation says."""

    cells: tuple[Cell, ...]
    differences: tuple[Difference, ...]

    def headline(self) -> dict[str, float]:
        """What `data/metrics/evaluate.json` says: GRPO by split, sampled, and what it gained over SFT."""
        after = {c.split: c for c in self.cells if (c.policy, c.decoding, c.difficulty) == ("grpo", "sampled", 0)}
        found: dict[str, float] = {}
        for split, cell in after.items():
            found[f"{split}_grpo_reward"] = _round(cell.reward.mean)
            found[f"{split}_grpo_perfect"] = _round(cell.perfect.mean)
        for d in self.differences:
            for name, gained in (("reward", d.reward), ("perfect", d.perfect)):
                found[f"{d.split}_grpo_minus_sft_{name}"] = _round(gained.mean)
                found[f"{d.split}_grpo_minus_sft_{name}_ci_low"] = _round(gained.low)
        return found

    def details(self) -> dict[str, Any]:
        """What `data/details/evaluate.json` says."""
        policies: dict[str, dict[str, Any]] = {}
        greedy: dict[str, dict[str, Any]] = {}
        levels: dict[str, dict[str, Any]] = {}
        for cell in self.cells:
            figures = _figures(cell)
            if cell.difficulty:
                if cell.decoding != "greedy":
                    levels.setdefault(cell.policy, {}).setdefault(cell.split, {})[str(cell.difficulty)] = figures
            else:
                (greedy if cell.decoding == "greedy" else policies).setdefault(cell.policy, {})[cell.split] = figures
        differences = {
            d.split: {
                "reward": _round(d.reward.mean),
                "ci_low": _round(d.reward.low),
                "ci_high": _round(d.reward.high),
                "perfect": _round(d.perfect.mean),
                "perfect_ci_low": _round(d.perfect.low),
                "perfect_ci_high": _round(d.perfect.high),
            }
            for d in self.differences
        }
        return {"policies": policies, "grpo_minus_sft": differences, "greedy": greedy, "by_difficulty": levels}


def interval(values: Values, seed: int) -> Interval:
    """The mean of `values`, shape (n,), with its bootstrap interval."""
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (_RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(float(values.mean()), float(low), float(high))


def summarise(rows: Sequence[Evaluation], seed: int, benchmark: str = BENCHMARK) -> Summary:
    """Cells for every policy, decoding and split, over all levels and by level; and GRPO minus SFT, sampled.

    Of one benchmark's rows: tasks of others are never averaged with ours.
    """
    rows = [row for row in rows if row.benchmark == benchmark]
    groups: dict[tuple[str, str, str, int], list[Evaluation]] = {}
    for row in rows:
        for level in (0, row.difficulty):
            groups.setdefault((row.policy, row.decoding, row.split, level), []).append(row)
    cells = [_cell(*key, group, seed) for key, group in sorted(groups.items())]
    splits = sorted({row.split for row in rows})
    differences = []
    for split in splits:
        before, after = groups.get(("sft", "sampled", split, 0)), groups.get(("grpo", "sampled", split, 0))
        if before and after:
            differences.append(_difference(split, before, after, seed))
    return Summary(tuple(cells), tuple(differences))


def plot_table(summary: Summary) -> str:
    """The cells as CSV."""
    header = "policy,decoding,split,difficulty,n,reward,ci_low,ci_high,perfect,violations,asks"
    lines = [
        f"{c.policy},{c.decoding},{c.split},{c.difficulty or 'all'},{c.n},{c.reward.mean:.4f},{c.reward.low:.4f},"
        f"{c.reward.high:.4f},{c.perfect.mean:.4f},{c.violation_rate:.4f},{c.asks_rate:.4f}"
        for c in summary.cells
    ]
    return "\n".join([header, *lines]) + "\n"


def printed_tables(summary: Summary) -> Iterator[str]:
    """The tables a run ends with, line by line."""
    greedy = {(c.policy, c.split, c.difficulty): c for c in summary.cells if c.decoding == "greedy"}
    order = {name: number for number, name in enumerate(POLICIES)}
    cells = sorted(
        (c for c in summary.cells if c.decoding != "greedy"),
        key=lambda c: (c.split, c.difficulty, order.get(c.policy, len(order))),
    )
    heading = (
        f"{'split':<14} {'level':<5} {'policy':<10} {'n':>4}  {'reward [95%]':<20} {'perfect [95%]':<20} "
        f"{'violates':>8} {'asks':>5} {'paper':>6}  {'greedy reward / perfect'}"
    )
    for split in sorted({c.split for c in cells}):
        yield heading
        for c in (c for c in cells if c.split == split):
            beside = greedy.get((c.policy, c.split, c.difficulty))
            shown = f"{beside.reward.mean:.3f} / {beside.perfect.mean:.3f}" if beside else ""
            yield (
                f"{c.split:<14} {c.difficulty or 'all':<5} {c.policy:<10} {c.n:>4}  {_show(c.reward):<20} "
                f"{_show(c.perfect):<20} {c.violation_rate:>8.3f} {c.asks_rate:>5.2f} {c.reward_paper:>6.3f}  {shown}"
            )
        yield ""
    for d in summary.differences:
        yield f"grpo - sft on {d.split}: reward {_show(d.reward, '+')}, perfect rate {_show(d.perfect, '+')}"


def _cell(policy: str, decoding: str, split: str, difficulty: int, rows: Sequence[Evaluation], seed: int) -> Cell:
    return Cell(
        policy=policy,
        decoding=decoding,
        split=split,
        difficulty=difficulty,
        n=len(rows),
        reward=interval(_array(row.reward for row in rows), seed),
        perfect=interval(_array(_is_perfect(row) for row in rows), seed),
        reward_paper=float(_array(row.reward_paper for row in rows).mean()),
        asks_rate=float(_array(row.n_questions > 0 for row in rows).mean()),
        violation_rate=float(_array(row.gate == 0 for row in rows).mean()),
    )


def _difference(split: str, before: Sequence[Evaluation], after: Sequence[Evaluation], seed: int) -> Difference:
    first = {row.task_id: row for row in before}
    pairs = [(first[row.task_id], row) for row in after]
    reward = _array(b.reward - a.reward for a, b in pairs)
    perfect = _array(float(_is_perfect(b)) - float(_is_perfect(a)) for a, b in pairs)
    return Difference(split, interval(reward, seed), interval(perfect, seed))


def _is_perfect(row: Evaluation) -> bool:
    return row.reward > 1 - 1e-9


def _figures(cell: Cell) -> dict[str, float]:
    return {
        "reward": _round(cell.reward.mean),
        "ci_low": _round(cell.reward.low),
        "ci_high": _round(cell.reward.high),
        "n": cell.n,
        "asks_rate": _round(cell.asks_rate),
        "violation_rate": _round(cell.violation_rate),
        "perfect_rate": _round(cell.perfect.mean),
        "perfect_ci_low": _round(cell.perfect.low),
        "perfect_ci_high": _round(cell.perfect.high),
        "reward_paper": _round(cell.reward_paper),
    }


def _array(values: Iterable[float]) -> Values:
    return np.array([float(value) for value in values], dtype=np.float64)


def _round(value: float) -> float:
    return round(value, 4)


def _show(value: Interval, sign: str = "") -> str:
    return f"{value.mean:{sign}.3f} [{value.low:{sign}.2f}, {value.high:{sign}.2f}]"
