"""Rules that stand in a prompt and decide nothing in its task, so that the one that does has to be found.

Some are about tools that the task does not need; a decoy is about the right one, and about a status or an amount that
the thing does not have. None forbids what the reference does: the proofs run it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from synthagent.teacher.natural.domain import Field, NaturalDomain, Thing
from synthagent.teacher.natural.policy import prose
from synthagent.teacher.natural.toolset import Spec, column
from synthagent.teacher.rules import Rule, RuleKind
from synthagent.worlds import Called, Condition, Never

_SHARE = 0.5  # of tasks with other tools that act


@dataclass(frozen=True, slots=True)
class Ruled:
    """A rule of the task. `text` is empty where it is the request that makes it."""

    id: str
    check: Never
    text: str = ""


def house_rules(domain: NaturalDomain, used: Sequence[Spec], others: Sequence[Spec], rng: random.Random) -> list[Ruled]:
    """Up to three rules about tools that the task does not need."""
    acting = [spec for spec in others if spec.effects[0].op in ("create", "update")]
    if not acting or rng.random() >= _SHARE:
        return []
    chosen = rng.sample(acting, min(len(acting), rng.randint(1, 3)))
    return [_about(spec, f"other{number}", domain, used, rng) for number, spec in enumerate(chosen, 1)]


def _about(spec: Spec, name: str, domain: NaturalDomain, used: Sequence[Spec], rng: random.Random) -> Ruled:
    thing = next(thing for thing in domain.things if thing.name == spec.effects[0].table)
    shown = [one for one in used if one.effects[0].op == "get" and one.effects[0].table == thing.name]
    look = shown[0] if shown and spec.effects[0].op == "update" else None
    kinds: tuple[RuleKind, ...] = ("never", "confirm", "check", "status") if look else ("never", "confirm")
    kind = rng.choice(kinds)
    ok, bad = rng.sample(thing.statuses, 2)
    rule = Rule(name, kind, spec.name, look.name if look else None, spec.takes[0].key, ok, bad, 0)
    text = prose(kind, spec.name, ok if kind == "check" else bad, _why(domain, thing, rng), rng, noun=thing.name)
    return Ruled(name, rule.check, text)


def decoy_status(thing: Thing, act: Spec, look: Spec, known: Sequence[str], rng: random.Random) -> Ruled | None:
    """Never with another status than those that matter; None where the thing has no other."""
    left = [status for status in thing.statuses if status not in known]
    if not left:
        return None
    rule = Rule("decoy", "status", act.name, look.name, look.takes[0].key, "", rng.choice(left), 0)
    return Ruled(rule.id, rule.check, prose("status", act.name, rule.bad, "", rng, noun=thing.name))


def decoy_amount(
    thing: Thing, act: Spec, look: Spec, field: Field, limit: float, currency: str, rng: random.Random
) -> Ruled:
    """Never above a limit, which is above what the thing has."""
    seen = Called(tool=look.name, result=(Condition(field=column(field), op="le", value=limit),))
    value = f"{limit:g} {currency if field.kind == 'money' else field.unit}".strip()
    text = prose("limit", act.name, value, "", rng, noun=thing.name, field=field.name)
    return Ruled("decoy", Never(tool=act.name, seen=seen, same=(look.takes[0].key,)), text)


def _why(domain: NaturalDomain, thing: Thing, rng: random.Random) -> str:
    reasons = [action.why for action in domain.actions if action.thing == thing.name and action.why]
    return rng.choice(reasons) if reasons and rng.random() < 0.3 else ""
