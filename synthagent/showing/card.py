"""The report card: what a run was asked for, and what GRPO changed by domain, by criterion and by episode. Pure.

GRPO beside SFT, both sampled, on the same held-out tasks. What differs from run to run is joined later (`joined.py`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from synthagent.differing import Changed
from synthagent.records import BENCHMARK, Evaluation, Rubric, Task, Verdict
from synthagent.showing.statistics import Interval, Value, interval

_MOST = 8  # episodes with the largest gain, and as many with the largest loss
_CHECKS = {  # kind of a criterion, kind of its check -> in words; what is not here is named by the two
    ("constraint", "never"): "a forbidden act",
    ("interaction", "told"): "learn it from the user",
    ("subgoal", "called"): "look it up",
    ("subgoal", "row"): "change what is stored",
    ("subgoal", "all"): "the answer, and what it rests on",
    ("subgoal", "answered"): "the answer",
}


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided of an evaluated episode."""

    policy: str
    task_id: str
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """A task as both policies did it."""

    task: Task
    before: Evaluation
    after: Evaluation

    @property
    def change(self) -> float:
        return self.after.reward - self.before.reward

    @property
    def before_id(self) -> str:
        """The episode's, as in `data/episodes.parquet`."""
        return f"{self.task.id}.sft.{self.before.sample}"


@dataclass(frozen=True, slots=True)
class DomainResult:
    """The tasks of a domain on a split. `change`: of the reward, its interval over pairs of twins."""

    split: str
    domain: str
    n: int
    before: float
    after: float
    change: Interval
    perfect_before: float
    perfect_after: float


@dataclass(frozen=True, slots=True)
class CriterionResult:
    """Criteria of a kind: how many verdicts there are, and which share of them is a failure."""

    kind: str
    name: str
    n: int
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Card:
    """What the report card shows. `changed`: the params that are not the defaults."""

    seed: int
    changed: tuple[Changed, ...]
    domains: tuple[DomainResult, ...]
    criteria: tuple[CriterionResult, ...]
    gains: tuple[Pair, ...]
    losses: tuple[Pair, ...]


def card_of(
    seed: int,
    changed: Iterable[Changed],
    evaluation: Iterable[Evaluation],
    decided: Iterable[Decided],
    tasks: Mapping[str, Task],
    rubrics: Mapping[str, Rubric],
) -> Card:
    """Put the card together. `decided`: of sampled episodes; `tasks`, `rubrics`: of the tasks evaluated."""
    pairs = pairs_of(evaluation, tasks)
    by_change = sorted(pairs, key=lambda pair: (-abs(pair.change), pair.task.id, pair.after.sample))
    return Card(
        seed=seed,
        changed=tuple(changed),
        domains=tuple(_by_domain(pairs, seed)),
        criteria=tuple(_by_criterion(decided, rubrics)),
        gains=tuple([pair for pair in by_change if pair.change > 0][:_MOST]),
        losses=tuple([pair for pair in by_change if pair.change < 0][:_MOST]),
    )


def pairs_of(evaluation: Iterable[Evaluation], tasks: Mapping[str, Task]) -> list[Pair]:
    """The tasks that both students did, sampled."""
    rows: dict[str, dict[tuple[str, int], Evaluation]] = {"sft": {}, "grpo": {}}
    for row in evaluation:
        if row.benchmark == BENCHMARK and row.decoding == "sampled" and row.policy in rows and row.task_id in tasks:
            rows[row.policy][row.task_id, row.sample] = row
    both = sorted(rows["sft"].keys() & rows["grpo"].keys())
    return [Pair(tasks[key[0]], rows["sft"][key], rows["grpo"][key]) for key in both]


def _by_domain(pairs: Sequence[Pair], seed: int) -> list[DomainResult]:
    groups: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair.task.split, pair.task.domain].append(pair)
    return [
        DomainResult(
            split=split,
            domain=domain,
            n=len(group),
            before=fmean(pair.before.reward for pair in group),
            after=fmean(pair.after.reward for pair in group),
            change=interval([[Value(min(p.task.id, p.task.twin_of or p.task.id), p.change) for p in group]], seed),
            perfect_before=fmean(pair.before.reward > 1 - 1e-9 for pair in group),
            perfect_after=fmean(pair.after.reward > 1 - 1e-9 for pair in group),
        )
        for (split, domain), group in sorted(groups.items())
    ]


def _by_criterion(decided: Iterable[Decided], rubrics: Mapping[str, Rubric]) -> list[CriterionResult]:
    failed: dict[tuple[str, str], dict[str, list[bool]]] = defaultdict(lambda: {"sft": [], "grpo": []})
    for episode in (one for one in decided if one.policy in ("sft", "grpo")):
        rubric = rubrics.get(episode.task_id)
        criteria = {criterion.id: criterion for criterion in rubric.criteria} if rubric else {}
        for verdict in episode.verdicts:
            if criterion := criteria.get(verdict.criterion):
                check = criterion.check.kind if criterion.check else "judged"
                failed[criterion.kind, check][episode.policy].append(not verdict.passed)
    found = [
        CriterionResult(kind, _CHECKS.get((kind, check), check), len(of["grpo"]), fmean(of["sft"]), fmean(of["grpo"]))
        for (kind, check), of in failed.items()
        if of["sft"] and of["grpo"]
    ]
    return sorted(found, key=lambda result: (-result.after, result.kind, result.name))
