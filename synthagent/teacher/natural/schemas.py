"""Fields as parameters of a tool: (a field, a style) -> key, JSON schema, form; names of tools.

A toolset has one style. Descriptions say unit and wanted form and never show a value: what an enum or a description
lists completely (all forms of an option, `offered` of a list) is no leak. No value that is drawn reaches a bound.
"""

from __future__ import annotations

import functools
import random
import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from synthagent.frozen import Json
from synthagent.teacher.natural import amounts, describing, identities
from synthagent.teacher.natural.describing import describe_tool
from synthagent.teacher.natural.domain import Field
from synthagent.teacher.natural.kinds import canonical, forms
from synthagent.teacher.natural.values import of_domain

__all__ = [
    "Naming",
    "TypedParameter",
    "as_optional",
    "describe_tool",
    "draw_style",
    "offered",
    "tool_name",
    "write_field",
]


@dataclass(frozen=True, slots=True)
class Naming:
    """How a toolset is written."""

    names: Literal["snake", "camel", "dotted", "terse"]
    """Dotted are only the names of tools; their parameters are in snake case."""
    masked: bool
    """Names of tools and parameters are short and say nothing, so that descriptions must be read."""


@dataclass(frozen=True, slots=True)
class TypedParameter:
    """A field as a parameter of a tool."""

    field: Field
    key: str
    schema: dict[str, Json]
    form: str
    """Which form of a value the schema wants; `values.draw` takes it."""
    required: bool


_SHORT = {
    "appointment": "appt",
    "number": "num",
    "amount": "amt",
    "address": "addr",
    "minutes": "min",
    "hours": "hrs",
    "quantity": "qty",
    "reference": "ref",
    "telephone": "tel",
    "identifier": "id",
    "maximum": "max",
    "minimum": "min",
    "percent": "pct",
    "information": "info",
}
_SMALL = {"of", "the", "a", "an", "to", "for", "per", "in", "on", "and", "or", "is", "s"}
_READING = {
    "look up": ("look up", "lookup", "get"),
    "find": ("find", "find", "search"),
    "check": ("check", "check", "get"),
}


def draw_style(rng: random.Random, masked: float = 1 / 3) -> Naming:
    """Draw the style of a toolset. `masked`: how often names say nothing."""
    names: Sequence[Literal["snake", "camel", "dotted", "terse"]] = ("snake", "camel", "dotted", "terse")
    return Naming(rng.choices(names, (0.42, 0.26, 0.16, 0.16))[0], rng.random() < masked)


def write_field(
    field: Field,
    style: Naming,
    required: bool,
    rng: random.Random,
    taken: Collection[str] = (),
    form: str | None = None,
    currency: str = "",
) -> TypedParameter:
    """Write a field as a parameter. `form`: what it has elsewhere in the toolset; `currency`: for its name."""
    if form is None:
        weights = forms(field)
        form = rng.choices(list(weights), list(weights.values()))[0] if len(weights) > 1 else next(iter(weights))
    schema = _typed(field, form, rng)
    default = None
    if not required and field.default is not None:
        default = schema["default"] = of_domain(field, field.default, form, currency)
    schema["description"] = describing.describe_field(field, form, required, default, currency, rng)
    key = _masked(taken, "abcdehkmnpqrvwxyz", rng) if style.masked else _key(field, form, style, rng, taken)
    return TypedParameter(field, key, schema, form, required)


def as_optional(written: TypedParameter, rng: random.Random, currency: str = "") -> TypedParameter:
    """Return the same parameter as one that may be left out: with its default, if it has one, in the form it wants."""
    field, form, default = written.field, written.form, None
    schema = {key: value for key, value in written.schema.items() if key != "description"}
    if field.default is not None:
        default = schema["default"] = of_domain(field, field.default, form, currency)
    schema["description"] = describing.describe_field(field, form, False, default, currency, rng)
    return TypedParameter(field, written.key, schema, form, False)


def _typed(field: Field, form: str, rng: random.Random) -> dict[str, Json]:  # noqa: PLR0912 - one branch a kind
    """Return the schema of a field without its description."""
    match field.kind:
        case "whole":
            return {"type": "integer"} | _bounds(field, rng)
        case "number":
            return {"type": "number"} | _bounds(field, rng)
        case "share":
            return {"type": "number"}
        case "money":
            pattern = {"code_first": r"^[A-Z]{3} [0-9]+\.[0-9]{2}$", "code_last": r"^[0-9]+\.[0-9]{2} [A-Z]{3}$"}
            return (
                _text(rng, pattern[form]) if form in pattern else {"type": "integer" if form == "cents" else "number"}
            )
        case "flag":
            return {"type": "boolean"}
        case "option":
            return {"type": "string"} if form == "listed" else {"type": "string", "enum": offered(field, form)}
        case "date":
            return {"type": "string", "format": "date"} if form == "iso" and rng.random() < 0.6 else _day(form, rng)
        case "time":
            pattern = {"h24": "^[0-9]{2}:[0-9]{2}$", "seconds": "^[0-9]{2}:[0-9]{2}:[0-9]{2}$"}
            return _text(rng, pattern.get(form, "^[0-9]{1,2}:[0-9]{2} (AM|PM)$"))
        case "duration":
            return _length(field, form, rng)
        case "person":
            return _parts("first_name", "last_name") if form == "parts" else {"type": "string"}
        case "address":
            return _parts("street", "city", "postal_code") if form == "parts" else {"type": "string"}
        case "email":
            return {"type": "string", "format": "email"}
        case "phone":
            return _text(rng, r"^\+[0-9]+$" if form == "international" else "^[0-9]+$")
        case "code":
            return {"type": "string", "pattern": identities.code_pattern(form)}
        case "list":
            items: dict[str, Json] = {"type": "string"} | ({"enum": offered(field, form)} if form == "offered" else {})
            return {"type": "array", "items": items} | ({"minItems": 1} if rng.random() < 0.3 else {})
        case "numbers":
            whole = amounts.step_of(field) % 1 == 0
            return {"type": "array", "items": {"type": "integer" if whole and rng.random() < 0.7 else "number"}}
        case _:
            return {"type": "string"}


