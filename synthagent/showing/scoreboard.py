"""The scoreboard of an evaluation: its summary -> headline metrics, details, a CSV table, printed lines. Pure.

Pair rate and perfect-where-done lead: what refuses whatever it sees, or acts whatever it sees, has none of the first.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from synthagent.showing.statistics import PERFECT_WHERE, Cell, Interval, Measure, Summary, in_order

_LEADS: tuple[Measure, ...] = ("pair_rate", "perfect_done")
_WITHOUT_PAIRS: tuple[Measure, ...] = ("reward", "perfect")
_COMPARED: tuple[Measure, ...] = (*_LEADS, "pair_reward", *_WITHOUT_PAIRS)
# A column of the printed table: its name and its width.
_COLUMNS = {
    "split": 13,
    "lvl": 3,
    "policy": 11,
    "n": 4,
    "pair rate": 15,
    "done": 15,
    "refused": 7,
    "kept": 5,
    "mean": 5,
    "pair reward": 15,
    "reward": 6,
    "perfect": 7,
    "viol": 4,
    "asks": 4,
    "extra": 7,
    "paper": 5,
    "greedy": 11,
}
_LEFT = ("split", "lvl", "policy", "pair rate", "done", "pair reward")
_LEGEND = (
    "pair rate: share of pairs of twins with both perfect; pair reward: mean of the smaller reward of a pair;",
    "done, refused, kept: perfect rate where that is the right outcome, and the mean of these;",
    "extra: questions/calls beyond the expert's; paper: mean reward by the paper's formula; greedy: pair rate/reward.",
)


def headline(summary: Summary) -> dict[str, float]:
    """What `data/metrics/evaluate.json` says: GRPO by split, sampled, and what it gained over SFT.

    Of a split without twins: reward and perfect rate.
    """
    found: dict[str, float] = {}
    for cell in summary.cells:
        if (cell.policy, cell.decoding, cell.difficulty) == ("grpo", "sampled", 0):
            measures = _LEADS if cell.pairs else _WITHOUT_PAIRS
            found |= {f"{cell.split}_grpo_{m}": _round(cell.measures[m].mean) for m in measures if m in cell.measures}
    for difference in summary.differences:
        leads = _LEADS if "pair_rate" in difference.measures else _WITHOUT_PAIRS
        for measure in (m for m in leads if m in difference.measures):
            gained, name = difference.measures[measure], f"{difference.split}_grpo_minus_sft_{measure}"
            found |= {name: _round(gained.mean), f"{name}_ci_low": _round(gained.low)}
    return found


def details(summary: Summary) -> dict[str, Any]:
    """What `data/details/evaluate.json` says."""
    policies: dict[str, dict[str, Any]] = {}
    greedy: dict[str, dict[str, Any]] = {}
    levels: dict[str, dict[str, Any]] = {}
    for cell in summary.cells:
        figures = _figures(cell)
        if cell.difficulty:
            if cell.decoding != "greedy":
                levels.setdefault(cell.policy, {}).setdefault(cell.split, {})[str(cell.difficulty)] = figures
        else:
            (greedy if cell.decoding == "greedy" else policies).setdefault(cell.policy, {})[cell.split] = figures
    differences = {
        d.split: {key: value for measure in _COMPARED for key, value in _named(measure, d.measures).items()}
        for d in summary.differences
    }
    return {"policies": policies, "grpo_minus_sft": differences, "greedy": greedy, "by_difficulty": levels}


def plot_table(summary: Summary) -> str:
    """The cells as CSV. A field is empty where nothing can be measured."""
    compared = [key for measure in _COMPARED for key in _named(measure, {})]
    others: tuple[Measure, ...] = ("perfect_refused", "perfect_kept", "perfect_mean_of_outcomes")
    rates = ("violations", "asks", "extra_questions", "extra_calls", "reward_paper")
    text = io.StringIO()
    columns = ("policy", "decoding", "split", "difficulty", "n", "pairs", *compared, *others, *rates)
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    for c in summary.cells:
        table.writerow(
            [
                *(c.policy, c.decoding, c.split, c.difficulty or "all", c.n, c.pairs),
                *(value for measure in _COMPARED for value in _named(measure, c.measures).values()),
                *(_mean(c.measures.get(measure)) for measure in others),
                *map(_rounded, (c.violation_rate, c.asks_rate, c.extra_questions, c.extra_calls, c.reward_paper)),
            ]
        )
    return text.getvalue()


def printed_tables(summary: Summary) -> Iterator[str]:
    """The tables a run ends with, line by line."""
    greedy = {(c.policy, c.split, c.difficulty): c for c in summary.cells if c.decoding == "greedy"}
    cells = sorted(
        in_order(c for c in summary.cells if c.decoding != "greedy"), key=lambda cell: (cell.split, cell.difficulty)
    )
    for split in sorted({c.split for c in cells}):
        yield _line(tuple(_COLUMNS))
        for c in (c for c in cells if c.split == split):
            yield _line(_words(c, greedy.get((c.policy, c.split, c.difficulty))))
        yield ""
    if cells:
        yield from _LEGEND
    for d in summary.differences:
        shown = (f"{m.replace('_', ' ')} {_show(d.measures[m], '+')}" for m in _COMPARED if m in d.measures)
        yield f"grpo - sft on {d.split}: {', '.join(shown)}"


def _words(cell: Cell, greedy: Cell | None) -> Sequence[str]:
    """What stands in each column of a printed line."""
    has = cell.measures
    return (
        cell.split,
        str(cell.difficulty or "all"),
        cell.policy,
        str(cell.n),
        _show(has.get("pair_rate")),
        _show(has.get("perfect_done")),
        _decimals(_mean(has.get("perfect_refused"))),
        _decimals(_mean(has.get("perfect_kept"))),
        _decimals(_mean(has.get("perfect_mean_of_outcomes"))),
        _show(has.get("pair_reward")),
        _decimals(has["reward"].mean),
        _decimals(has["perfect"].mean),
        f"{cell.violation_rate:.2f}",
        f"{cell.asks_rate:.2f}",
        f"{_decimals(cell.extra_questions, 1)}/{_decimals(cell.extra_calls, 1)}",
        _decimals(cell.reward_paper),
        "/".join(_decimals(_mean(greedy.measures.get(m))) for m in ("pair_rate", "reward")) if greedy else "",
    )


def _line(words: Sequence[str]) -> str:
    columns = zip(words, _COLUMNS.items(), strict=True)
    return " ".join(f"{word:{'<' if name in _LEFT else '>'}{width}}" for word, (name, width) in columns).rstrip()


def _figures(cell: Cell) -> dict[str, Any]:
    by_outcome = {outcome: cell.measures[m] for outcome, m in PERFECT_WHERE.items() if m in cell.measures}
    return {
        "n": cell.n,
        "pairs": cell.pairs,
        **_named("pair_rate", cell.measures),
        **_named("pair_reward", cell.measures),
        "perfect_by_outcome": {outcome: _round(found.mean) for outcome, found in by_outcome.items()},
        "perfect_by_outcome_ci_low": {outcome: _round(found.low) for outcome, found in by_outcome.items()},
        "perfect_by_outcome_ci_high": {outcome: _round(found.high) for outcome, found in by_outcome.items()},
        **_named("perfect_mean_of_outcomes", cell.measures),
        **_named("reward", cell.measures),
        **_named("perfect", cell.measures, "perfect_rate"),
        "asks_rate": _round(cell.asks_rate),
        "violation_rate": _round(cell.violation_rate),
        "extra_questions": _rounded(cell.extra_questions),
        "extra_calls": _rounded(cell.extra_calls),
        "reward_paper": _rounded(cell.reward_paper),
    }


def _named(measure: Measure, measures: Mapping[Measure, Interval], name: str = "") -> dict[str, float | None]:
    """A measure and its interval under the names that others read; null where nothing can be measured."""
    found = measures.get(measure)
    ends = "ci" if measure == "reward" else f"{measure}_ci"
    low, high = (found.low, found.high) if found else (None, None)
    return {name or measure: _mean(found), f"{ends}_low": _rounded(low), f"{ends}_high": _rounded(high)}


def _mean(found: Interval | None) -> float | None:
    return None if found is None else _round(found.mean)


def _rounded(value: float | None) -> float | None:
    return None if value is None else _round(value)


def _round(value: float) -> float:
    return round(value, 4)


def _decimals(value: float | None, places: int = 3) -> str:
    return "-" if value is None else f"{value:.{places}f}"


def _show(found: Interval | None, sign: str = "") -> str:
    """`0.305 [.24,.36]`, in at most 15 characters unless it has a sign."""
    if found is None:
        return "-"
    low, high = (f"{end:{sign}.2f}".replace("0.", ".").replace("1.00", "1.0") for end in (found.low, found.high))
    return f"{found.mean:{sign}.3f} [{low},{high}]"
