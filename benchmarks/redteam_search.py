"""What programs and tables of outcomes earn in pairs of twins, and the search for the best of them.

A table adds to programs what can be learnt of values without the policy's text: from the error, the consent, the price
or the status that was seen to the program that goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, islice
from random import Random
from statistics import fmean
from typing import NamedTuple

from benchmarks.redteam_programs import LAZY_STARTS, Program, changed_program, random_program
from synthagent.episodes.episode import Episode, Script, play
from synthagent.episodes.lazy import known
from synthagent.episodes.user import CONFIRM
from synthagent.episodes.world import AnswerEvent, Validators, World, compile_validators, fresh_world
from synthagent.judging.criteria import extract
from synthagent.judging.reward import score, verdicts_by_check
from synthagent.params import Formula, Params
from synthagent.records import Rubric, Task
from synthagent.stages.personas import built_in
from synthagent.stages.tasks import propose
from synthagent.teacher.acceptance import judge_proposals
from synthagent.teacher.domains import load_vocabulary


@dataclass(frozen=True, slots=True)
class Case:
    """A task that is judged by checks."""

    task: Task
    rubric: Rubric
    validators: Validators

    def play(self, script: Script) -> Episode:
        """The policy's episode in a fresh world."""
        episode = Episode(self.task, world=World(self.task.world, self.validators))
        return play(episode, script(episode))


class Pair(NamedTuple):
    """Twins."""

    first: Case
    second: Case


class Earned(NamedTuple):
    """Rewards in a pair."""

    first: float
    second: float


@dataclass(frozen=True, slots=True)
class Result:
    """Means over pairs: reward, the smaller one of a pair, and the share of pairs in which both are perfect."""

    reward: float
    pair_reward: float
    pair_rate: float

    @property
    def rank(self) -> tuple[float, float]:
        """What the search climbs: pair reward, then reward, which still has a slope where pair reward is flat."""
        return self.pair_reward, self.reward


@dataclass(frozen=True, slots=True)
class Found:
    """A policy in words, and what it earns in pairs."""

    text: str
    pairs: Sequence[Pair]
    earned: Sequence[Earned]

    @property
    def result(self) -> Result:
        return summary(self.earned)


def case_of(task: Task) -> Case:
    """The task with the rubric that its reference gives."""
    criteria = extract(task, fresh_world(task)).criteria
    return Case(task, Rubric(task_id=task.id, criteria=criteria, coverage=1.0), compile_validators(task.tools))


def some_pairs(params: Params, number: int) -> list[Pair]:
    """The first pairs of twins that the embedded teacher makes."""
    personas, vocabulary = tuple(built_in()), load_vocabulary()

    def accepted() -> Iterator[Pair]:
        for n in count():
            two = propose(n, personas, vocabulary, params.tasks, params.seed)
            tasks = [row for row in judge_proposals([two]) if isinstance(row, Task)]
            if len(tasks) == 2:
                yield Pair(case_of(tasks[0]), case_of(tasks[1]))

    return list(islice(accepted(), number))


def summary(earned: Sequence[Earned]) -> Result:
    """Means over pairs."""
    least = [min(two) for two in earned]
    return Result(
        fmean(reward for two in earned for reward in two), fmean(least), fmean(one > 1 - 1e-9 for one in least)
    )


@dataclass
class Scores:
    """What policies earn in pairs, by one formula; each is played once."""

    pairs: Sequence[Pair]
    formula: Formula
    _seen: dict[tuple[Script, int], tuple[Earned, ...]] = field(default_factory=dict)

    def of(self, script: Script, number: int | None = None) -> tuple[Earned, ...]:
        """What it earns in the first `number` pairs; in all of them without."""
        count = len(self.pairs) if number is None else min(number, len(self.pairs))
        if (script, count) not in self._seen:
            played = (Earned(self._earned(one, script), self._earned(two, script)) for one, two in self.pairs[:count])
            self._seen[script, count] = tuple(played)
        return self._seen[script, count]

    def _earned(self, case: Case, script: Script) -> float:
        world = case.play(script).world
        answered = any(isinstance(event, AnswerEvent) for event in world.events)
        criteria = case.rubric.criteria
        verdicts = verdicts_by_check(case.rubric, world)
        return score(criteria, verdicts, answered=answered, formula=self.formula).reward


