"""Natural tasks by number: (numbers, personas, domains) -> groups of tasks, twins or single ones."""

from __future__ import annotations

import random
from collections.abc import Sequence

from synthagent.params import TasksParams
from synthagent.records import Persona, Task
from synthagent.teacher.compose import Draft
from synthagent.teacher.llm.write import id_of
from synthagent.teacher.natural.compose import PATTERNS, TWINS, Pattern, compose
from synthagent.teacher.natural.domain import NaturalDomain
from synthagent.teacher.natural.sense import NoRoomError
from synthagent.teacher.natural.writing import Manner
from synthagent.teacher.twins import pair

VERSION = "natural-4"
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
    """The tasks of these numbers, one or two: a pair of twins where their pattern has one, else each alone.

    They depend on nothing but the arguments.
    """
    rng = random.Random(f"natural-{seed}-{numbers.start}")
    shares = params.natural.patterns.model_dump()
    pattern = rng.choices(PATTERNS, [shares[name] for name in PATTERNS])[0]
    if pattern in TWINS:
        names = [id_of(number) for number in numbers]
        rng.shuffle(names)
        draft, task = _drafted(numbers.start, names[0], pattern, personas, domains, params, rng, seed)
        if len(numbers) == 1 or draft.change is None:
            return [(task,)]
        first, second = sorted(pair(task, draft.change, names[1]), key=lambda twin: twin.id)
        return [(first, second)]
    found: list[tuple[Task, ...]] = []
    for number in numbers:
        kind = pattern if number == numbers.start else _single(rng, shares)
        found.append((_drafted(number, id_of(number), kind, personas, domains, params, rng, seed)[1],))
    return found


def _single(rng: random.Random, shares: dict[str, float]) -> Pattern:
    """A pattern without twins."""
    among = [name for name in PATTERNS if name not in TWINS]
    return rng.choices(among, [shares[name] for name in among])[0]


def _drafted(
    number: int,
    name: str,
    pattern: Pattern,
    personas: Sequence[Persona],
    domains: Sequence[NaturalDomain],
    params: TasksParams,
    rng: random.Random,
    seed: int,
) -> tuple[Draft, Task]:
    persona = personas[number % len(personas)]
    unseen = rng.random() < params.unseen_share
    domain = _domain_of(persona.text, [d for d in domains if (d.split == "unseen_domain") == unseen], rng)
    gap = params.information_gap and pattern in ("one", "parallel", "chain") and rng.random() < params.natural.missing
    desks = [other for other in domains if other.split == domain.split and other is not domain]
    draft = _composed(domain, persona.text, pattern, gap, rng, params, desks)
    task = Task(
        id=name,
        persona_id=persona.id,
        domain=domain.name,
        difficulty=_LEVELS[pattern],
        split=domain.split,
        instruction=draft.instruction,
        workflow=(),
        facts=draft.facts,
        tools=draft.tools,
        distractors=draft.distractors,
        constraints=draft.constraints,
        world_kind="executable",
        world=draft.world,
        reference=draft.reference,
        provenance={"backend": "embedded", "version": VERSION, "seed": seed, "tokens": 0, "pattern": pattern},
    )
    return draft, task


def _composed(
    domain: NaturalDomain,
    persona: str,
    pattern: Pattern,
    gap: bool,
    rng: random.Random,
    params: TasksParams,
    desks: Sequence[NaturalDomain],
) -> Draft:
    """A draft; begun anew where values that were drawn leave no room for one beside them."""
    manner = Manner(params.natural.masked, params.natural.wordings)
    for _ in range(_TRIES):
        try:
            return compose(domain, persona, pattern, gap, rng, manner, desks)
        except NoRoomError as error:
            failed = error
    raise failed


def _domain_of(persona: str, among: Sequence[NaturalDomain], rng: random.Random) -> NaturalDomain:
    """The domain that a persona's words lead to; where several or none do, one drawn with `rng`."""
    words = persona.lower().split()
    leads = [d for d in among if any(word.startswith(d.keywords) for word in words)]
    return rng.choice(leads or list(among))
