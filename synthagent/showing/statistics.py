"""What an evaluation comes to: means with bootstrap intervals, by policy, decoding, split and level. Pure.

Intervals are percentile bootstraps at 95%. Twins depend on each other, so it is pairs that are drawn; a task without a
twin is drawn alone. Differences are paired: of the tasks that both policies acted in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from synthagent.episodes.scripted import SCRIPTS
from synthagent.records import BENCHMARK, Evaluation, Outcome

# In the order of the tables: what acts without learning, the students, what bounds the scale from above.
POLICIES = (*(name for name in SCRIPTS if name != "expert"), "base", "sft", "grpo", "expert", "endpoint")
Measure = Literal[
    "pair_rate",  # share of pairs of twins with both perfect
    "pair_reward",  # of pairs, the mean of the smaller reward
    "reward",
    "perfect",  # share of episodes
    "perfect_done",  # the same where the right outcome is done, and so on
    "perfect_refused",
    "perfect_kept",
    "perfect_cannot",
    "perfect_mean_of_outcomes",  # the mean of those: each outcome counts the same, however often it is the right one
]
PERFECT_WHERE: dict[Outcome, Measure] = {
    "done": "perfect_done",
    "refused": "perfect_refused",
    "kept": "perfect_kept",
    "cannot": "perfect_cannot",
}
_RESAMPLES = 2_000


class Value(NamedTuple):
    """What one episode, or one pair of them, has of a measure. Those of one `unit` are drawn together."""

    unit: str
    value: float


Strata = Sequence[Sequence[Value]]  # a measure is the mean of the means of its strata; most have one


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its 95% interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Cell:
    """One policy on one split (and one level, or all: 0). A measure of which there is no episode is left out."""

    policy: str
    decoding: str
    split: str
    difficulty: int
    n: int
    pairs: int
    measures: Mapping[Measure, Interval]
    reward_paper: float | None
    asks_rate: float
    violation_rate: float
    extra_questions: float | None
    extra_calls: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """GRPO minus SFT on one split, sampled, paired by task."""

    split: str
    measures: Mapping[Measure, Interval]


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything that an evaluation says."""

    cells: tuple[Cell, ...]
    differences: tuple[Difference, ...]


def summarise(rows: Sequence[Evaluation], seed: int, benchmark: str = BENCHMARK) -> Summary:
    """Cells for every policy, decoding and split, over all levels and by level; and GRPO minus SFT, sampled.

    Of one benchmark's rows: tasks of others are never averaged with ours.
    """
    groups: dict[tuple[str, str, str, int], list[Evaluation]] = defaultdict(list)
    for row in rows:
        if row.benchmark == benchmark:
            for level in {0, row.difficulty or 0}:
                groups[row.policy, row.decoding, row.split or "", level].append(row)
    cells = [_cell(*key, group, seed) for key, group in sorted(groups.items())]
    differences = []
    for split in sorted({cell.split for cell in cells}):
        before, after = (groups.get((policy, "sampled", split, 0), ()) for policy in ("sft", "grpo"))
        if changed := _changed(before, after):
            differences.append(Difference(split, _intervals(changed, seed)))
    return Summary(tuple(cells), tuple(differences))


def in_order(cells: Iterable[Cell]) -> list[Cell]:
    """Cells in the order of the policies."""
    order = {name: number for number, name in enumerate(POLICIES)}
    return sorted(cells, key=lambda cell: order.get(cell.policy, len(order)))


def interval(strata: Strata, seed: int) -> Interval:
    """The mean of the strata's means, with its bootstrap interval. A draw that misses a stratum does without it."""
    units = {name: number for number, name in enumerate(sorted({v.unit for stratum in strata for v in stratum}))}
    sums, counts = np.zeros((2, len(strata), len(units)))
    for number, stratum in enumerate(strata):
        for unit, value in stratum:
            sums[number, units[unit]] += value
            counts[number, units[unit]] += 1
    drawn = _draws(len(units), seed)
    total, count = sums[:, drawn].sum(axis=2), counts[:, drawn].sum(axis=2)
    means = np.nanmean(np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0), axis=0)
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(float((sums.sum(axis=1) / counts.sum(axis=1)).mean()), float(low), float(high))


@lru_cache(maxsize=8)
def _draws(units: int, seed: int) -> NDArray[np.int64]:
    """Which units each resample draws: the same for every measure and policy."""
    return np.random.default_rng(seed).integers(0, units, (_RESAMPLES, units))


def _cell(policy: str, decoding: str, split: str, difficulty: int, rows: Sequence[Evaluation], seed: int) -> Cell:
    return Cell(
        policy=policy,
        decoding=decoding,
        split=split,
        difficulty=difficulty,
        n=len(rows),
        pairs=sum(1 for _ in _pairs(rows)),
        measures=_intervals(_measured(rows), seed),
        reward_paper=_mean_of_known(row.reward_paper for row in rows),
        asks_rate=fmean(bool(row.n_questions) for row in rows),
        violation_rate=fmean(row.gate == 0 for row in rows),
        extra_questions=_mean_of_known(row.extra_questions for row in rows),
        extra_calls=_mean_of_known(row.extra_calls for row in rows),
    )


def _changed(before: Sequence[Evaluation], after: Sequence[Evaluation]) -> dict[Measure, Strata]:
    """What each unit gained, of the episodes that both have."""
    first, second = ({(row.task_id, row.sample): row for row in rows} for rows in (before, after))
    both = sorted(first.keys() & second.keys())
    old, new = (_measured([rows[key] for key in both]) for rows in (first, second))
    return {
        measure: [
            [Value(b.unit, a.value - b.value) for b, a in zip(*strata, strict=True)]
            for strata in zip(old[measure], new[measure], strict=True)
        ]
        for measure in old
    }


def _measured(rows: Sequence[Evaluation]) -> dict[Measure, Strata]:
    """The values of each measure; none where nothing can be measured."""
    pairs = list(_pairs(rows))
    perfect_where = {
        outcome: [Value(_unit(row), _is_perfect(row)) for row in rows if row.outcome == outcome]
        for outcome in PERFECT_WHERE
    }
    found: dict[Measure, Strata] = {
        "pair_rate": [[Value(_unit(one), min(_is_perfect(one), _is_perfect(other))) for one, other in pairs]],
        "pair_reward": [[Value(_unit(one), min(one.reward, other.reward)) for one, other in pairs]],
        "reward": [[Value(_unit(row), row.reward) for row in rows]],
        "perfect": [[Value(_unit(row), _is_perfect(row)) for row in rows]],
        **{PERFECT_WHERE[outcome]: [values] for outcome, values in perfect_where.items()},
        "perfect_mean_of_outcomes": [values for values in perfect_where.values() if values],
    }
    return {measure: strata for measure, strata in found.items() if any(strata)}


def _pairs(rows: Sequence[Evaluation]) -> Iterator[tuple[Evaluation, Evaluation]]:
    """The twins among the rows; each pair once, and only if both are there."""
    there = {(row.task_id, row.sample): row for row in rows}
    for row in rows:
        twin = there.get((row.twin_of or "", row.sample))
        if twin is not None and row.task_id < twin.task_id:
            yield row, twin


def _intervals(values: Mapping[Measure, Strata], seed: int) -> dict[Measure, Interval]:
    return {measure: interval(strata, seed) for measure, strata in values.items()}


def _unit(row: Evaluation) -> str:
    return min(row.task_id, row.twin_of or row.task_id)


def _is_perfect(row: Evaluation) -> float:
    return float(row.reward > 1 - 1e-9)


def _mean_of_known(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
