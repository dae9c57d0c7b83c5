"""Natural tasks by number: (numbers, personas, domains) -> groups of tasks, twins or single ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from synthagent.params import NaturalParams, TasksParams
from synthagent.records import Persona, Task
from synthagent.teacher.compose import Draft
from synthagent.teacher.llm.write import id_of
from synthagent.teacher.natural.compose import AT_DESK, PATTERNS, TWINS, Pattern, compose, patterns_at
from synthagent.teacher.natural.desk import open_desk
from synthagent.teacher.natural.domain import NaturalDomain
from synthagent.teacher.natural.sense import NoRoomError
from synthagent.teacher.natural.writing import Manner
from synthagent.teacher.twins import pair

VERSION = "natural-5"
_TRIES = 20
_LEVELS: dict[Pattern, int] = {
    "one": 1,
    "cannot": 1,
    "several": 2,
    "parallel": 2,
    "chain": 2,
    "two": 2,
    "rule": 3,
    "condition": 3,
}


def propose_natural(
    numbers: range, personas: Sequence[Persona], domains: Sequence[NaturalDomain], params: TasksParams, seed: int
) -> list[tuple[Task, ...]]:
    """The tasks of these numbers: pairs of twins where their pattern has them, else each alone.

    Two numbers, or those of a desk (`tasks.natural.desk`): then all tasks are at it, or all have tools of their own.
    They depend on nothing but the arguments.
    """
    teacher = _Teacher(personas, domains, params, seed)
    shares = params.natural.patterns.model_dump()
    if params.natural.desk == 1:
        return teacher.two(numbers, shares)
    others = {name: 0.0 if name in AT_DESK else share for name, share in shares.items()}
    rng = random.Random(f"natural-desk-{seed}-{numbers.start}")
    if others != shares and rng.random() >= sum(others.values()):
        return teacher.at_desk(numbers, shares, rng)
    return [
        group
        for first in range(numbers.start, numbers.stop, 2)
        for group in teacher.two(range(first, min(first + 2, numbers.stop)), others)
    ]


def numbers_together(params: NaturalParams) -> int:
    """How many numbers are proposed together."""
    return max(2, params.desk)


@dataclass(frozen=True, slots=True)
class _Teacher:
    """What all proposals depend on, besides their numbers."""

    personas: Sequence[Persona]
    domains: Sequence[NaturalDomain]
    params: TasksParams
    seed: int

    def two(self, numbers: range, shares: dict[str, float]) -> list[tuple[Task, ...]]:
        """Twins, or two tasks that have nothing to do with each other."""
        rng = random.Random(f"natural-{self.seed}-{numbers.start}")
        pattern = rng.choices(PATTERNS, [shares[name] for name in PATTERNS])[0]
        if pattern in TWINS:
            names = [id_of(number) for number in numbers]
            rng.shuffle(names)
            draft, task = self._alone(numbers.start, names[0], pattern, rng)
            if len(numbers) == 1 or draft.change is None:
                return [(task,)]
            first, second = sorted(pair(task, draft.change, names[1]), key=lambda twin: twin.id)
            return [(first, second)]
        found: list[tuple[Task, ...]] = []
        for number in numbers:
            kind = pattern if number == numbers.start else _single(rng, shares)
            found.append((self._alone(number, id_of(number), kind, rng)[1],))
        return found

    def at_desk(self, numbers: range, shares: dict[str, float], rng: random.Random) -> list[tuple[Task, ...]]:
        """Tasks of one desk, each of another user."""
        natural = self.params.natural
        domain, desks = self._where(self._persona(numbers.start), rng)
        desk = open_desk(domain, natural.masked, rng)
        among = patterns_at(desk, desks)
        found: list[tuple[Task, ...]] = []
        for number in numbers:
            weights = [shares[name] for name in among]
            pattern = rng.choices(among, weights)[0] if any(weights) else "one"
            persona, gap = self._persona(number), self._gap(pattern, rng)
            draft = _composed(partial(compose, desk, persona.text, pattern, gap, rng, self._manner, desks))
            task = self._task(id_of(number), persona, domain, pattern, draft)
            at = {"desk": f"desk-{id_of(numbers.start)}"}
            found.append((task.model_copy(update={"provenance": {**task.provenance, **at}}),))
        return found

    @property
    def _manner(self) -> Manner:
        return Manner(self.params.natural.masked, self.params.natural.wordings)

    def _persona(self, number: int) -> Persona:
        return self.personas[number % len(self.personas)]

    def _where(self, persona: Persona, rng: random.Random) -> tuple[NaturalDomain, list[NaturalDomain]]:
        """The domain of a persona's task, and the others of its split."""
        unseen = rng.random() < self.params.unseen_share
        among = [domain for domain in self.domains if (domain.split == "unseen_domain") == unseen]
        domain = _domain_of(persona.text, among, rng)
        return domain, [other for other in self.domains if other.split == domain.split and other is not domain]

    def _gap(self, pattern: Pattern, rng: random.Random) -> bool:
        may = self.params.information_gap and pattern in ("one", "parallel", "chain")
        return may and rng.random() < self.params.natural.missing

    def _alone(self, number: int, name: str, pattern: Pattern, rng: random.Random) -> tuple[Draft, Task]:
        """A task with tools of its own."""
        persona = self._persona(number)
        domain, desks = self._where(persona, rng)
        gap = self._gap(pattern, rng)
        draft = _composed(partial(compose, domain, persona.text, pattern, gap, rng, self._manner, desks))
        return draft, self._task(name, persona, domain, pattern, draft)

    def _task(self, name: str, persona: Persona, domain: NaturalDomain, pattern: Pattern, draft: Draft) -> Task:
        provenance = {"backend": "embedded", "version": VERSION, "seed": self.seed, "tokens": 0, "pattern": pattern}
        return draft.task(name, persona, domain.name, _LEVELS[pattern], domain.split, provenance)


def _single(rng: random.Random, shares: dict[str, float]) -> Pattern:
    """A pattern without twins."""
    among = [name for name in PATTERNS if name not in TWINS]
    return rng.choices(among, [shares[name] for name in among])[0]


def _composed(compose_once: Callable[[], Draft]) -> Draft:
    """A draft; begun anew where values that were drawn leave no room for one beside them."""
    for _ in range(_TRIES):
        try:
            return compose_once()
        except NoRoomError as error:
            failed = error
    raise failed


def _domain_of(persona: str, among: Sequence[NaturalDomain], rng: random.Random) -> NaturalDomain:
    """The domain that a persona's words lead to; where several or none do, one drawn with `rng`."""
    words = persona.lower().split()
    leads = [d for d in among if any(word.startswith(d.keywords) for word in words)]
    return rng.choice(leads or list(among))
