"""What a schema cannot say about a domain: words that do not fit together, too few or too many values, wrong names.

It reads what YAML gives, whatever that is; wrong shapes are told elsewhere. Raw mapping -> places with faults.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, TypeGuard, get_args

from synthagent.teacher.natural.domain import FieldKind, Thing
from synthagent.teacher.natural.relations import odd_relations
from synthagent.teacher.natural.texts import odd_slots
from synthagent.text import visible

KeyPath = tuple[int | str, ...]
Remark = tuple[KeyPath, str]

MOST_VALUES = 200
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[ -][A-Za-z0-9]+)*")
_UNCHANGED = {"set", "put", "cut", "let", "shut", "read", "hit", "cost", "split", "spread", "reset", "quit", "bet"}
_MEASURED = ("whole", "number", "numbers", "share", "money", "duration")
_BROUGHT = {"share": ("percent", "%"), "money": ("euro", "dollar", "pound")}  # words that the value says itself


def lint(raw: dict[str, Any]) -> Iterator[Remark]:
    """All faults of a domain's words and values."""
    name = raw.get("name")
    if isinstance(name, str) and not _NAME.fullmatch(name.replace("_", " ")):
        yield ("name",), f"{shown(name)} is no name; use ASCII letters, digits and underscores"
    things = {_text(thing, "name"): thing for _, thing in _entries(raw, (), "things")}
    for place, thing in _entries(raw, (), "things"):
        yield from _named(place, thing)
        yield from _twice((*place, "statuses"), _words(thing, "statuses"), "statuses are equal; rename or remove one")
        yield from _fields(place, thing, "fields")
        yield from _together(place, thing, "fields")
        yield from _twice((*place, "fields"), _names(thing), "fields have the same name; rename one")
        owner = _text(thing, "owner")
        if owner and owner not in _names(thing):
            yield (*place, "owner"), f"{shown(owner)} is none of its fields; {_one_of(_names(thing))}"
    yield from _twice(("things",), [name for name in things if name], "things have the same name; rename one")
    for place, action in _entries(raw, (), "actions"):
        yield from _verb(place, action)
        yield from _action(place, action, things)
    yield from _changeable(raw, things)
    for place, lookup in _entries(raw, (), "lookups"):
        yield from _verb(place, lookup)
        yield from _named(place, lookup)
        for part in ("needs", "may", "gives"):
            yield from _fields(place, lookup, part)
        for inner, field in _entries(lookup, place, "may"):
            if field.get("default") is None:
                yield inner, "it may be left out, so it needs a default; add `default:`, or move it to `needs`"
        yield from _together(place, lookup, "needs", "may", "gives")
        asked = [*_names(lookup, "needs"), *_names(lookup, "may")]
        yield from _twice(place, asked, "parameters have the same name; rename one")
        yield from _twice((*place, "gives"), _names(lookup, "gives"), "results have the same name; rename one")
    for part, noun in (("actions", "thing"), ("lookups", "name")):
        calls = [f"{_text(call, 'verb')} {_text(call, noun)}" for _, call in _entries(raw, (), part)]
        yield from _twice((part,), calls, f"{part} have the same verb for the same noun; use another verb")


def _action(place: KeyPath, action: dict[str, Any], things: dict[str, dict[str, Any]]) -> Iterator[Remark]:
    name, sets = _text(action, "thing"), _text(action, "sets")
    thing = things.get(name)
    if name and thing is None:
        yield (*place, "thing"), f"there is no thing {shown(name)}; {_one_of(list(things))}"
    if sum(bool(action.get(key)) for key in ("sets", "changes", "needs")) != 1:
        yield place, "one of `sets`, `changes`, `needs` is wanted, and only one; split it into several actions"
    if action.get("may") and not action.get("needs"):
        yield (
            (*place, "may"),
            "only an action with `needs` makes something new; move these to `changes`, or add `needs`",
        )
    if thing is None:
        return
    for part in ("changes", "needs", "may"):
        for number, field in enumerate(_words(action, part)):
            if field not in _names(thing):
                yield (*place, part, number), f"{shown(name)} has no field {shown(field)}; {_one_of(_names(thing))}"
    if sets and sets in _words(thing, "statuses"):
        yield (
            (*place, "sets"),
            f"{shown(name)} may be {shown(sets)} at the start, so nothing would change; use another status",
        )


def _changeable(raw: dict[str, Any], things: dict[str, dict[str, Any]]) -> Iterator[Remark]:
    """A thing is found by whose it is, then something is done with it: at least one has to be like that."""
    actions = [action for _, action in _entries(raw, (), "actions")]
    misspelt = any(thing.keys() - Thing.model_fields.keys() for thing in things.values())
    if (
        actions
        and not misspelt
        and not any(
            _text(things.get(_text(action, "thing"), {}), "owner") for action in actions if not action.get("needs")
        )
    ):
        yield (
            ("actions",),
            "none does something with a thing that has an `owner`; add `owner:` to a thing that is found",
        )


def _verb(place: KeyPath, call: dict[str, Any]) -> Iterator[Remark]:
    verb, past = call.get("verb"), call.get("past")
    for key, word in (("verb", verb), ("past", past)):
        if isinstance(word, str) and word.strip() and not _NAME.fullmatch(word):
            yield (*place, key), f"{shown(word)} is no verb here; use ASCII letters, spaces and hyphens"
    if not isinstance(verb, str) or not isinstance(past, str):
        return
    if not past.strip() or (past == verb and not _UNCHANGED & set(verb.split()[:1])):
        yield (*place, "past"), f"the verb {shown(verb)} has no past form; write it as it stands after `was`"