# --- the search over programs ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is tried: random programs, programs to climb from, changes of each, pairs on which that is done; changes
    of a table."""

    programs: int = 150
    starts: int = 6
    changes: int = 60
    pairs: int = 50
    table: int = 4000


def climb(scores: Scores, rng: Random, effort: Effort, heeds_errors: bool) -> Found:
    """The best of random programs, and of what small changes make of the best of them."""

    def rank(program: Program) -> tuple[float, float]:
        return summary(scores.of(program, effort.pairs)).rank

    tried = [random_program(rng) for _ in range(effort.programs)]
    tried = [replace(program, heeds_errors=heeds_errors) for program in (*LAZY_STARTS, *tried)]
    climbed = sorted(dict.fromkeys(tried), key=rank, reverse=True)[: effort.starts]
    for number, best in enumerate(climbed):
        for _ in range(effort.changes):
            changed = changed_program(best, rng)
            best = changed if rank(changed) >= rank(best) else best
        climbed[number] = best
    top = max(climbed, key=lambda program: summary(scores.of(program)).rank)
    return Found(str(top), scores.pairs, scores.of(top))


# --- the table over values ------------------------------------------------------------------------------------------

FEATURES = ("error", CONFIRM, "price", "status")  # the first whose value stands in the table decides
Value = tuple[str, str]  # of a feature
Seen = tuple[Value, ...]
Ways = Mapping[Value, Program]
ELSE: Value = ("else", "")
_SHOWN = 4  # lines of a table
WAYS = (
    Program(("ask all", "read", "write all"), "done", "written"),
    Program(("ask all", "read", "write 1st"), "done", "written"),
    Program(("ask all", "read", "write 2nd"), "done", "written"),
    Program(("ask all", "read", "write 1st", "write 2nd"), "done", "written"),
    Program(("ask all", "read"), "refused", "read"),
    Program(("ask all", "read"), "kept"),
)


def learn_table(scores: Scores, rng: Random, features: Sequence[str], changes: int) -> Found:
    """A table found by a hill-climb on every second pair, and what it earns in the others."""
    earned = {way: scores.of(way) for way in WAYS}
    seen = [tuple(seen_in(case, features) for case in pair) for pair in scores.pairs]
    learning, others = range(0, len(seen), 2), range(1, len(seen), 2)
    values = sorted({value for number in learning for one in seen[number] for value in one})

    def earned_by(table: Ways, numbers: range) -> list[Earned]:
        ways = [tuple(_way(table, one) for one in seen[number]) for number in numbers]
        chosen = zip(numbers, ways, strict=True)
        return [Earned(earned[one][number].first, earned[two][number].second) for number, (one, two) in chosen]

    best: Ways = {ELSE: WAYS[0]}
    reached = summary(earned_by(best, learning)).rank
    for _ in range(changes):
        name, way = rng.choice((ELSE, *values)), rng.choice((None, *WAYS))
        changed = {key: known for key, known in best.items() if key != name} | ({name: way} if way else {})
        if ELSE in changed and (now := summary(earned_by(changed, learning)).rank) >= reached:
            best, reached = changed, now
    return Found(_in_words(best), [scores.pairs[number] for number in others], earned_by(best, others))


def _way(table: Ways, seen: Seen) -> Program:
    return next((table[value] for value in seen if value in table), table[ELSE])


def _in_words(table: Ways) -> str:
    lines = [f"{' '.join(value)}: {way.outcome}" for value, way in sorted(table.items()) if value != ELSE]
    more = [f"{len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return "; ".join([*lines[:_SHOWN], *more, f"else {table[ELSE]}"])


def seen_in(case: Case, features: Sequence[str]) -> Seen:
    """What a policy knows of a task, feature by feature, that has asked for all and read all."""
    names = known(case.play(Program(("ask all", "read"), "done")))
    return tuple((name, str(names[name])) for name in features if name in names)
