"""What an evaluation says of problems, by kind: rows -> shares of right answers, details, printed lines. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from synthagent.records import CONSTANT, REASONING, Evaluation
from synthagent.showing.statistics import POLICIES, Interval, Value, interval

ALL = "all"


@dataclass(frozen=True, slots=True)
class KindRow:
    """A policy on the problems of a kind, or on all. `right`: the share of right answers, sampled; `greedy`: the same.

    The script `constant` gives the commonest answer of each kind, whatever is asked.

    `over_limit`: the share of episodes in which a call went over a limit of the sandbox.
    """

    kind: str
    policy: str
    n: int
    right: Interval
    greedy: float | None
    over_limit: float


@dataclass(frozen=True, slots=True)
class Board:
    """All rows, and what GRPO gained over SFT on all problems, paired by problem (None: one of them did not act)."""

    rows: tuple[KindRow, ...]
    gained: Interval | None


def right_by_kind(rows: Sequence[Evaluation], seed: int) -> Board | None:
    """The figures of the problems among the rows of an evaluation; None where there are none."""
    of_kind: dict[tuple[str, str, str], list[Evaluation]] = defaultdict(list)
    for row in rows:
        if row.benchmark == REASONING:
            for kind in (ALL, row.category or ""):
                of_kind[kind, row.policy, row.decoding].append(row)
    if not of_kind:
        return None
    kinds = [ALL, *sorted({kind for kind, _, _ in of_kind} - {ALL})]
    cells = [
        _row(kind, policy, sampled, of_kind.get((kind, policy, "greedy"), []), seed)
        for kind in kinds
        for policy, decoding in ((CONSTANT, "scripted"), *((policy, "sampled") for policy in POLICIES))
        if (sampled := of_kind.get((kind, policy, decoding)))
    ]
    return Board(tuple(cells), _gained(of_kind[ALL, "sft", "sampled"], of_kind[ALL, "grpo", "sampled"], seed))


def headline_of_kinds(board: Board | None) -> dict[str, float]:
    """What `data/metrics/evaluate.json` says of problems: the shares of right answers, sampled."""
    found = {row.policy: row.right.mean for row in board.rows if row.kind == ALL} if board else {}
    return {f"reasoning_{policy}": round(found[policy], 4) for policy in ("sft", "grpo") if policy in found}


def details_of_kinds(board: Board) -> dict[str, Any]:
    """What `data/details/evaluate.json` says of them: kind -> policy -> figures."""
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for row in board.rows:
        figures = {"n": row.n, **_named(row.right), "greedy": _round(row.greedy), "over_limit": _round(row.over_limit)}
        found[row.kind][row.policy] = figures
    return {"kinds": dict(found), "grpo_minus_sft": _named(board.gained) if board.gained else None}


def printed_kinds(board: Board | None) -> Iterator[str]:
    """The table that a run ends with, line by line."""
    if board is None:
        return
    width = max(4, *(len(row.kind) for row in board.rows))
    yield f"{'kind':<{width}} {'policy':<8} {'n':>4} {'right':<17} {'greedy':>6} over a limit"
    for row in board.rows:
        greedy = "-" if row.greedy is None else f"{row.greedy:.3f}"
        share = f"{row.right.mean:.3f} [{row.right.low:.2f}, {row.right.high:.2f}]"
        yield f"{row.kind:<{width}} {row.policy:<8} {row.n:>4} {share:<17} {greedy:>6} {row.over_limit:.2f}"
    yield "right: share of problems answered rightly, within the limits of the sandbox, sampled at temperature 1"
    if any(row.policy == CONSTANT for row in board.rows):
        yield f"{CONSTANT}: always the commonest answer of a kind's train problems"
    if (gained := board.gained) is not None:
        yield f"grpo - sft on problems: {gained.mean:+.3f} [{gained.low:+.2f}, {gained.high:+.2f}]"


def _row(kind: str, policy: str, sampled: Sequence[Evaluation], greedy: Sequence[Evaluation], seed: int) -> KindRow:
    return KindRow(
        kind=kind,
        policy=policy,
        n=len(sampled),
        right=interval([[Value(row.task_id, _right(row)) for row in sampled]], seed),
        greedy=fmean(map(_right, greedy)) if greedy else None,
        over_limit=fmean(row.gate == 0 for row in sampled),
    )


def _gained(before: Sequence[Evaluation], after: Sequence[Evaluation], seed: int) -> Interval | None:
    old, new = ({row.task_id: _right(row) for row in rows} for rows in (before, after))
    values = [Value(name, new[name] - old[name]) for name in sorted(old.keys() & new.keys())]
    return interval([values], seed) if values else None


def _right(row: Evaluation) -> float:
    return float(row.reward > 1 - 1e-9)


def _named(found: Interval) -> dict[str, float]:
    return {"right": _round(found.mean), "ci_low": _round(found.low), "ci_high": _round(found.high)}


def _round(value: float | None) -> Any:
    return None if value is None else round(value, 4)
