"""Composes one natural task: (domain, persona, pattern, rng) -> what the plain teacher composes, a `Draft`.

`one`       a single call of a lookup, or of an action that makes something
`several`   the same lookup for two to four things, none of which waits for another
`parallel`  different lookups at once
`chain`     a thing is found by what the user knows of it, then something is done with it
`rule`      a chain, and a policy decides whether it may be done; its twin has the other outcome
`cannot`    a single call whose tool is not there

In any of the first four something that is needed may be left out of the request: then it has to be asked for.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Literal

from synthagent.episodes.user import CONFIRM
from synthagent.frozen import Json
from synthagent.teacher.compose import Draft
from synthagent.teacher.natural.domain import Lookup, NaturalAction, NaturalDomain, Thing
from synthagent.teacher.natural.language import Detail, SpokenWish, Voice, question_of, reply_of, request, voice_of
from synthagent.teacher.natural.moments import WEEKS
from synthagent.teacher.natural.phrasing import WishKind
from synthagent.teacher.natural.policy import opening, prose
from synthagent.teacher.natural.rows import RowWriter, SaidValue
from synthagent.teacher.natural.schemas import TypedParameter, draw_style
from synthagent.teacher.natural.toolset import STATUS, Spec, ToolsetWriter, code_of, column
from synthagent.teacher.natural.values import Context
from synthagent.teacher.rules import Rule, RuleKind
from synthagent.teacher.twins import Change, FactChange, RowChange
from synthagent.worlds import Answer, Ask, Call, Condition, Constraint, Effect, Fact, Guard, Step, WorldSpec

Pattern = Literal["one", "several", "parallel", "chain", "rule", "cannot"]
PATTERNS: tuple[Pattern, ...] = ("one", "several", "parallel", "chain", "rule", "cannot")
_FIRST_DAY = date(2026, 1, 1)
_OPTIONAL, _BUSY = 0.4, 0.06  # how often an optional value is said; how often a tool fails in passing


@dataclass
class _Parts:
    """What is gathered while a task is composed."""

    used: list[Spec] = field(default_factory=list)
    wishes: list[SpokenWish] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    canonical: dict[str, Json] = field(default_factory=dict)
    asked_by: dict[str, tuple[str, ...]] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    rules: list[tuple[Rule, str]] = field(default_factory=list)
    change: Change | None = None


def compose(domain: NaturalDomain, persona: str, pattern: Pattern, gap: bool, rng: random.Random) -> Draft:
    """Write one task down. `gap`: something that is needed is left out of the request."""
    return _NaturalComposer(domain, persona, gap, rng).draft(pattern)


def changeable(domain: NaturalDomain) -> list[NaturalAction]:
    """What can be done with a thing that is found by whose it is."""
    owned = {thing.name for thing in domain.things if thing.owner}
    return [action for action in domain.actions if not action.needs and action.thing in owned]


class _NaturalComposer:
    """What was drawn for one task, while its parts are written."""

    def __init__(self, domain: NaturalDomain, persona: str, gap: bool, rng: random.Random) -> None:
        self.domain, self.persona, self.rng, self.gap = domain, persona, rng, gap
        self.voice: Voice = voice_of(persona, rng)
        self.context = Context(
            today=_FIRST_DAY + timedelta(days=rng.randrange(365)), currency=rng.choice(("EUR", "USD", "GBP"))
        )
        self.writer = ToolsetWriter(domain, draw_style(rng), self.context.currency, rng)
        self.rows = RowWriter(self.writer, self.context, rng)
        self.parts = _Parts()

    def draft(self, pattern: Pattern) -> Draft:
        rng, parts = self.rng, self.parts
        match pattern:
            case "one" | "cannot":
                self._single()
            case "several":
                self._several()
            case "parallel":
                self._parallel()
            case "chain" | "rule":
                self._chain(pattern == "rule")
        removed = parts.used.pop() if pattern == "cannot" else None
        if removed:
            parts.steps = [Answer(outcome="cannot", milestone="Say that no tool does it")]
            parts.facts, parts.canonical, parts.asked_by = [], {}, {}
        distractors = self._distractors(removed)
        everything = [*parts.used, *distractors]
        rng.shuffle(everything)
        constraints = [Constraint(id=rule.id, text=text) for rule, text in parts.rules]
        rng.shuffle(constraints)
        return Draft(
            instruction=request(parts.wishes, self.voice, self.persona, rng),
            facts=tuple(parts.facts),
            tools=tuple(spec.tool for spec in everything),
            distractors=tuple(sorted(spec.name for spec in distractors)),
            constraints=tuple(constraints),
            world=WorldSpec(
                tables=self.rows.tables(everything, {thing.name for thing in self.domain.things}),
                effects={spec.name: self._effects(spec) for spec in everything},
                new_ids=tuple(self.rows.codes(self._made(), 4)),
                rules={rule.id: rule.check for rule, _ in parts.rules},
                opening=f"{opening(self.domain.about, self.context.today, rng)} {WEEKS}",
                canonical=parts.canonical,
                asked_by=parts.asked_by,
            ),
            reference=tuple(parts.steps),
            change=parts.change,
        )

    # --- patterns --------------------------------------------------------------------------------------------------

    def _single(self) -> None:
        makers = [action for action in self.domain.actions if action.needs]
        if makers and self.rng.random() < 0.4:
            self._make(self.rng.choice(makers))
        else:
            self._ask_lookup(self.rng.choice(self.domain.lookups), self.gap)
        self._finish()

    def _several(self) -> None:
        lookup = self.rng.choice(self.domain.lookups)
        spec = self._use(self.writer.look_up(lookup))
        first = self._said(spec)
        varied = self.rng.choice([each for each in first if each.written.required])
        wanted = self.rows.others(varied, first, self.rng.randint(1, 3))
        for number, value in enumerate((varied.value, *wanted)):
            said = [replace(each, value=value) if each is varied else each for each in first]
            self.rows.answer(lookup, spec, said)
            self._call(spec, said, set(), together=number > 0)
            self.parts.wishes.append(self._wish(lookup.verb, lookup.name, said, set(), lookup))
        self._finish()

    def _parallel(self) -> None:
        lookups = self.rng.sample(self.domain.lookups, 2)
        for number, lookup in enumerate(lookups):
            self._ask_lookup(lookup, self.gap and number == 0, together=number > 0)
        self._finish()

    def _chain(self, ruled: bool) -> None:
        action = self.rng.choice(changeable(self.domain))
        thing = self.writer.thing(action.thing)
        owner = next(each for each in thing.fields if each.name == thing.owner)
        rule: RuleKind | None = self.rng.choice(("check", "status", "confirm")) if ruled else None
        find = self._use(self.writer.find(thing, owner))
        look = self._use(self.writer.get(thing, ())) if rule in ("check", "status") else None
        act = self._use(self.writer.act(action))
        found = self.rows.things(thing, owner, act.takes[1:])
        mine, code, changed = found.mine, found.code, found.changed
        hidden = self._hide([SaidValue(find.takes[0], mine[owner.name]), *changed]) if self.gap else None
        self._call(find, [SaidValue(find.takes[0], mine[owner.name])], _one(hidden), needed=True)
        key = column(code_of(thing))
        if look:
            self.parts.steps.append(self._known(look, {look.takes[0].key: key}, precaution=True))
        if rule:
            self._rule(rule, thing, act, look, code)
        self._call(act, changed, _one(hidden), known={act.takes[0].key: key})
        details = [SaidValue(find.takes[0], mine[owner.name]), *changed]
        self.parts.wishes.append(self._wish(action.verb, thing.name, details, _one(hidden), None, action))
        self._finish()

    # --- lookups and things ----------------------------------------------------------------------------------------

    def _ask_lookup(self, lookup: Lookup, gap: bool, together: bool = False) -> None:
        spec = self._use(self.writer.look_up(lookup))
        said = self._said(spec)
        hidden = self._hide([each for each in said if each.written.required]) if gap else None
        self.rows.answer(lookup, spec, said)
        self._call(spec, said, _one(hidden), together=together and not hidden)
        self.parts.wishes.append(self._wish(lookup.verb, lookup.name, said, _one(hidden), lookup))

    def _make(self, action: NaturalAction) -> None:
        spec = self._use(self.writer.act(action))
        said = self._said(spec)
        hidden = self._hide([each for each in said if each.written.required]) if self.gap else None
        self._call(spec, said, _one(hidden))
        self.parts.wishes.append(self._wish(action.verb, action.thing, said, _one(hidden), None, action))

    def _said(self, spec: Spec) -> list[SaidValue]:
        """Values for all required parameters, and for some of the others."""
        chosen = [each for each in spec.takes if each.required or self.rng.random() < _OPTIONAL]
        return self.rows.said(chosen, spec.takes)

    def _rule(self, kind: RuleKind, thing: Thing, act: Spec, look: Spec | None, code: str) -> None:
        """The constraint that matters; in the task the act is permitted."""
        ok, bad = self.rng.sample(thing.statuses, 2)
        mine = self.rows.rows[thing.name][0]
        same = look.takes[0].key if look else act.takes[0].key
        rule = Rule("live", kind, act.name, look.name if look else None, same, ok, bad, 0)
        why = next((action.why for action in self.domain.actions if action.thing == thing.name and action.why), "")
        self.parts.rules.append(
            (rule, prose(kind, act.name, ok if kind == "check" else bad, why, self.rng, noun=thing.name))
        )
        if kind == "confirm":
            self.parts.facts.append(Fact(slot=CONFIRM, value="yes", phrase="yes, go ahead"))
            question = self.rng.choice(("Do you confirm?", "Shall I go ahead? Please confirm."))
            self.parts.steps.append(
                Ask(slot=CONFIRM, guess="yes", milestone="Ask the user to confirm", question=question)
            )
            kept = Answer(outcome="kept", milestone="Leave it, as the user says")
            self.parts.steps.append(Guard(conditions=(Condition(field=CONFIRM, value="yes"),), otherwise=kept))
            self.parts.change = FactChange(CONFIRM, "no", "no, leave it")
            return
        mine[STATUS] = ok if kind == "check" else self.rng.choice([s for s in thing.statuses if s != bad])
        refused = Answer(outcome="refused", values=(STATUS,), milestone="Refuse because of its status")
        self.parts.steps.append(Guard(conditions=rule.licence, otherwise=refused))
        wrong = bad if kind == "status" else self.rng.choice([s for s in thing.statuses if s != ok])
        self.parts.change = RowChange(thing.name, code, STATUS, wrong)

    # --- steps and words -------------------------------------------------------------------------------------------

    def _use(self, spec: Spec) -> Spec:
        self.parts.used.append(spec)
        return spec

    def _hide(self, among: Sequence[SaidValue]) -> str:
        """Leave one of these out of the request: only the user knows it. Returns its parameter."""
        hidden = self.rng.choice([each for each in among if _can_be_hidden(each.written)] or among)
        named = hidden.written.field
        ask = named.ask if _content_words(named.ask) else f"what the {named.name} is"
        slot = column(named)
        phrase = reply_of(_detail(hidden, False, self.rng), self.voice, self.rng)
        self.parts.facts.append(Fact(slot=slot, value=hidden.value.surface, phrase=phrase))
        self.parts.canonical[slot] = hidden.value.canonical
        self.parts.asked_by[slot] = _content_words(f"{named.name} {named.ask} {named.about}")
        guess = (self.rows.others(hidden, among, 1) or [hidden.value])[0].canonical
        self.parts.steps.append(
            Ask(
                slot=slot,
                guess=guess,
                milestone=f"Learn the {named.name} from the user",
                question=question_of(ask, self.rng),
            )
        )
        return hidden.written.key

    def _call(
        self,
        spec: Spec,
        said: Sequence[SaidValue],
        hidden: set[str],
        together: bool = False,
        needed: bool = False,
        known: dict[str, str] | None = None,
    ) -> None:
        args = {each.written.key: column(each.written.field) for each in said if each.written.key in hidden}
        given = {each.written.key: each.value.canonical for each in said if each.written.key not in hidden}
        missing = Answer(outcome="refused", values=("error",), milestone="Say that there is none") if needed else None
        self.parts.steps.append(
            Call(
                tool=spec.name,
                args=args | (known or {}),
                given=given,
                together=together,
                milestone=f"Call {spec.name}",
                otherwise=missing,
                guess={column(each.field): "A00" for each in spec.gives},
            )
        )

    def _known(self, spec: Spec, args: dict[str, str], precaution: bool) -> Call:
        return Call(tool=spec.name, args=args, precaution=precaution, milestone=f"Call {spec.name}")

    def _wish(
        self,
        verb: str,
        noun: str,
        said: Sequence[SaidValue],
        hidden: set[str],
        lookup: Lookup | None,
        action: NaturalAction | None = None,
    ) -> SpokenWish:
        details = tuple(
            _detail(each, bool(action and action.changes and each is not said[0]), self.rng)
            for each in said
            if each.written.key not in hidden
        )
        past = lookup.past if lookup else action.past if action else ""
        kind: WishKind = "look" if lookup else "make" if action and action.needs else "change"
        return SpokenWish(verb, noun, kind == "change", details, past=past, kind=kind)

    def _finish(self) -> None:
        reported = [column(each.field) for spec in self.parts.used for each in spec.gives if len(self.parts.used) == 1]
        self.parts.steps.append(Answer(outcome="done", values=tuple(reported[:1]), milestone="Report what was done"))

    # --- the rest of the world -------------------------------------------------------------------------------------

    def _distractors(self, removed: Spec | None) -> list[Spec]:
        """Other tools of the same domain, none of which does the same."""
        used = {
            (e.op, e.table, tuple(e.write))
            for spec in (*self.parts.used, *([removed] if removed else []))
            for e in spec.effects
        }
        candidates: list[Spec] = [self.writer.look_up(lookup) for lookup in self.domain.lookups]
        candidates += [self.writer.act(action) for action in self.domain.actions]
        others_left = [
            spec for spec in candidates if all((e.op, e.table, tuple(e.write)) not in used for e in spec.effects)
        ]
        count = min(len(others_left), self.rng.choice((0, 1, 2, 3, 5, 8)) or int(not self.parts.used))
        return self.rng.sample(others_left, max(count, int(not self.parts.used)))

    def _effects(self, spec: Spec) -> tuple[Effect, ...]:
        if spec in self.parts.used and not self.parts.rules and self.rng.random() < _BUSY:
            return tuple(effect.model_copy(update={"busy": 1}) for effect in spec.effects)
        return spec.effects

    def _made(self) -> Thing:
        """What is made in the task, if anything is."""
        makers = [
            a for a in self.domain.actions if a.needs and a.thing in {t for s in self.parts.used for t in _tables_of(s)}
        ]
        return self.writer.thing(makers[0].thing) if makers else self.domain.things[0]


def _tables_of(spec: Spec) -> list[str]:
    return [effect.table for effect in spec.effects]


def _detail(said: SaidValue, new: bool, rng: random.Random) -> Detail:
    named = said.written.field
    return Detail(rng.choice(named.say), said.value.surface, named.name, new)


_SMALL = frozenset(
    "a an the of is it what which who whose when how to be for in on at as with and or by are does do".split()  # noqa: SIM905
)


def _can_be_hidden(written: TypedParameter) -> bool:
    """Not a flag, which is not said where it is off; nor an option whose description lists it."""
    return written.field.kind != "flag" and written.form != "listed"


def _one(hidden: str | None) -> set[str]:
    return {hidden} if hidden else set()


def _content_words(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for word in text.lower().replace("-", " ").split() if word not in _SMALL))
