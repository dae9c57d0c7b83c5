"""Tool schemas and effects that the embedded teacher writes: (words of a task) -> OpenAI function + what it does."""

from __future__ import annotations

import random
from dataclasses import dataclass

from synthagent.teacher.domains import Domain
from synthagent.worlds import Effect, Requirement, Tool

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_FIND = ("find", "search")
_GET = ("get", "view")
_SET = ("move", "edit")
_NEW = ("book", "add")
_PROBE = ("stock", "quota")
_FOLLOW = ("log", "mail")


@dataclass(frozen=True, slots=True)
class Words:
    """The names one task uses for things; they vary from task to task."""

    noun: str
    said_noun: str
    id: str
    person: str
    day: str
    choice: str
    receipt: str
    contact: str
    find: str
    get: str
    set: str
    new: str
    probe: str
    follow: str


def choose_words(domain: Domain, rng: random.Random) -> Words:
    """Draw one task's words."""
    noun = rng.choice(domain.nouns)
    person = rng.choice(domain.persons)
    return Words(
        noun=noun,
        said_noun=rng.choice(domain.nouns),
        id=f"{noun}_{rng.choice(('id', 'code', 'ref', 'number'))}",
        person=person,
        day=rng.choice(("day", "date", "when")),
        choice=rng.choice(domain.choice.slots),
        receipt=f"{noun}_{rng.choice(('receipt', 'slip'))}",
        contact=f"{person}_contact",
        find=rng.choice(_FIND),
        get=rng.choice(_GET),
        set=rng.choice(_SET),
        new=rng.choice(_NEW),
        probe=rng.choice(_PROBE),
        follow=rng.choice(_FOLLOW),
    )


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the policy sees it, and what it does."""

    tool: Tool
    effects: tuple[Effect, ...]

    @property
    def name(self) -> str:
        return self.tool.name


class ToolWriter:
    """Writes the tools of one task, all in the same words."""

    def __init__(self, domain: Domain, words: Words) -> None:
        self.domain, self.words = domain, words
        self._parameters = {
            words.id: ("id", f"Key of the {words.noun}.", r"^[A-Z][0-9]{2}$"),
            words.person: ("person", f"Name of the {words.person}.", r"^[A-Z][a-z]+$"),
            words.day: ("day", "Weekday, three letters.", r"^[A-Z][a-z]{2}$"),
            words.choice: ("choice", f"The {words.choice}.", r"^[a-z]+$"),
            words.receipt: ("receipt", "Key of the receipt.", r"^[A-Z][0-9]{2}$"),
            words.contact: ("contact", f"Key of the {words.person}'s contact.", r"^[A-Z][0-9]{2}$"),
        }

    def find(self) -> ToolSpec:
        w = self.words
        effect = Effect(op="find", table="main", where={"person": w.person}, returns={w.id: "id"})
        return self._tool(f"{w.find}_{w.noun}", f"Find a {w.noun} by its {w.person}.", (w.person,), effect)

    def get(self, columns: tuple[str, ...]) -> ToolSpec:
        w = self.words
        returns = {self._output(column): column for column in columns}
        effect = Effect(op="get", table="main", key=w.id, returns=returns)
        return self._tool(f"{w.get}_{w.noun}", f"Look at a {w.noun}.", (w.id,), effect)

    def act(self, verb: str, done: str, receipt: bool) -> ToolSpec:
        w = self.words
        returns = {} if receipt else {"status": "status"}
        effects = [Effect(op="update", table="main", key=w.id, write={"status": {"value": done}}, returns=returns)]
        effects += [self._receipt()] if receipt else []
        return self._tool(f"{verb}_{w.noun}", f"{verb.capitalize()} a {w.noun}.", (w.id,), *effects)

    def set(self, column: str, receipt: bool) -> ToolSpec:
        w = self.words
        arg = w.day if column == "day" else w.choice
        update = Effect(
            op="update",
            table="main",
            key=w.id,
            write={column: {"arg": arg}},
            require=self._known(arg),
            returns={} if receipt else {arg: column},
        )
        effects = [update, self._receipt()] if receipt else [update]
        return self._tool(f"{w.set}_{w.noun}", f"Change the {arg} of a {w.noun}.", (w.id, arg), *effects)

    def probe(self, columns: tuple[str, ...]) -> ToolSpec:
        w = self.words
        effect = Effect(op="get", table="slots", key=w.day, returns={self._output(c): c for c in columns})
        return self._tool(f"{w.probe}_{w.noun}", f"Look at a day for a {w.noun}.", (w.day,), effect)

    def create(self) -> ToolSpec:
        w = self.words
        write = {"day": {"arg": w.day}, "choice": {"arg": w.choice}, "status": {"value": "new"}}
        requirements = self._known(w.day) + self._known(w.choice)
        effect = Effect(op="create", table="main", write=write, require=requirements, returns={w.id: "id"})
        return self._tool(f"{w.new}_{w.noun}", f"Make a new {w.noun}.", (w.day, w.choice), effect)

    def contact(self) -> ToolSpec:
        w = self.words
        effect = Effect(op="get", table="contacts", key=w.person, returns={w.contact: "contact"})
        return self._tool(f"{w.get}_{w.contact}", f"Look up how to reach a {w.person}.", (w.person,), effect)

    def follow(self, about: str, to: str | None) -> ToolSpec:
        """A tool that logs the thing whose key is the argument `about`, for the contact `to` if there is one."""
        w = self.words
        table = "receipts" if about == w.receipt else "main"
        write = {"note": {"value": "sent"}} | ({"contact": {"arg": to}} if to else {})
        effect = Effect(op="update", table=table, key=about, write=write)
        args = (about, to) if to else (about,)
        return self._tool(f"{w.follow}_{w.noun}", f"{w.follow.capitalize()} what was done.", args, effect)

    def extra(self, verb: str) -> ToolSpec:
        w = self.words
        effect = Effect(op="get", table="main", key=w.id, returns={w.day: "day"})
        return self._tool(f"{verb}_{w.noun}", f"{verb.capitalize()} a {w.noun}.", (w.id,), effect)

    def _receipt(self) -> Effect:
        w = self.words
        return Effect(op="create", table="receipts", write={"for": {"arg": w.id}}, returns={w.receipt: "id"})

    def _known(self, arg: str) -> tuple[Requirement, ...]:
        allowed = DAYS if arg == self.words.day else self.domain.choice.values
        return (Requirement(field=arg, op="in", value=list(allowed), message=f"no such {arg}", of="args"),)

    def _output(self, column: str) -> str:
        return self.words.person if column == "person" else column

    def _tool(self, name: str, description: str, args: tuple[str, ...], *effects: Effect) -> ToolSpec:
        properties = {
            arg: {"type": "string", "description": self._parameters[arg][1], "pattern": self._parameters[arg][2]}
            for arg in args
        }
        outputs = {out: {"type": _type(column)} for e in effects for out, column in e.returns.items()}
        parameters = {
            "type": "object",
            "properties": properties,
            "required": list(args),
            "additionalProperties": False,
        }
        outputs = outputs or {"result": {"type": "string"}}
        return ToolSpec(Tool(name=name, description=description, parameters=parameters, outputs=outputs), effects)


def _type(column: str) -> str:
    return "integer" if column == "price" else "string"
