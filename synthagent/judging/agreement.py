"""How far verdicts can be trusted: repeats of one judge, and agreement with checks, another judge or people. Pure.

Verdicts are keyed by `Place`; None where a repeat gave none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import Any, NamedTuple


class Place(NamedTuple):
    """A criterion of one trajectory."""

    trajectory_id: str
    criterion: str


Repeats = Mapping[Place, Sequence[bool | None]]
Verdicts = Mapping[Place, bool]


@dataclass(frozen=True, slots=True)
class Stability:
    """Of places with two verdicts or more. `flip_rate`: the share that is not unanimous; `disagreement`: how likely
    two repeats differ, on average."""

    places: int
    flip_rate: float | None
    disagreement: float | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """Pairs of verdicts on the same place, and how they fall. `kappa`: Cohen's, None where chance alone would agree."""

    n: int
    both_passed: int
    both_failed: int
    only_first: int
    only_second: int
    accuracy: float | None
    kappa: float | None


def stability(repeats: Repeats) -> Stability:
    """How often repeats contradict each other."""
    known = [given for verdicts in repeats.values() if len(given := [v for v in verdicts if v is not None]) > 1]
    if not known:
        return Stability(0, None, None)
    flips = fmean(len(set(verdicts)) > 1 for verdicts in known)
    return Stability(len(known), flips, fmean(map(_pairs_that_differ, known)))


def score_variance(scores: Iterable[Sequence[float | None]]) -> float | None:
    """The variance of a trajectory's score over repeats (unbiased), averaged over trajectories with two or more."""
    known = [given for row in scores if len(given := [score for score in row if score is not None]) > 1]
    return fmean(map(variance, known)) if known else None


def agreement(pairs: Iterable[tuple[bool, bool]]) -> Agreement:
    """Compare first with second."""
    listed = list(pairs)
    both = sum(a and b for a, b in listed)
    neither = sum(not a and not b for a, b in listed)
    first, second = sum(a and not b for a, b in listed), sum(b and not a for a, b in listed)
    n = len(listed)
    accuracy = (both + neither) / n if n else None
    return Agreement(n, both, neither, first, second, accuracy, cohens_kappa(both, neither, first, second))


def cohens_kappa(both_passed: int, both_failed: int, only_first: int, only_second: int) -> float | None:
    """Agreement beyond what chance gives (Cohen 1960); None without data or where chance agrees always."""
    n = both_passed + both_failed + only_first + only_second
    if n == 0:
        return None
    first, second = both_passed + only_first, both_passed + only_second
    by_chance = first * second + (n - first) * (n - second)
    if by_chance == n * n:
        return None
    return ((both_passed + both_failed) * n - by_chance) / (n * n - by_chance)


def paired(repeats: Repeats, other: Verdicts) -> list[tuple[bool, bool]]:
    """Every repeat's verdict beside the other's on the same place."""
    return [
        (verdict, other[place])
        for place, verdicts in repeats.items()
        if place in other
        for verdict in verdicts
        if verdict is not None
    ]


def rounded(value: Any) -> Any:
    """Figures as a report shows them: four digits."""
    match value:
        case float():
            return round(value, 4)
        case dict():
            return {key: rounded(part) for key, part in value.items()}
        case list() | tuple():
            return [rounded(part) for part in value]
        case _:
            return value


def _pairs_that_differ(verdicts: Sequence[bool]) -> float:
    n, passed = len(verdicts), sum(verdicts)
    return 2 * passed * (n - passed) / (n * (n - 1))
