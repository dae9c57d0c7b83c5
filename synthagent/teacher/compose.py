"""Composes one task: (domain, persona, difficulty, rng) -> instruction, facts, tools, constraints, world, reference.

In it the act is permitted and the right outcome is done; `change` is what makes the twin, where it is not. The task is
planned first (`plan`). Then its parts are written: tools and rows, the constraint that matters and others that do not,
the reference program, the request. All that is random comes from `rng`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from synthagent.episodes.user import CONFIRM
from synthagent.frozen import Json
from synthagent.records import Persona, Split, Task
from synthagent.teacher.domains import STATUSES, Domain
from synthagent.teacher.plan import RULES, Plan, make_plan
from synthagent.teacher.rules import Rule, RuleKind
from synthagent.teacher.tools import DAYS, ToolSpec, ToolWriter, choose_words
from synthagent.teacher.twins import Change, FactChange, RowChange, RowGone
from synthagent.teacher.wording import Wish, request_text
from synthagent.worlds import Answer, Ask, Call, Condition, Constraint, Fact, Guard, Step, Table, Tool, WorldSpec

PRICES = tuple(range(10, 100, 10))
IDS = tuple(f"{letter}{number}" for letter in "BCDFGHJKLMNPQRSTVWXZ" for number in range(10, 60))


@dataclass(frozen=True, slots=True)
class Draft:
    """A composed task, before it has an id, a split and proofs. `change`: what makes its twin; None: it has none."""

    instruction: str
    facts: tuple[Fact, ...]
    tools: tuple[Tool, ...]
    distractors: tuple[str, ...]
    constraints: tuple[Constraint, ...]
    world: WorldSpec
    reference: tuple[Step, ...]
    change: Change | None

    def task(
        self,
        name: str,
        persona: Persona,
        domain: str,
        difficulty: int,
        split: Split,
        provenance: dict[str, Json],
    ) -> Task:
        """The task, as `name`."""
        return Task(
            id=name,
            persona_id=persona.id,
            domain=domain,
            difficulty=difficulty,
            split=split,
            instruction=self.instruction,
            workflow=(),
            facts=self.facts,
            tools=self.tools,
            distractors=self.distractors,
            constraints=self.constraints,
            world_kind="executable",
            world=self.world,
            reference=self.reference,
            provenance=provenance,
        )


def compose(domain: Domain, persona: str, difficulty: int, names: tuple[str, ...], rng: random.Random) -> Draft:
    """Write one task down."""
    return _Composer(domain, make_plan(difficulty, rng), names, rng).draft(persona)


class _Composer:
    """What was drawn for one task, while its parts are written."""

    def __init__(self, domain: Domain, plan: Plan, names: tuple[str, ...], rng: random.Random) -> None:
        self.domain, self.plan, self.rng = domain, plan, rng
        self.words = choose_words(domain, rng)
        self.writer = ToolWriter(domain, self.words)
        self.action, self.rival = rng.sample(domain.actions, 2)
        self.ok, self.bad = rng.sample(STATUSES, 2)
        self.limit = rng.choice(PRICES[1:-1])
        self.key, self.other, *self.new_ids = rng.sample(IDS, 6)
        self.me, self.them = rng.sample(names, 2)
        self.day, self.other_day = rng.sample(DAYS, 2)
        self.value, self.other_value = rng.sample(domain.choice.values, 2)
        self.subject = self._subject()
        wishes = {"act": self.action.verbs, "set": ("change", "update"), "new": ("make", "arrange")}
        self.verb = rng.choice(wishes[plan.goal])

    def draft(self, persona: str) -> Draft:
        words, plan = self.words, self.plan
        tools = self._tools()
        distractors = self._distractors(set(tools))
        everything = [*tools.values(), *distractors]
        self.rng.shuffle(everything)
        rules = self._rules(tools, [tool.name for tool in distractors])
        request = Wish(
            goal=plan.goal,
            verb=self.verb,
            noun=words.said_noun,
            follow=words.follow if plan.follow else None,
            report=self._reported().replace("_", " ") if plan.reports else None,
        )
        return Draft(
            instruction=request_text(request, persona, self.rng),
            facts=self._facts(),
            tools=tuple(tool.tool for tool in everything),
            distractors=tuple(sorted(tool.name for tool in distractors)),
            constraints=tuple(Constraint(id=rule.id, text=rule.text) for rule in rules),
            world=WorldSpec(
                tables=self._tables(),
                effects={tool.name: tool.effects for tool in everything},
                new_ids=tuple(self.new_ids),
                rules={rule.id: rule.check for rule in rules},
            ),
            reference=tuple(self._reference(tools, next(rule for rule in rules if rule.id == "live"))),
            change=self._change(),
        )

    # --- tools -----------------------------------------------------------------------------------------------------

    def _tools(self) -> dict[str, ToolSpec]:
        """The tools that the reference uses, by their part in it."""
        plan, writer = self.plan, self.writer
        seen = ("status", "price") if plan.rule == "limit" or self.rng.random() < 0.3 else ("status",)
        tools: dict[str, ToolSpec] = {}
        if plan.goal == "new":
            tools["look"], tools["do"] = writer.probe(seen), writer.create()
        else:
            if plan.find:
                tools["find"] = writer.find()
            if plan.rule != CONFIRM:
                owner = ("person",) if plan.contact and not plan.find else ()
                tools["look"] = writer.get(seen + owner)
            if plan.goal == "act":
                tools["do"] = writer.act(self.rng.choice(self.action.verbs), self.action.done, plan.receipt)
            else:
                tools["do"] = writer.set(plan.column, plan.receipt)
        if plan.contact:
            tools["contact"] = writer.contact()
        if plan.follow:
            about = self.words.receipt if plan.receipt else self.words.id
            tools["follow"] = writer.follow(about, self.words.contact if plan.contact else None)
        return tools

    def _distractors(self, parts: set[str]) -> list[ToolSpec]:
        """A rival act, which no one may call: who does whatever can be done is wrong. And others, that only read."""
        rival = self.writer.act(self.rng.choice(self.rival.verbs), self.rival.done, receipt=False)
        others = [self.writer.extra(verb) for verb in self.rng.sample(self.domain.extras, 2)]
        others += [] if "look" in parts else [self.writer.get(("status",))]
        return [rival, *self.rng.sample(others, self.plan.others)]

    # --- rows ------------------------------------------------------------------------------------------------------

    def _subject(self) -> dict[str, Any]:
        """Status and price of the thing that the constraint is about: the act is permitted."""
        status, price = self.rng.choice(STATUSES), self.rng.choice(PRICES)
        match self.plan.rule:
            case "check":
                status = self.ok
            case "status":
                status = self.rng.choice([s for s in STATUSES if s != self.bad])
            case "limit":
                price = self.rng.choice([p for p in PRICES if p <= self.limit])
            case "confirm":
                pass
        return {"status": status, "price": price}

    def _change(self) -> Change:
        """What makes the act forbidden, unwanted or impossible."""
        table, key = ("slots", self.day) if self.plan.goal == "new" else ("main", self.key)
        match self.plan.turns_on, self.plan.rule:
            case "existence", _:
                return RowGone(table, key)
            case "consent", _:
                return FactChange(CONFIRM, "no", "no, leave it")
            case _, "limit":
                return RowChange(table, key, "price", self.rng.choice([p for p in PRICES if p > self.limit]))
            case _, "status":
                return RowChange(table, key, "status", self.bad)
            case _:
                others = [status for status in STATUSES if status != self.ok]
                return RowChange(table, key, "status", self.rng.choice(others))

    def _tables(self) -> dict[str, Table]:
        rng, plan = self.rng, self.plan
        mine = {"id": self.key, "person": self.me, "day": self.other_day, "choice": self.other_value, **self.subject}
        theirs: dict[str, Any] = {"id": self.other, "person": self.them, "day": self.day, "choice": self.value}
        theirs |= {"status": self.ok, "price": rng.choice(PRICES)}
        tables = {
            "main": Table(key="id", rows=(theirs,) if plan.goal == "new" else (mine, theirs)),
            "receipts": Table(key="id", rows=()),
            "contacts": Table(
                key="person",
                rows=tuple(
                    {"person": person, "contact": key}
                    for person, key in zip((self.me, self.them), rng.sample(IDS, 2), strict=True)
                ),
            ),
        }
        if plan.goal == "new":
            other = ({"day": day, "status": rng.choice(STATUSES), "price": rng.choice(PRICES)} for day in DAYS)
            tables["slots"] = Table(
                key="day", rows=tuple({**row, **self.subject} if row["day"] == self.day else row for row in other)
            )
        return tables

    def _facts(self) -> tuple[Fact, ...]:
        plan, words = self.plan, self.words
        known: dict[str, str] = {}
        if plan.goal == "new":
            known = {words.day: self.day, words.choice: self.value}
        else:
            known = {words.person: self.me} if plan.find else {words.id: self.key}
            if plan.goal == "set":
                known[self._changed()] = self.day if plan.column == "day" else self.value
        facts = [Fact(slot=slot, value=value, phrase=f"the {slot} is {value}") for slot, value in known.items()]
        if plan.rule == CONFIRM:
            facts.append(Fact(slot=CONFIRM, value="yes", phrase="yes, go ahead"))
        return tuple(facts)

    def _changed(self) -> str:
        return self.words.day if self.plan.column == "day" else self.words.choice

    # --- constraints -----------------------------------------------------------------------------------------------

    def _rules(self, tools: dict[str, ToolSpec], others: list[str]) -> list[Rule]:
        """The constraint that matters, and others about tools that are not needed, the rival first; in random order."""
        rng = self.rng
        look = tools["look"].name if "look" in tools else None
        same = self.words.day if self.plan.goal == "new" else self.words.id
        do = tools["do"].name
        rules = [Rule("live", self.plan.rule, do, look, same, self.ok, self.bad, self.limit)]
        for number, other in enumerate(others[: 2 if self.plan.decoy else 1]):
            kind: RuleKind = "never" if number == 0 else rng.choice(RULES) if look else "confirm"
            ok, bad = rng.choice(STATUSES), rng.choice(STATUSES)
            limit = rng.choice(PRICES[1:-1])
            rules.append(Rule(f"other{number}", kind, other, look, same, ok, bad, limit))
        rng.shuffle(rules)
        return rules

    # --- reference -------------------------------------------------------------------------------------------------

    def _reference(self, tools: dict[str, ToolSpec], live: Rule) -> list[Step]:
        plan, words = self.plan, self.words
        refuse = Answer(outcome="refused", values=("error",), milestone="Refuse: it does not exist")
        steps: list[Step] = []
        if plan.goal == "new":
            steps.append(_ask(words.day, "Mon"))
        elif plan.find:
            steps.append(_ask(words.person, "Bob"))
            steps.append(
                Call(
                    tool=tools["find"].name,
                    args={words.person: words.person},
                    guess={words.id: "A00"},
                    milestone=f"Find the {words.noun}",
                    otherwise=refuse,
                )
            )
        else:
            steps.append(_ask(words.id, "A00"))
        if "look" in tools:
            subject = words.day if plan.goal == "new" else words.id
            steps.append(
                Call(
                    tool=tools["look"].name,
                    args={subject: subject},
                    precaution=True,
                    guess={words.person: "Bob"},
                    milestone=f"Check the {words.noun} first",
                    otherwise=refuse,
                )
            )
            steps.append(_guard(live))
        if plan.rule == CONFIRM:
            steps.append(_ask(CONFIRM, "yes", "Ask the user to confirm"))
            kept = Answer(outcome="kept", milestone="Leave it, as the user says")
            steps.append(Guard(conditions=(Condition(field=CONFIRM, value="yes"),), otherwise=kept))
        steps += self._act(tools, refuse)
        report = (self._reported(),) if plan.reports else ()
        steps.append(Answer(outcome="done", values=report, milestone="Report what was done"))
        return steps

    def _act(self, tools: dict[str, ToolSpec], refuse: Answer) -> list[Step]:
        plan, words = self.plan, self.words
        changed = {"new": words.choice, "set": self._changed()}.get(plan.goal)
        subject = words.day if plan.goal == "new" else words.id
        steps: list[Step] = [_ask(changed, "Mon" if changed == words.day else "any")] if changed else []
        args = {name: name for name in (subject, changed) if name}
        created = {words.id: "A00"} if plan.goal == "new" else {words.receipt: "A00"}
        milestone = f"{self.verb.capitalize()} the {words.noun}"
        steps.append(Call(tool=tools["do"].name, args=args, guess=created, milestone=milestone, otherwise=refuse))
        if plan.contact:
            steps.append(
                Call(
                    tool=tools["contact"].name,
                    args={words.person: words.person},
                    guess={words.contact: "A00"},
                    milestone=f"Look up the {words.person}'s contact",
                )
            )
        if plan.follow:
            about = words.receipt if plan.receipt else words.id
            args = {name: name for name in (about, words.contact if plan.contact else None) if name}
            milestone = f"{words.follow.capitalize()} what was done"
            steps.append(Call(tool=tools["follow"].name, args=args, milestone=milestone))
        return steps

    def _reported(self) -> str:
        """The name of the value that the user wants to hear."""
        if self.plan.goal == "new":
            return self.words.id
        if self.plan.receipt:
            return self.words.receipt
        return "status" if self.plan.goal == "act" else self._changed()


def _ask(slot: str, guess: str, milestone: str = "") -> Ask:
    return Ask(slot=slot, guess=guess, milestone=milestone or f"Learn the {slot.replace('_', ' ')} from the user")


def _guard(live: Rule) -> Guard:
    column = "price" if live.rule == "limit" else "status"
    refused = Answer(outcome="refused", values=(column,), milestone=f"Refuse because of its {column}")
    return Guard(conditions=live.licence, otherwise=refused)
