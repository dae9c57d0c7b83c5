"""Results of a suite -> figures by category and policy, with intervals; what nobody who refuses everything can lead.

Where nothing is to be called, a policy that never calls has all of it. There the figure is the harmonic mean of two
shares: no call where none is right, and any call where one is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import comb
from typing import Any

import numpy as np

from synthagent.showing.statistics import Interval, Value, interval
from synthagent.suites.run import Result
from synthagent.suites.suite import Suite

_RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class Figure:
    """A policy in a category, as shares. `refused` and `calls` are given where nothing is to be called.

    `calls` is None where no category that wants calls was run: then nothing leads. `failed`: reasons -> how often.
    `trials`: of each of the `n` problems; `lead` is the mean over all of them (Avg@k). `passes`: where there are
    several, the chances that 1, 2, .. trials of a problem are all right (pass^k).
    """

    category: str
    policy: str
    n: int
    lead: Interval | None
    called: float
    refused: float | None = None
    calls: float | None = None
    failed: Mapping[str, int] | None = None
    trials: int = 1
    passes: tuple[Interval, ...] = ()


def figures_of(suite: Suite, policy: str, results: Sequence[Result], seed: int) -> list[Figure]:
    """The figures of a policy, in the order of the suite's categories."""
    by_category = {
        category: rows
        for category in suite.categories
        if (rows := [result for result in results if result.category == category])
    }
    return [_figure(suite, policy, category, by_category, seed) for category in by_category]


def _figure(suite: Suite, policy: str, category: str, all_of: Mapping[str, Sequence[Result]], seed: int) -> Figure:
    rows = all_of[category]
    called = sum(row.called for row in rows) / len(rows)
    failed = dict(Counter(_reason(row.failed) for row in rows if row.failed))
    scores = [row.score for row in rows]
    problems = len({row.id for row in rows})
    found = Figure(category, policy, problems, None, called, failed=failed, trials=len(rows) // problems)
    if category not in suite.refusals:
        lead = interval([[Value(row.id, row.score) for row in rows]], seed)
        return replace(found, lead=lead, passes=pass_hat(rows, found.trials, seed) if found.trials > 1 else ())
    wanted = [float(row.called) for other in suite.refusals[category] for row in all_of.get(other, ())]
    return replace(
        found,
        lead=harmonic(scores, wanted, seed) if wanted else None,
        refused=sum(scores) / len(scores),
        calls=sum(wanted) / len(wanted) if wanted else None,
    )


def pass_hat(rows: Sequence[Result], trials: int, seed: int) -> tuple[Interval, ...]:
    """For k = 1 .. trials: the share of problems of which k trials, drawn at random, are all right.

    Of a problem with c right ones among n it is C(c, k) / C(n, k), which is unbiased (arXiv 2406.12045).
    """
    right = Counter({row.id: 0 for row in rows})
    right.update(row.id for row in rows if row.score == 1)
    return tuple(
        interval([[Value(id, comb(c, k) / comb(trials, k)) for id, c in right.items()]], seed)
        for k in range(1, trials + 1)
    )


def harmonic(one: Sequence[float], other: Sequence[float], seed: int) -> Interval:
    """The harmonic mean of two means, with its bootstrap interval."""
    random = np.random.default_rng(seed)

    def drawn(values: Sequence[float]) -> Any:
        return np.asarray(values)[random.integers(0, len(values), (_RESAMPLES, len(values)))].mean(axis=1)

    def mean(a: Any, b: Any) -> Any:
        return np.divide(2 * a * b, a + b, out=np.zeros_like(a + b), where=a + b > 0)

    low, high = np.quantile(mean(drawn(one), drawn(other)), (0.025, 0.975))
    whole = mean(np.asarray([np.mean(one)]), np.asarray([np.mean(other)]))
    return Interval(float(whole[0]), float(low), float(high))


def details(figures: Sequence[Figure]) -> dict[str, dict[str, Any]]:
    """The figures as JSON: category -> policy -> figure."""
    found: dict[str, dict[str, Any]] = {}
    for figure in figures:
        apart = ("category", "policy", "lead", "passes")
        content = {key: value for key, value in asdict(figure).items() if key not in apart}
        rounded = {key: round(value, 4) if isinstance(value, float) else value for key, value in content.items()}
        intervals = {"lead": _rounded(figure.lead), "passes": [_rounded(each) for each in figure.passes]}
        found.setdefault(figure.category, {})[figure.policy] = {**intervals, **rounded}
    return found


def _rounded(interval: Interval | None) -> dict[str, float] | None:
    return {key: round(value, 4) for key, value in asdict(interval).items()} if interval else None


def figures_in(content: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[Figure]:
    """The figures of `details`."""
    return [
        Figure(
            category,
            policy,
            **{
                **figure,
                "lead": Interval(**figure["lead"]) if figure["lead"] else None,
                "passes": tuple(Interval(**each) for each in figure.get("passes", ())),
            },
        )
        for category, policies in content.items()
        for policy, figure in policies.items()
    ]


def printed(suite: Suite, figures: Sequence[Figure]) -> list[str]:
    """A line a category and policy, in the order given; then what others have published."""
    width = max([len(figure.category) for figure in figures] + [8])
    name = max([len(figure.policy[-24:]) for figure in figures] + [6])
    lines = [f"{'category':<{width}}  {'policy':<{name}}  {'n':>5}  {'score':>5}  {'95%':<13}  called"]
    for figure in figures:
        lead, span = (_percent(figure.lead.mean), _span(figure.lead)) if figure.lead is not None else ("-", "")
        rest = f"{_percent(figure.called):>6}"
        if figure.refused is not None:
            calls = "not run" if figure.calls is None else _percent(figure.calls)
            rest += f"  no call where none is right {_percent(figure.refused)}, a call where one is right {calls}"
        for k, each in enumerate(figure.passes[1:], start=2):  # pass^1 is the score
            rest += f"  pass^{k} {_percent(each.mean)} {_span(each)}"
        if figure.failed:
            rest += "  failed: " + ", ".join(f"{reason} ({count})" for reason, count in figure.failed.items())
        start = f"{figure.category:<{width}}  {figure.policy[-24:]:<{name}}  {figure.n:>5}"
        lines.append(f"{start}  {lead:>5}  {span:<13}  {rest}")
    if any(figure.refused is not None for figure in figures):
        lines.append("score where nothing is to be called: the harmonic mean of the two shares beside it")
    return [*lines, *_published(suite, {figure.category for figure in figures})]


def _published(suite: Suite, ran: set[str]) -> list[str]:
    """Figures of others for the categories that were run, or for what the sources average them into."""
    lines = []
    for source in suite.published:
        columns = [
            column
            for column in dict.fromkeys(column for figures in source.figures.values() for column in figures)
            if column in ran or any(category.startswith(f"{column}_") for category in ran)
        ]
        if columns:
            lines.append(f"published: {source.source}; harness: {source.harness}")
        for model, figures in source.figures.items():
            known = [f"{column} {figures[column]:g}" for column in columns if column in figures]
            if known:
                lines.append(f"  {model}: {', '.join(known)}")
    return lines


def _span(interval: Interval) -> str:
    return f"[{_percent(interval.low)}, {_percent(interval.high)}]"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _reason(failed: str) -> str:
    """What failures of a kind have in common: `who: what`, or `what`, of `who: what: in particular`."""
    *kind, _ = failed.split(": ", 2) if failed.count(": ") > 1 else [failed, ""]
    return ": ".join(kind)[:60]
