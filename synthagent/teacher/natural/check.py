"""Says what is wrong with a domain file, or shows what is in it: YAML -> a domain, or faults with line, place, remedy.

Launch: `synthagent domain check FILE`.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from synthagent.errors import InputError
from synthagent.teacher.domains import read_lines
from synthagent.teacher.natural.chains import changeable
from synthagent.teacher.natural.compose import OWNED, PATTERNS, compose
from synthagent.teacher.natural.domain import Field, FieldKind, Lookup, NaturalAction, NaturalDomain, Thing
from synthagent.teacher.natural.lint import KeyPath, Remark, lint, shown
from synthagent.worlds import Call

MOST_LINES = 80
_MOST_CHARACTERS = 150_000  # by YAML's reader in Python, as brackets without end kill the process of the faster one
_TOLD = 40
_SHAPES: dict[str, type[BaseModel]] = {
    "things": Thing,
    "actions": NaturalAction,
    "lookups": Lookup,
    **dict.fromkeys(("fields", "needs", "may", "gives"), Field),
}


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong at one place of a file; `line` 0: of the file as a whole."""

    line: int
    place: str
    text: str


@dataclass(frozen=True, slots=True)
class Checked:
    """A domain, or what keeps a file from being one."""

    domain: NaturalDomain | None
    faults: tuple[Flaw, ...]


def check_file(file: Path) -> Checked:
    """Read and check a domain file.

    Raises:
        InputError: there is no such file, or it cannot be read.
    """
    try:
        with file.open(encoding="utf-8") as opened:
            text = opened.read(_MOST_CHARACTERS + 1)
    except OSError as error:
        raise InputError(f"{shown(file)}: {error.strerror}; name a domain file, such as clinic.yaml") from error
    except UnicodeDecodeError:
        return _refused(Flaw(0, "", "not UTF-8; save it in that encoding"))
    if len(text) > _MOST_CHARACTERS:
        return _refused(Flaw(0, "", f"more than {_MOST_CHARACTERS:,} characters; drop values, some dozens are enough"))
    return check_text(text)


def check_text(text: str) -> Checked:
    """Check the text of a domain file: the whole, YAML, the shape of the records, then what a schema cannot say."""
    lines, faults = len(text.splitlines()), []
    if lines > MOST_LINES:
        rule = f"{lines:,} lines, and {MOST_LINES} are allowed; drop a lookup, or write each field on one line"
        faults.append(Flaw(MOST_LINES + 1, "", rule))
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        where = _Lines()
        where.add((), node)
        if where.faults:
            return _refused(*faults, *where.faults)
        raw: Any = loader.construct_document(node) if node else None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return _refused(*faults, _not_yaml(error))
    if not isinstance(raw, dict):
        return _refused(*faults, Flaw(1, "", "not a mapping; begin with `name:`, as the domains that ship do"))
    domain: NaturalDomain | None = None
    found: list[Remark] = list(lint(raw))
    try:
        domain = NaturalDomain.model_validate(raw)
    except ValidationError as error:
        found += [(fault["loc"], _explain(fault)) for fault in error.errors() if not _follows(fault, found)]
    placed = (Flaw(where.of(place), _named(place, raw), text) for place, text in dict.fromkeys(found))
    faults += sorted(placed, key=lambda fault: (fault.line, fault.place))
    return Checked(None if faults else domain, tuple(faults))


def tell(file: Path, faults: tuple[Flaw, ...]) -> Iterator[str]:
    """Each fault as one line; of very many, the first."""
    for fault in faults[:_TOLD]:
        line = f":{fault.line}" if fault.line else ""
        place = f" {fault.place}:" if fault.place else ""
        yield f"{shown(file)}{line}:{place} {fault.text}"
    if len(faults) > _TOLD:
        yield f"{shown(file)}: {len(faults) - _TOLD:,} more faults; mend these first"


def show_domain(domain: NaturalDomain) -> Iterator[str]:
    """What somebody who wrote a domain wants to see of it: what is in it, and which kinds of values it uses."""
    yield f"{domain.name} ({domain.split}): {domain.about}"
    for thing in domain.things:
        fields = ", ".join(one.name for one in thing.fields)
        yield f"  thing   {thing.name}: {fields}; may be {', '.join(thing.statuses)}"
    for action in domain.actions:
        changed = f"becomes {action.sets}" if action.sets else f"changes {', '.join(action.changes)}"
        what = f"makes one, from {_parameters(action.needs, action.may)}" if action.needs else changed
        yield f"  action  {action.verb} {action.thing}: {what}"
    for lookup in domain.lookups:
        needs, may = ([one.name for one in fields] for fields in (lookup.needs, lookup.may))
        gives = ", ".join(one.name for one in lookup.gives)
        yield f"  lookup  {lookup.verb} {lookup.name}: {_parameters(needs, may)} -> {gives}"
    of_things = [one for thing in domain.things for one in thing.fields]
    of_lookups = [one for lookup in domain.lookups for one in (*lookup.needs, *lookup.may, *lookup.gives)]
    used = {one.kind for one in (*of_things, *of_lookups)}
    unused = [kind for kind in get_args(FieldKind) if kind not in used]
    yield f"  kinds   {len(used)} of {len(get_args(FieldKind))}; not used: {', '.join(unused) or 'none'}"


