"""Reads natural texts for faults of grammar and spelling, by rules of its own; wishes of all domains, to be read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources

import yaml

from synthagent.teacher.natural.domain import Field, NaturalDomain
from synthagent.teacher.natural.language import Detail, SpokenWish

YOU_OR_WON = r"uni(?!m|n[cdfhijk])|use|usu|uti|eu|one\b|one-|once"  # vowels that sound as in 'you' and 'won'
AN = re.compile(rf"(hour|honest|honou?r|heir|(?!{YOU_OR_WON})[aeiou]|8|11\b|18\b)", re.I)
LETTERS_LIKE_AN = re.compile(r"[AEFHILMNORSX][A-Z]+\b|[AEFHILMNORSX]-")
LETTERS_LIKE_A = re.compile(r"U[A-Z]+\b")
OPENERS = "could|can|would|may|might|do|does|is|are|any|mind|have you|what (is|are|would)"
ASKS = re.compile(rf"({OPENERS})\b(?! that| one)", re.I)
GREETING = re.compile(r"^((hello|hi|hey|hiya|okay|right|good|dear|to whom|excuse)\b[^,]*|so), ", re.I)
SURFACES = {
    "person": "Maria Lopez",
    "date": "next Friday",
    "time": "half past six in the evening",
    "duration": "an hour and a half",
    "money": "a hundred and twenty euros",
    "share": "15 percent",
    "whole": "two dozen",
    "number": "2.5",
    "numbers": "12, 15 and 19",
    "place": "Lisbon",
    "address": "12 Mill Lane, Ashford",
    "email": "ana@example.com",
    "phone": "+44 20 7946 0018",
    "code": "AB-204",
    "flag": "yes",
}


def faults(text: str, masked: tuple[str, ...] = ()) -> list[str]:
    """What is wrong with a text, a line each. Values in `masked` are not read."""
    for value in sorted(filter(None, masked), key=len, reverse=True):
        text = text.replace(value, re.sub(r"[^\w ]|\.", "_", value))
    found = [f"{rule}: {text!r}" for rule, pattern in PATTERNS.items() if re.search(pattern, text)]
    for article, word in re.findall(r"\b([Aa]n?) ([\w'-]+)", text):
        an = bool(LETTERS_LIKE_AN.match(word) or (AN.match(word) and not LETTERS_LIKE_A.match(word)))
        if article.lower() in ("a", "an") and (article.lower() == "an") != an:
            found.append(f"article {article} {word}: {text!r}")
    for sentence in re.split(r"(?<=[.!?]) ", text):
        if not re.match(r"[A-Z0-9\"_]", sentence):
            found.append(f"small letter {sentence!r}: {text!r}")
        start = GREETING.sub("", sentence)
        if ASKS.match(start) and not sentence.endswith("?"):
            found.append(f"no question mark {sentence!r}: {text!r}")
    return found


PATTERNS = {
    "two spaces": r"  |^ | $",
    "space before a mark": r" [.,;:!?]",
    "empty slot": r"[{}]|\bNone\b",
    "no end": r"[^.!?]$",
    "two marks": r"[.,;:!?][.,;:!?]",
    "doubled word": r"(?i)\b(\w+) \1\b",
    "two articles": r"(?i)\b(a|an|the|my) (a|an|the|my)\b",
    "two prepositions": r"\b(on|at|for|of|with|to) (at|for|of|with|to|in)\b(?! (least|most)\b)",
    "agreement": r"(?i)\bit are\b|\bthey is\b|\bI is\b|\bI are\b|\bone are\b",
}


def domains() -> list[NaturalDomain]:
    """All domain files that ship with the package."""
    folder = resources.files("synthagent.teacher.natural") / "domains"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    return [NaturalDomain.model_validate(yaml.safe_load(file.read_text(encoding="utf-8"))) for file in files]


def wishes_of(domain: NaturalDomain) -> Iterator[SpokenWish]:
    """Every action and lookup of a domain, each way of its fields to be said once at least."""
    things = {thing.name: thing for thing in domain.things}
    for turn in range(2):
        for action in domain.actions:
            thing = things[action.thing]
            fields = {field.name: field for field in thing.fields}
            mine = not action.needs
            known = [thing.owner or thing.fields[0].name] if mine else [*action.needs, *action.may]
            details = [detail(fields[name], turn) for name in known]
            details += [detail(fields[name], turn, new=True) for name in action.changes if name not in known]
            kind = "change" if mine else "make"
            yield SpokenWish(action.verb, thing.name, mine, tuple(details), None, action.past, kind)
        for lookup in domain.lookups:
            details = [detail(field, turn) for field in (*lookup.needs, *lookup.may)]
            report = lookup.gives[turn % len(lookup.gives)].name
            yield SpokenWish(lookup.verb, lookup.name, False, tuple(details), report, lookup.past, "look")


def detail(field: Field, turn: int, new: bool = False) -> Detail:
    """A detail with a value of the field's kind."""
    surface = field.of[turn % len(field.of)] if field.of else SURFACES[field.kind]
    if field.kind == "list":
        surface = f"{field.of[0]} and {field.of[1]}"
    return Detail(field.say[turn % len(field.say)], surface, field.name, new)
