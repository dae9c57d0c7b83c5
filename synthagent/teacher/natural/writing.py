"""One natural task while it is written: what was drawn for it, its steps, its wishes, its facts, the rest of its world.

Patterns (`compose`, `chains`) decide what a task is about and call what is here; `draft` puts it together.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from synthagent.frozen import Json
from synthagent.teacher.compose import Draft
from synthagent.teacher.natural.desk import Desk, draw_context, draw_neutral, opening_of
from synthagent.teacher.natural.domain import Field, Lookup, NaturalAction, NaturalDomain, Thing
from synthagent.teacher.natural.house import Ruled, house_rules
from synthagent.teacher.natural.language import Detail, SpokenWish, Voice, question_of, reply_of, request, voice_of
from synthagent.teacher.natural.phrasing import WishKind
from synthagent.teacher.natural.rows import RowWriter, SaidValue
from synthagent.teacher.natural.schemas import TypedParameter, draw_style
from synthagent.teacher.natural.toolset import Spec, ToolsetWriter, column
from synthagent.teacher.twins import Change
from synthagent.worlds import Answer, Ask, Call, Constraint, Effect, Fact, Guard, Removed, Step, WorldSpec

_OPTIONAL, _BUSY = 0.4, 0.06  # how often an optional value is said; how often a tool fails in passing
_OTHERS = (
    (0, 1, 2, 3, 5, 8, 14),
    (0.5, 0.24, 0.12, 0.06, 0.04, 0.03, 0.01),
)  # tools around those that are needed, and how often
_NOT_TOLD = ("flag", "list", "person", "address")  # kinds whose values an answer may write in many ways
_SMALL = frozenset(
    "a an the of is it what which who whose when how to be for in on at as with and or by are does do".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Manner:
    """How tasks are written, whatever they are about."""

    masked: float = 1 / 3
    """Of toolsets: names say nothing."""
    wordings: Literal["many", "one"] = "many"
    """One: what people say is always in the same frames, and nobody has a voice."""


MANNER = Manner()


@dataclass
class Parts:
    """What is gathered while a task is written."""

    used: list[Spec] = field(default_factory=list)
    wishes: list[SpokenWish] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    canonical: dict[str, Json] = field(default_factory=dict)
    asked_by: dict[str, tuple[str, ...]] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    rules: list[Ruled] = field(default_factory=list)
    change: Change | None = None
    instruction: str = ""
    """Written from the wishes, if it is empty."""
    goes_on: tuple[str, ...] = ()
    removed: Removed | None = None


class TaskWriter:
    """What was drawn for one task, while its parts are written. `gap`: something needed is left out of the request.

    `desk`: which the request reaches, with tools, policy and day of its own; `domain` is what is asked for there, the
    desk's own or, in vain, another.
    """

    def __init__(
        self,
        domain: NaturalDomain,
        persona: str,
        gap: bool,
        rng: random.Random,
        manner: Manner = MANNER,
        desk: Desk | None = None,
    ) -> None:
        self.domain, self.persona, self.rng, self.gap = domain, persona, rng, gap
        self.manner, self.desk = manner, desk
        self.voice: Voice = voice_of(persona, rng) if manner.wordings == "many" else "plain"
        self.context = desk.context if desk else draw_context(rng)
        if desk is None:
            self.writer = ToolsetWriter(domain, draw_style(rng, manner.masked), self.context.currency, rng)
        elif domain is desk.domain:
            self.writer = desk.writer
        else:
            taken = [spec.name for spec in desk.tools]
            self.writer = ToolsetWriter(domain, desk.writer.style, self.context.currency, rng, taken)
        self.rows = RowWriter(self.writer, self.context, rng)
        self.parts = Parts()

    @property
    def words(self) -> random.Random:
        """What draws the frames of what people say."""
        return self.rng if self.manner.wordings == "many" else random.Random("one wording")

    # --- values and tools ------------------------------------------------------------------------------------------

    def use(self, spec: Spec) -> Spec:
        """A tool that the task needs."""
        self.parts.used.append(spec)
        return spec

    def said(self, spec: Spec) -> list[SaidValue]:
        """Values for all required parameters, and for some of the others."""
        chosen = [each for each in spec.takes if each.required or self.rng.random() < _OPTIONAL]
        return self.rows.said(chosen, spec.takes)

    # --- steps -----------------------------------------------------------------------------------------------------

    def hide(self, among: Sequence[SaidValue]) -> str:
        """Leave one of these out of the request: only the user knows it. Returns its parameter."""
        hidden = self.rng.choice([each for each in among if _can_be_hidden(each.written)] or among)
        named = hidden.written.field
        ask = named.ask if _content_words(named.ask) else f"what the {named.name} is"
        slot = column(named)
        phrase = reply_of(detail(hidden, False, self.words), self.voice, self.words)
        self.parts.facts.append(Fact(slot=slot, value=hidden.value.surface, phrase=phrase))
        self.parts.canonical[slot] = hidden.value.canonical
        self.parts.asked_by[slot] = _content_words(f"{named.name} {named.ask} {named.about}")
        guess = (self.rows.others(hidden, among, 1) or [hidden.value])[0].canonical
        self.parts.steps.append(
            Ask(
                slot=slot,
                guess=guess,
                milestone=f"Learn the {named.name} from the user",
                question=question_of(ask, self.words),
            )
        )
        return hidden.written.key

    def call(
        self,
        spec: Spec,
        said: Sequence[SaidValue],
        hidden: Collection[str] = (),
        together: bool = False,
        needed: bool = False,
        known: Mapping[str, str] | None = None,
    ) -> None:
        """Call a tool with what was said, with what is asked for (`hidden`), and with what calls before gave (`known`).

        `needed`: without a result there is nothing to go on with.
        """
        args = {each.written.key: column(each.written.field) for each in said if each.written.key in hidden}
        given = {each.written.key: each.value.canonical for each in said if each.written.key not in hidden}
        missing = Answer(outcome="refused", values=("error",), milestone="Say that there is none") if needed else None
        self.parts.steps.append(
            Call(
                tool=spec.name,
                args=args | dict(known or {}),
                given=given,
                together=together,
                milestone=f"Call {spec.name}",
                otherwise=missing,
                guess={column(each.field): "A00" for each in spec.gives},
            )
        )

    def look(self, spec: Spec, args: Mapping[str, str]) -> None:
        """Call a tool only to be sure."""
        self.parts.steps.append(Call(tool=spec.name, args=dict(args), precaution=True, milestone=f"Call {spec.name}"))

    def finish(self) -> None:
        """Report what each call has brought, unless it was only a step to something else."""
        told = {spec.name: column(told_of(spec)) for spec in self.parts.used if spec.gives}
        names: list[str] = []
        if len(told) == len(self.parts.used):
            calls = [number for number, step in enumerate(self.parts.steps) if isinstance(step, Call)]
            for nth, number in enumerate(calls, 1):
                step = self.parts.steps[number]
                assert isinstance(step, Call)
                names.append(told[step.tool] if len(calls) == 1 else f"{told[step.tool]} {nth}")
                if len(calls) > 1:
                    self.parts.steps[number] = step.model_copy(update={"keeps": {told[step.tool]: names[-1]}})
        self.parts.steps.append(Answer(outcome="done", values=tuple(names), milestone="Report what was done"))

    # --- wishes ----------------------------------------------------------------------------------------------------

    def wish(
        self,
        of: Lookup | NaturalAction,
        said: Sequence[SaidValue],
        hidden: Collection[str] = (),
        new: Sequence[SaidValue] = (),
    ) -> SpokenWish:
        """What the user wants, in the words of the domain. `new`: what a changed thing shall have."""
        details = tuple(
            detail(each, is_new, self.words)
            for each, is_new in (*((each, False) for each in said), *((each, True) for each in new))
            if each.written.key not in hidden
        )
        kind: WishKind = "look" if isinstance(of, Lookup) else "make" if of.needs else "change"
        noun = of.name if isinstance(of, Lookup) else of.thing
        return SpokenWish(of.verb, noun, kind == "change", details, past=of.past, kind=kind)

    # --- the whole -------------------------------------------------------------------------------------------------

    def draft(self, removed: Spec | None = None, elsewhere: NaturalDomain | None = None) -> Draft:
        """The task, with other tools around those that it needs. `removed`: the tool that would do it is not there.

        `elsewhere`: the domain whose tools are there instead, and whose desk it is.
        """
        rng, parts = self.rng, self.parts
        where = self.desk.whole if self.desk else elsewhere or self.domain
        everything, house = self._around(where, removed)
        constraints = [Constraint(id=rule.id, text=rule.text) for rule in (*parts.rules, *house) if rule.text]
        if self.desk is None:
            rng.shuffle(constraints)
        said = () if self.desk else draw_neutral(rng)
        used = {spec.name for spec in parts.used}
        return Draft(
            instruction=parts.instruction or request(parts.wishes, self.voice, self.persona, self.words),
            facts=tuple(parts.facts),
            tools=tuple(spec.tool for spec in everything),
            distractors=tuple(sorted(spec.name for spec in everything if spec.name not in used)),
            constraints=tuple(constraints),
            world=WorldSpec(
                tables=self.rows.tables(
                    [*everything, *([removed] if removed else [])],
                    {thing.name for domain in (self.domain, where) for thing in domain.things},
                ),
                effects={spec.name: self._effects(spec) for spec in everything},
                new_ids=tuple(self.rows.codes(self._made(), 4)),
                rules={rule.id: rule.check for rule in (*parts.rules, *house)},
                opening=self.desk.opening if self.desk else opening_of(where, self.context, parts.used, said, rng),
                canonical=parts.canonical,
                asked_by=parts.asked_by,
                goes_on=parts.goes_on,
                removed=parts.removed,
            ),
            reference=tuple(parts.steps),
            change=parts.change,
        )

    def _around(self, where: NaturalDomain, removed: Spec | None) -> tuple[list[Spec], Sequence[Ruled]]:
        """All tools in the order of the prompt, and the rules about those that the task does not need."""
        if self.desk:
            return [*self.desk.tools], self.desk.rules
        distractors = self._distractors(where, removed)
        everything = [*self.parts.used, *distractors]
        self.rng.shuffle(everything)
        return everything, house_rules(where, self.parts.used, distractors, self.rng)

    def _distractors(self, desk: NaturalDomain, removed: Spec | None) -> list[Spec]:
        """Other tools, of the same domain or all of another one, none of which does the same."""
        writer = self.writer
        known = [*self.parts.used, *([removed] if removed else [])]
        if desk is not self.domain:
            taken = [spec.name for spec in known]
            writer = ToolsetWriter(desk, self.writer.style, self.context.currency, self.rng, taken)
        used = {(e.op, e.table, tuple(e.write)) for spec in known for e in spec.effects}
        candidates: list[Spec] = [writer.look_up(lookup) for lookup in desk.lookups]
        candidates += [writer.act(action) for action in desk.actions]
        others_left = [
            spec for spec in candidates if all((e.op, e.table, tuple(e.write)) not in used for e in spec.effects)
        ]
        count = min(len(others_left), self.rng.choices(*_OTHERS)[0] or int(not self.parts.used))
        return self.rng.sample(others_left, max(count, int(not self.parts.used)))

    def _effects(self, spec: Spec) -> tuple[Effect, ...]:
        guarded = any(isinstance(step, Guard) for step in self.parts.steps)
        if spec in self.parts.used and not guarded and self.rng.random() < _BUSY:
            return tuple(effect.model_copy(update={"busy": 1}) for effect in spec.effects)
        return spec.effects

    def _made(self) -> Thing:
        """What is made in the task, if anything is."""
        tables = {effect.table for spec in self.parts.used for effect in spec.effects}
        makers = [action for action in self.domain.actions if action.needs and action.thing in tables]
        return self.writer.thing(makers[0].thing) if makers else self.domain.things[0]


def told_of(spec: Spec) -> Field:
    """What is told of a tool's results: the first that is written in one way only, where there is one."""
    fields = [each.field for each in spec.gives]
    return next(filter(is_told, fields), fields[0])


def is_told(field: Field) -> bool:
    """Whether an answer can write a value of this field in one way only."""
    return field.kind not in _NOT_TOLD


def detail(said: SaidValue, new: bool, rng: random.Random) -> Detail:
    """A value as the words of its field say it."""
    named = said.written.field
    return Detail(rng.choice(named.say), said.value.surface, named.name, new)


def _can_be_hidden(written: TypedParameter) -> bool:
    """Not a flag, which is not said where it is off; nor an option whose description lists it."""
    return written.field.kind != "flag" and written.form != "listed"


def _content_words(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for word in text.lower().replace("-", " ").split() if word not in _SMALL))
