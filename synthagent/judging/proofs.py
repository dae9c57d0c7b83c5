"""Proves a task by running it: solvable, needs_user, constraint_live, no_leak. `unique` is proved against the set.

`decisive` is proved of a pair of twins. All figures are by one formula, whatever `reward.formula` says.

solvable         the reference solution earns 1.0
needs_user       the same solution without asking earns at most 0.6
constraint_live  a reckless run breaks the constraint and earns 0
no_leak          no fact's value stands in the instruction or in a tool schema
unique           no accepted task but its twin is nearly the same
decisive         the twins look the same, end in different outcomes, and each one's path earns at most 0.5 in the other

Of a natural task `needs_user` and `constraint_live` are null where there is nothing to ask or nothing to heed, its twin
may end in the same outcome (something else is done), and there are the proofs of `natural_proofs`.

A task without an information gap (`tasks.information_gap`) is held to `WITHOUT_GAP` only: nothing has to be asked, all
is in plain sight, and who has been told yes need not wait for it. The instruction of its twin may differ in what the
user says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from rensa import RMinHash, RMinHashLSH

from synthagent.episodes import user
from synthagent.episodes.episode import Episode, play
from synthagent.episodes.scripted import NEVER_ASKS, RECKLESS, Style, reference
from synthagent.episodes.world import World, compile_validators
from synthagent.judging.criteria import Derived, extract, natural
from synthagent.judging.natural_proofs import prove_natural
from synthagent.judging.reward import Score, score_world
from synthagent.params import Formula
from synthagent.records import Rubric, Task
from synthagent.text import contains_phrase, words_of
from synthagent.worlds import Ask, Guard

MOST_WITHOUT_USER, MOST_IN_TWIN = 0.6, 0.5
PROOFS = ("solvable", "needs_user", "constraint_live", "no_leak", "unique", "decisive")
WITHOUT_GAP = ("solvable", "unique", "decisive")
_FORMULA: Formula = "product"
_PERMUTATIONS, _BANDS, _NEARLY = 64, 8, 0.9


@dataclass(frozen=True, slots=True)
class Proved:
    """The outcome of each proof that running the task can give, and the figure or text behind it.

    A proof that does not apply is null: nothing has to be asked, or no rule stands in the way.
    """

    holds: dict[str, bool | None]
    detail: dict[str, str]
    extracted: Derived

    @property
    def columns(self) -> dict[str, bool | None]:
        """What a task's own columns say of it."""
        return {name: holds for name, holds in self.holds.items() if name in PROOFS}


def prove(task: Task) -> Proved:
    """Run the expert, a never-asking and a reckless policy through the task."""
    validators = compile_validators(task.tools)

    def fresh() -> World:
        return World(task.world, validators)

    expert = fresh()
    extracted = extract(task, expert)
    rubric = Rubric(task_id=task.id, criteria=extracted.criteria, coverage=1.0)
    solved = score_world(rubric, expert, _FORMULA).reward
    unasked = _earned(task, rubric, fresh, NEVER_ASKS)
    careless = _earned(task, rubric, fresh, RECKLESS)
    leaks = leaked(task)
    asks = any(isinstance(step, Ask) for step in task.reference)
    plain = not natural(task)
    guarded = any(isinstance(step, Guard) for step in task.reference)
    more = {} if plain else prove_natural(task, solved, lambda style: _earned(task, rubric, fresh, style).reward)
    return Proved(
        holds={
            "solvable": solved == 1.0,
            "needs_user": unasked.reward <= MOST_WITHOUT_USER if plain or asks else None,
            "constraint_live": careless.gate == 0.0 and careless.reward == 0.0 if plain or guarded else None,
            "no_leak": not leaks,
            **{name: finding.holds for name, finding in more.items()},
        },
        detail={
            "solvable": f"the reference earns {solved:.3f}",
            "needs_user": f"without asking it earns {unasked.reward:.3f}",
            "constraint_live": f"a reckless run earns {careless.reward:.3f} with gate {careless.gate:.0f}",
            "no_leak": f"values in plain sight: {', '.join(leaks)}",
            **{name: finding.detail for name, finding in more.items()},
        },
        extracted=extracted,
    )


@dataclass(frozen=True, slots=True)
class Decisive:
    """Whether a pair of twins is decisive, and the figure or text behind it."""

    holds: bool
    detail: str