def offered(field: Field, form: str) -> list[Json]:
    """Return all values of an option, or entries of a list, as the schema writes them."""
    return [canonical(field, form, word, "") if field.kind == "option" else word for word in field.of]


def _text(rng: random.Random, pattern: str) -> dict[str, Json]:
    return {"type": "string", "pattern": pattern} if rng.random() < 0.4 else {"type": "string"}


def _day(form: str, rng: random.Random) -> dict[str, Json]:
    numbers = {"iso": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", "dots": r"^[0-9]{2}\.[0-9]{2}\.[0-9]{4}$"}
    return _text(rng, numbers.get(form, "^[0-9]{2}/[0-9]{2}/[0-9]{4}$")) if form != "long" else {"type": "string"}


def _length(field: Field, form: str, rng: random.Random) -> dict[str, Json]:
    if form in ("iso", "clock"):
        return _text(rng, "^PT[0-9]+M$" if form == "iso" else "^[0-9]{2}:[0-9]{2}$")
    step = amounts.step_of(field)
    exact = (form == "minutes" and step * 60 % 1 == 0) or (form == "days" and step * 7 % 1 == 0)
    return {"type": "integer" if exact or (form == "unit" and step % 1 == 0) else "number"}


def _parts(*keys: str) -> dict[str, Json]:
    entries = {key: {"type": "string"} for key in keys}
    return {"type": "object", "properties": entries, "required": list(keys), "additionalProperties": False}


def _bounds(field: Field, rng: random.Random) -> dict[str, Json]:
    """Return bounds that no value of the field reaches, so that they tell none."""
    bounds: dict[str, Json] = {}
    if rng.random() < 0.3 and field.low is not None and field.low > 0:
        bounds["minimum"] = 1 if field.low > 1 else 0
    if rng.random() < 0.2 and field.high is not None and field.high > 0:
        size = 10 ** (len(str(int(field.high))) - 1)
        bounds["maximum"] = next(many * size for many in (1, 2, 5, 10, 20) if many * size > field.high)
    return bounds


def _key(field: Field, form: str, style: Naming, rng: random.Random, taken: Collection[str]) -> str:
    """Return the name of a parameter, sometimes with its unit behind it."""
    ending = describing.unit_word(field, form)
    words = _words(field.name)
    if ending and ending not in words and rng.random() < 0.4:
        words = (*words, ending)
    return _free(_joined(words, "snake" if style.names == "dotted" else style.names), taken)


def tool_name(verb: str, noun: str, style: Naming, rng: random.Random, taken: Collection[str] = ()) -> str:
    """Return the name of a tool that does this to that, unlike those that are taken."""
    if style.masked:
        return _masked(taken, "fgjtqx", rng)
    does, what = _words(rng.choice(_READING.get(verb, (verb,)))), _words(noun)
    if style.names == "dotted":
        return _free(f"{_joined(what, 'snake')}.{_joined(does, 'snake')}", taken)
    turned = style.names == "snake" and rng.random() < 0.15
    return _free(_joined([*what, *does] if turned else [*does, *what], style.names), taken)


@functools.cache
def _words(text: str) -> tuple[str, ...]:
    """Return the words of a name in plain small letters, small words like `of` left out."""
    plain = unicodedata.normalize("NFKD", text.translate(identities.PLAIN)).encode("ascii", "ignore").decode().lower()
    words = re.findall(r"[a-z0-9]+", plain)
    return tuple(word for word in words if word not in _SMALL) or tuple(words) or ("field",)


def _joined(words: Sequence[str], names: str) -> str:
    match names:
        case "camel":
            return words[0] + "".join(word.capitalize() for word in words[1:])
        case "terse":
            return "_".join(map(_abbreviated, words))
        case _:
            return "_".join(words)


def _abbreviated(word: str) -> str:
    """Return a short form: a customary one, or the first letter and up to three consonants after it."""
    if word in _SHORT or len(word) <= 4:
        return _SHORT.get(word, word)
    return word[0] + re.sub("[aeiouy]", "", word[1:])[:3]


def _free(name: str, taken: Collection[str]) -> str:
    """Return the name, with a number behind it where it is taken."""
    number, found = 2, name
    while found in taken:
        found, number = f"{name}{number}", number + 1
    return found


def _masked(taken: Collection[str], letters: str, rng: random.Random) -> str:
    """Return a letter with a number that is not taken."""
    while (name := f"{rng.choice(letters)}{1 + int(rng.random() * 30)}") in taken:
        pass
    return name