def show_tasks(domain: NaturalDomain) -> Iterator[str]:
    """A task of each pattern but `cannot`, as the domain makes it: the request, and what the expert does."""
    personas = read_lines("personas.txt")
    for pattern in PATTERNS:
        if pattern == "cannot" or (pattern in OWNED and not changeable(domain)):
            continue
        rng = Random(f"check-{domain.name}-{pattern}")
        draft = compose(domain, rng.choice(personas), pattern, False, rng)
        yield f"  {pattern:<10}{draft.instruction}"
        yield from (f"            {constraint.text}" for constraint in draft.constraints)
        for step in draft.reference:
            if isinstance(step, Call):
                yield f"            {step.tool}({json.dumps(step.given, ensure_ascii=False)[1:-1]})"


def _parameters(needs: Any, may: Any) -> str:
    return ", ".join([*needs, *(f"[{name}]" for name in may)])


def _refused(*faults: Flaw) -> Checked:
    return Checked(None, faults)


@dataclass(slots=True)
class _Lines:
    """Where in a file what stands; and what YAML allows and a domain does not."""

    at: dict[KeyPath, int] = field(default_factory=dict)
    faults: list[Flaw] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)

    def add(self, place: KeyPath, node: yaml.Node | None) -> None:
        if node is None:
            return
        line = node.start_mark.line + 1
        self.at.setdefault(place, line)
        if id(node) in self.seen:
            self.faults.append(Flaw(line, "", "an anchor with an alias (& and *); write the words out"))
            return
        self.seen.add(id(node))
        match node:
            case yaml.MappingNode():
                for key, value in node.value:
                    inner = (*place, str(key.value))
                    if inner in self.at:
                        self.faults.append(Flaw(key.start_mark.line + 1, shown(key.value), "key twice; remove one"))
                    self.at[inner] = key.start_mark.line + 1
                    self.add(inner, value)
            case yaml.SequenceNode():
                for number, item in enumerate(node.value):
                    self.add((*place, number), item)

    def of(self, place: KeyPath) -> int:
        """The line of a place, or of what it should stand in."""
        while place and place not in self.at:
            place = place[:-1]
        return self.at.get(place, 0)


def _not_yaml(error: Exception) -> Flaw:
    remedy = "put words with {}, commas, colons or # into quotes"
    if isinstance(error, RecursionError):
        return Flaw(0, "", "nested too deeply; a domain has lists of mappings, no more")
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return Flaw(mark.line + 1 if mark else 0, "", f"not YAML: {shown(problem)}; {remedy}")


def _named(place: KeyPath, raw: Any) -> str:
    """A place in words: `things.appointment.fields.day.kind`; what has no name has its number, from 1."""
    words = []
    for step in place:
        try:
            raw = raw[step]
        except (LookupError, TypeError):
            raw = None
        if isinstance(step, str):
            words.append(shown(step))
        else:
            name = (raw.get("name") or raw.get("verb")) if isinstance(raw, dict) else None
            words.append(shown(name) if isinstance(name, str) else str(step + 1))
    return ".".join(words)


def _follows(fault: ErrorDetails, found: list[Remark]) -> bool:
    """Whether others say the same: pydantic counts entries without the faulty ones, and `lint` knows more places."""
    if fault["type"] == "too_short":
        return bool(len(fault["input"]) >= fault["ctx"]["min_length"])
    return not fault["loc"] and bool(found)


def _explain(fault: ErrorDetails) -> str:
    """What pydantic found, as rule and remedy."""
    key, given = (fault["loc"] or ("",))[-1], fault["input"]
    match fault["type"]:
        case "missing" if key == "past":
            verb = given.get("verb") if isinstance(given, dict) else ""
            return f"the verb {shown(verb)} has no past form; add `past:`, as it stands after `was`"
        case "missing":
            return f"missing key; add it{_meaning(fault['loc'])}"
        case "extra_forbidden":
            known = list(_shape(fault["loc"]).model_fields)
            near = difflib.get_close_matches(str(key), known, 1)
            return (
                f"unknown key; did you mean {near[0]}?"
                if near
                else f"unknown key; remove it, or use {', '.join(known)}"
            )
        case "literal_error" if key == "kind":
            return f"unknown kind {shown(given)}; use {', '.join(get_args(FieldKind))}"
        case "too_short":
            least = fault.get("ctx", {}).get("min_length")
            return (
                "empty, and at least one is wanted; add it" if least == 1 else f"at least {least} are wanted; add more"
            )
        case "string_type" if not isinstance(given, (list, dict, type(None))):
            return f"words are wanted, and YAML reads {shown(given)} as something else; put it into quotes"
        case "value_error":
            told = shown(fault["msg"].removeprefix("Value error, "), 240)
            return f"{told}; mend it here"
        case "model_type":
            return f"keys with values are wanted, but it is {shown(given)}; write it as {{name: .., kind: ..}}"
        case "tuple_type":
            return f"a list is wanted, but it is {shown(given)}; put it into square brackets"
        case _:
            rule = f"{fault['msg'][:1].lower()}{fault['msg'][1:]}"
            return f"{rule}, but it is {shown(given)}; write it as the domains that ship do"


def _shape(place: KeyPath) -> type[BaseModel]:
    """The record in which the last key of a place stands."""
    above = [step for step in place[:-1] if isinstance(step, str)]
    return _SHAPES.get(above[-1], NaturalDomain) if above else NaturalDomain


def _meaning(place: KeyPath) -> str:
    known = _shape(place).model_fields.get(str(place[-1]))
    return f": {known.description}" if known and known.description else ""
