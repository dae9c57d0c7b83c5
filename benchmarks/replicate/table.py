"""Decides: which pairs two checkpoints got right, by seed -> difference with its interval, verdict, a table. Pure.

Intervals are percentile bootstraps at 95% over seeds and, within each, over pairs of twins; both sides of a difference
have the same pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import numpy as np

from benchmarks.replicate.claims import Claim
from synthagent.showing.statistics import Interval

Pairs = Mapping[str, float]  # name of a pair -> whether both were perfect
Verdict = Literal["agrees", "does not agree", "not decided"]
SAME = 0.05  # a difference in pair rate that is none, where the paper says about the same
_RESAMPLES = 4_000


@dataclass(frozen=True, slots=True)
class Row:
    """A claim, decided or not. `first`, `second`: pair rates."""

    claim: Claim
    first: float
    second: float
    difference: Interval
    verdict: Verdict
    seeds: int
    pairs: int


def decide(claim: Claim, first: Sequence[Pairs], second: Sequence[Pairs]) -> Row:
    """The row of a claim; a member of each side for each seed, in the same order."""
    gained = [
        np.array([a[name] - b[name] for name in sorted(a.keys() & b.keys())])
        for a, b in zip(first, second, strict=True)
    ]
    difference = _interval(gained)
    one, other = (fmean(fmean(pairs.values()) for pairs in side) for side in (first, second))
    learnt = max(one, other) > SAME  # where neither learnt anything, they are the same for no reason of interest
    return Row(
        claim,
        one,
        other,
        difference,
        verdict(claim.direction, difference) if learnt else "not decided",
        len(gained),
        sum(map(len, gained)),
    )


def verdict(direction: Literal[">", "="], difference: Interval) -> Verdict:
    """Whether an interval of `first - second` bears a claim out."""
    low, high = difference.low, difference.high
    if direction == ">":
        return "agrees" if low > 0 else "does not agree" if high < 0 else "not decided"
    if low > -SAME and high < SAME:
        return "agrees"
    return "does not agree" if low > SAME or high < -SAME else "not decided"


def lines(rows: Sequence[Row]) -> Iterator[str]:
    """The table in Markdown."""
    yield "| claim | the paper | ours: pair rate | difference [95%] | verdict |"
    yield "|---|---|---|---|---|"
    for row in rows:
        claim, gained = row.claim, row.difference
        rates = f"{claim.first.what} {row.first:.3f}, {claim.second.what} {row.second:.3f}"
        ends = f"{gained.mean:+.3f} [{gained.low:+.3f}, {gained.high:+.3f}]"
        size = f"{row.seeds} seed{'s' * (row.seeds > 1)}, {row.pairs} pairs"
        yield f"| {claim.text} | {claim.paper} | {rates} ({size}) | {ends} | {row.verdict} |"


def _interval(gained: Sequence[np.ndarray[tuple[int], np.dtype[np.float64]]]) -> Interval:
    """The mean over seeds of the mean over pairs: seeds are drawn, and the pairs of each that was drawn."""
    rng, count = np.random.default_rng(0), len(gained)
    means = np.zeros(_RESAMPLES)
    for _ in range(count):
        drawn = rng.integers(0, count, _RESAMPLES)
        of_each = [values[rng.integers(0, len(values), (_RESAMPLES, len(values)))].mean(axis=1) for values in gained]
        means += np.choose(drawn, of_each) / count
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(fmean(float(values.mean()) for values in gained), float(low), float(high))