def _named(place: KeyPath, entry: dict[str, Any]) -> Iterator[Remark]:
    name = entry.get("name")
    if isinstance(name, str) and not _NAME.fullmatch(name):
        yield (*place, "name"), f"{shown(name)} is no name; use ASCII letters, digits, spaces and hyphens"


def _fields(above: KeyPath, entry: dict[str, Any], part: str) -> Iterator[Remark]:
    for place, field in _entries(entry, above, part):
        yield from _named(place, field)
        yield from _values(place, field)
        yield from _said(place, field)
        yield from _default(place, field)


def _together(above: KeyPath, entry: dict[str, Any], *parts: str) -> Iterator[Remark]:
    """What the fields declare of each other."""
    placed = [one for part in parts for one in _entries(entry, above, part)]
    for odd in odd_relations([field for _, field in placed]):
        yield (*placed[odd.number][0], odd.key), shown(odd.text, 240)


def _values(place: KeyPath, field: dict[str, Any]) -> Iterator[Remark]:
    values = _words(field, "of")
    if len(values) > MOST_VALUES:
        yield (*place, "of"), f"{len(values):,} values, and {MOST_VALUES} are allowed; keep those that differ most"
    yield from _twice((*place, "of"), values, "values are equal; remove one")
    for number, value in enumerate(values if field.get("kind") == "text" else ()):
        yield from (((*place, "of", number), shown(odd, 240)) for odd in odd_slots(value))
    low, high, step = (field.get(key) for key in ("low", "high", "step"))
    if step is not None and not (_is_number(step) and 0 < step < math.inf):
        yield (*place, "step"), "values are multiples of it, so it is above 0; mend it, or leave it out"
        return
    if field.get("kind") not in _MEASURED or not (_is_number(low) and _is_number(high) and low < high):
        return
    if not math.isfinite(low) or not math.isfinite(high):
        yield place, "`low` and `high` are to be finite; write numbers that occur"
    elif step and math.floor(high / step + 1e-9) - math.ceil(low / step - 1e-9) < 1:
        yield (*place, "step"), f"less than two multiples of {step:g} lie from {low:g} to {high:g}; make it smaller"


def _said(place: KeyPath, field: dict[str, Any]) -> Iterator[Remark]:
    kind, unit = _text(field, "kind"), _text(field, "unit")
    brought = (unit,) if kind == "duration" and unit else _BROUGHT.get(kind, ())
    for number, words in enumerate(_words(field, "say")):
        for word in brought:
            if word in words.lower():
                yield (*place, "say", number), f"the value says {shown(word)} itself; leave the word out"
        article = re.search(r"\b(an?) \{\}", words)
        for value in _words(field, "of") if article else []:
            begins = value[:1].lower()
            if begins == "{" or (begins in "aeiou") != (article is not None and article[1] == "an"):
                yield (
                    (*place, "say", number),
                    f"the article does not fit {shown(value)}; say it without, or replace the value",
                )


def _default(place: KeyPath, field: dict[str, Any]) -> Iterator[Remark]:
    default, kind = field.get("default"), field.get("kind")
    if default is None or kind not in get_args(FieldKind):
        return
    match kind:
        case "flag":
            fits, wanted = isinstance(default, bool), "true or false"
        case "whole":
            fits, wanted = isinstance(default, int) and not isinstance(default, bool), "a whole number"
        case "number" | "share" | "money" | "duration":
            fits, wanted = _is_number(default), "a number"
        case "option":
            fits, wanted = default in _words(field, "of"), "one of its values"
        case "list":
            fits, wanted = (
                isinstance(default, list) and all(one in _words(field, "of") for one in default),
                "a list of its values",
            )
        case "text":
            fits, wanted = isinstance(default, str), "words"
        case _:
            fits, wanted = False, "none, as schemas want this kind in several forms"
    if not fits:
        yield (
            (*place, "default"),
            f"the default of a {kind} is {wanted}, but it is {shown(default)}; change or remove it",
        )


def _twice(place: KeyPath, words: Sequence[str], rule: str) -> Iterator[Remark]:
    for word, times in Counter(words).items():
        if times > 1 and word.strip():
            yield place, f"{shown(word)}: two {rule}"


def _entries(raw: Any, above: KeyPath, key: str) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    entries = raw.get(key)
    for number, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, dict):
            yield (*above, key, number), entry


def _names(entry: dict[str, Any], part: str = "fields") -> list[str]:
    return [_text(field, "name") for _, field in _entries(entry, (), part)]


def _words(entry: dict[str, Any], key: str) -> list[str]:
    words = entry.get(key)
    return [word for word in words if isinstance(word, str)] if isinstance(words, list) else []


def _text(entry: dict[str, Any], key: str) -> str:
    word = entry.get(key)
    return word if isinstance(word, str) else ""


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _one_of(names: Sequence[str]) -> str:
    return f"there {'is' if len(names) == 1 else 'are'} {', '.join(map(shown, names[:12])) or 'none'}"


def shown(value: Any, most: int = 60) -> str:
    """A value of a file on one line: cut in the middle, and nothing in it that a terminal would obey."""
    text = " ".join(visible(str(value)).split())
    return text if len(text) <= most else f"{text[: most // 2 - 2]}...{text[1 - most // 2 :]}"