def decisive(task: Task, twin: Task, own: Derived, its: Derived) -> Decisive:
    """Whether the two look the same and end differently, and neither one's path earns much in the other."""
    seen, other = _looks(task), _looks(twin)
    if differ := [name for name in seen if seen[name] != other[name]]:
        return Decisive(False, f"{task.id} and {twin.id} differ in {', '.join(differ)}")
    if own.outcome == its.outcome and not natural(task):
        return Decisive(False, f"{task.id} and {twin.id} both end {own.outcome}")
    for where, rubric, path in ((task, own, its), (twin, its, own)):
        episode = play(Episode(where), iter(path.turns))
        earned = score_world(Rubric(task_id=where.id, criteria=rubric.criteria, coverage=1.0), episode.world, _FORMULA)
        if earned.reward > MOST_IN_TWIN:
            whose = twin.id if where is task else task.id
            return Decisive(False, f"the path of {whose} earns {earned.reward:.3f} in {where.id}")
    return Decisive(True, f"{task.id} ends {own.outcome}, {twin.id} {its.outcome}")


def leaked(task: Task) -> list[str]:
    """The slots whose value can be read off the instruction or a tool schema."""
    hidden = [fact for fact in task.facts if not (natural(task) and fact.slot == user.CONFIRM)]  # a word of any text
    if not hidden:
        return []
    schemas = [{**tool.schema_of_openai, "outputs": tool.outputs} for tool in task.tools]
    # What natural schemas offer completely gives nothing away.
    public = " | ".join([task.instruction, *_texts(schemas, offered=not natural(task))])
    return [fact.slot for fact in hidden if contains_phrase(public, fact.value)]


def _texts(value: Any, offered: bool = True) -> Iterator[str]:
    """All texts in a JSON value, keys among them. `offered`: with what an enum offers."""
    match value:
        case dict():
            items = value.items() if offered else [(k, v) for k, v in value.items() if k != "enum"]
            yield from (text for item in items for text in _texts(item, offered))
        case list() | tuple():
            yield from (text for item in value for text in _texts(item, offered))
        case _:
            yield str(value)


class Uniqueness:
    """An index of accepted tasks by MinHash; finds near-duplicates in time that does not grow with the set."""

    def __init__(self) -> None:
        self._lsh = RMinHashLSH(threshold=_NEARLY, num_perm=_PERMUTATIONS, num_bands=_BANDS)
        self._sketches: list[RMinHash] = []
        self._ids: list[str] = []

    def near_duplicate_of(self, task: Task) -> str | None:
        """The id of an accepted task, not its twin, that is nearly the same; if there is none, it enters the index."""
        sketch = RMinHash(num_perm=_PERMUTATIONS, seed=0)
        sketch.update(sorted(_shingles(task)))
        for number in sorted(self._lsh.query(sketch)):
            if self._ids[number] != task.twin_of and sketch.jaccard(self._sketches[number]) >= _NEARLY:
                like: str = self._ids[number]
                return like
        self._lsh.insert(len(self._ids), sketch)
        self._sketches.append(sketch)
        self._ids.append(task.id)
        return None


def _shingles(task: Task) -> set[str]:
    names = [tool.name for tool in task.tools]
    lines = [task.instruction, *names, *(c.text for c in task.constraints), *(f.phrase for f in task.facts)]
    words = [words_of(line) for line in lines]
    pairs = {f"{a} {b}" for line in words for a, b in pairwise(line)}
    return pairs | {word for line in words for word in line}


def _earned(task: Task, rubric: Rubric, fresh: Callable[[], World], style: Style) -> Score:
    episode = Episode(task, world=fresh())
    return score_world(rubric, play(episode, reference(episode, style)).world, _FORMULA)


def _looks(task: Task) -> dict[str, Any]:
    """What a policy sees of a task before it acts, and what rules it: the same for twins."""
    return {
        "instruction": task.instruction if task.no_leak is not False else _request(task),
        "tools": task.tools,
        "constraints": task.constraints,
        "what the tools do": task.world.effects,
        "rules": task.world.rules,
        "slots of facts": [fact.slot for fact in task.facts],
    }


def _request(task: Task) -> str:
    """The instruction of a task without an information gap, less what the user says of it."""
    return task.instruction.removesuffix(user.all_said(task.facts))
