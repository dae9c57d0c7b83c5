"""A desk that several requests reach: (domain, rng) -> tools, policy and day that its tasks have in common.

Their prompts begin alike, so that only the request says which tool is meant, if any; and a student goes through what
they have in common once (`student.prefixes`). At a desk things are looked up and made; what changes a thing that has to
be found first is there, too, and never asked for.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from synthagent.teacher.natural.domain import Lookup, NaturalAction, NaturalDomain
from synthagent.teacher.natural.house import Ruled, house_rules
from synthagent.teacher.natural.moments import WEEKS
from synthagent.teacher.natural.policy import neutral, opening, wordings
from synthagent.teacher.natural.schemas import Naming, draw_style
from synthagent.teacher.natural.toolset import Spec, ToolsetWriter
from synthagent.teacher.natural.values import Context

_FIRST_DAY = date(2026, 1, 1)
_NEUTRAL = 0.4  # how often the agent is told, too, how to write to people
_ANYWHERE = 0.3  # of prompts in which no tool has to do with days: neither the place is said nor the day
_ASKED = ((1, 2, 3, 4), (0.3, 0.3, 0.25, 0.15))  # tools that requests may want, and how often so many
_OTHERS = ((0, 1, 2, 3), (0.55, 0.25, 0.15, 0.05))  # tools that none wants


@dataclass(frozen=True, slots=True)
class Desk:
    """What the tasks of a desk share. `whole`: its domain; `domain`: what of it can be asked for here."""

    whole: NaturalDomain
    domain: NaturalDomain
    writer: ToolsetWriter
    context: Context
    tools: tuple[Spec, ...]
    rules: tuple[Ruled, ...]
    opening: str

    def in_vain(self, domains: Sequence[NaturalDomain]) -> list[NaturalDomain]:
        """Where what is asked for in vain is from: its own domain's lookups without a tool here, and other domains.

        As much of the one as of the others, if there is any. `domains`: other ones.
        """
        here = {lookup.name for lookup in self.domain.lookups}
        left = tuple(lookup for lookup in self.whole.lookups if lookup.name not in here)
        others = [other for other in domains if not other.tables & self.whole.tables]
        own = self.whole.model_copy(update={"lookups": left, "actions": ()})
        return [*others, *[own] * (max(1, len(others)) if left else 0)]


def open_desk(domain: NaturalDomain, masked: float, rng: random.Random) -> Desk:
    """A desk of a domain. `masked`: how often names say nothing."""
    context = draw_context(rng)
    writer = _Written(domain, draw_style(rng, masked), context.currency, rng)
    lookups, makers = [*domain.lookups], [action for action in domain.actions if action.needs]
    first = rng.choice(lookups)  # one is there at every desk
    rest: list[Lookup | NaturalAction] = [*(each for each in lookups if each is not first), *makers]
    asked = [first, *rng.sample(rest, min(len(rest), rng.choices(*_ASKED)[0] - 1))]
    changers = [action for action in domain.actions if not action.needs]
    others = rng.sample(changers, min(len(changers), rng.choices(*_OTHERS)[0]))
    tools = [writer.write(each) for each in (*asked, *others)]
    rules = house_rules(domain, (), tools[len(asked) :], rng)
    rng.shuffle(tools)
    said = draw_neutral(rng)
    return Desk(
        whole=domain,
        domain=domain.model_copy(
            update={
                "lookups": tuple(each for each in asked if isinstance(each, Lookup)),
                "actions": tuple(each for each in asked if isinstance(each, NaturalAction)),
            }
        ),
        writer=writer,
        context=context,
        tools=tuple(tools),
        rules=tuple(rules),
        opening=opening_of(domain, context, tools, said, rng),
    )


def draw_context(rng: random.Random) -> Context:
    """What day it is, and which money is paid with."""
    return Context(today=_FIRST_DAY + timedelta(days=rng.randrange(365)), currency=rng.choice(("EUR", "USD", "GBP")))


def draw_neutral(rng: random.Random) -> tuple[str, ...]:
    """Rules that decide nothing, or none."""
    return neutral(rng.randint(1, 3), rng) if rng.random() < _NEUTRAL else ()


def opening_of(
    domain: NaturalDomain, context: Context, tools: Sequence[Spec], said: Sequence[str], rng: random.Random
) -> str:
    """Where the agent works, what day it is, and what is said besides. `tools`: those that may be wanted.

    Where none of them wants or gives a day, only that it is an agent, now and then: most prompts of others say no
    more, and whether a tool fits has to be told from the tools.
    """
    dated = any(each.field.kind == "date" for spec in tools for each in (*spec.takes, *spec.gives))
    if not dated and rng.random() < _ANYWHERE:
        return " ".join((rng.choice(wordings().anywhere), *said))
    return " ".join((opening(domain.about, context.today, rng), WEEKS, *said))


class _Written(ToolsetWriter):
    """Writes each tool once, and gives it again."""

    def __init__(self, domain: NaturalDomain, style: Naming, currency: str, rng: random.Random) -> None:
        super().__init__(domain, style, currency, rng)
        self._specs: dict[tuple[str, str], Spec] = {}

    def write(self, of: Lookup | NaturalAction) -> Spec:
        """The tool of a lookup or an action."""
        return self.look_up(of) if isinstance(of, Lookup) else self.act(of)

    def look_up(self, lookup: Lookup) -> Spec:
        """What a lookup finds."""
        known = lookup.verb, lookup.name
        if known not in self._specs:
            self._specs[known] = super().look_up(lookup)
        return self._specs[known]

    def act(self, action: NaturalAction) -> Spec:
        """What an action does."""
        known = action.verb, action.thing
        if known not in self._specs:
            self._specs[known] = super().act(action)
        return self._specs[known]
