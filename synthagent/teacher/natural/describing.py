"""Descriptions of parameters and tools, worded in many ways: they say unit and form, and never show a value."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

from synthagent.frozen import Json
from synthagent.teacher.natural.amounts import CURRENCIES
from synthagent.teacher.natural.domain import Field

# How a value is to be written; each begins with a word that goes after "given", "written", "expected".
_HINTS = {
    ("date", "iso"): (
        "as YYYY-MM-DD",
        "in the form YYYY-MM-DD",
        "as an ISO date (YYYY-MM-DD)",
        "as year-month-day, YYYY-MM-DD",
    ),
    ("date", "dmy"): ("as DD/MM/YYYY", "in the form DD/MM/YYYY", "as day/month/year, DD/MM/YYYY"),
    ("date", "mdy"): ("as MM/DD/YYYY", "in the form MM/DD/YYYY", "as month/day/year, MM/DD/YYYY"),
    ("date", "dots"): ("as DD.MM.YYYY", "in the form DD.MM.YYYY", "as day.month.year, DD.MM.YYYY"),
    ("date", "long"): (
        "as Month D, YYYY",
        "in the form 'Month D, YYYY'",
        "as the English name of the month, day, comma, year",
    ),
    ("time", "h24"): ("as HH:MM, 24-hour", "in 24-hour form, HH:MM", "as HH:MM on the 24-hour clock"),
    ("time", "h12"): ("as H:MM AM/PM", "in the form H:MM AM or H:MM PM", "on the 12-hour clock, H:MM AM/PM"),
    ("time", "seconds"): ("as HH:MM:SS, 24-hour", "in the form HH:MM:SS", "as HH:MM:SS on the 24-hour clock"),
    ("share", "fraction"): ("as a fraction of one", "as a decimal fraction", "as a decimal between zero and one"),
    ("share", "percent"): ("in percent", "as a percentage, without the sign", "as a number of percent"),
    ("money", "amount"): ("as a number", "as a plain number, without a sign", "as an amount in {many}", "in {many}"),
    ("money", "cents"): ("in {cents}", "as a whole number of {cents}", "in the smallest unit ({cents})"),
    ("money", "code_first"): (
        "as the currency's code and the amount with two decimals",
        "as text: CODE, space, AMOUNT with two decimals",
    ),
    ("money", "code_last"): (
        "as the amount with two decimals and the currency's code",
        "as text: AMOUNT with two decimals, space, CODE",
    ),
    ("duration", "minutes"): ("in minutes", "as a number of minutes"),
    ("duration", "hours"): ("in hours", "as a number of hours, fractions allowed", "in hours, as a decimal"),
    ("duration", "days"): ("in days", "as a number of days"),
    ("duration", "iso"): ("as an ISO 8601 duration in minutes only, PTnM", "as PTnM, where n is the number of minutes"),
    ("duration", "clock"): ("as HH:MM (hours and minutes)", "in hours and minutes, HH:MM"),
    ("person", "full"): ("as first name and last name", "as a full name, first name first"),
    ("person", "last_first"): ("as Last, First", "as last name, comma, first name", "in the form 'Last, First'"),
    ("person", "parts"): ("as an object with first and last name", "in two parts, first_name and last_name"),
    ("address", "parts"): ("as an object", "in its parts: street with number, city, postal code"),
    ("address", "line"): (
        "in one line: street with number, comma, postal code, city",
        "as STREET AND NUMBER, POSTAL CODE CITY",
    ),
    ("phone", "international"): ("in international form with +, no spaces", "as + and digits only, country code first"),
    ("phone", "digits"): ("as digits only, country code first", "with the country code, digits only, without +"),
    ("list", "plain"): ("as a list of texts", "as an array of strings", "as a list, one entry each"),
    ("numbers", "plain"): ("as a list of numbers", "as an array of numbers", "as a list, one number each"),
    ("list", "offered"): ("as a list", "as an array of the allowed entries", "as a list, one entry each"),
}
# Frames: {a} what it is, {t} with an article, {n} the name, {h} the hint; a capital letter begins with one.
_WITH = (
    "{A} ({h}).",
    "{A}, {h}.",
    "{A}; {h}.",
    "{A}, given {h}.",
    "{A}. Expected {h}.",
    "{A}. To be given {h}.",
    "{A} - {h}",
    "{A}, must be given {h}.",
    "{n}: {a}, {h}.",
    "{H}: {a}.",
    "{a}, {h}",
    "{a} ({h})",
)
_BARE = ("{A}.", "{A}", "{a}", "{n}: {a}.", "{n} - {a}", "{n} ({a}).", "Value: {a}.", "{A} goes here.")
_FLAG = (
    "{A}.",
    "{a}",
    "True or false: {a}.",
    "{A}; true if so.",
    "{A} (true means yes).",
    "{n}: {a}.",
    "{A}: yes or no.",
)
_NOUN = ("Specifies {t}.", "States {t}.", "{T}.", "Here goes {t}.", "Use this for {t}.")
_NOUN_WITH = ("Specifies {t}, {h}.", "States {t} ({h}).", "{T}, {h}.", "Use this for {t}, {h}.")
_CLAUSE = ("Specifies {a}.", "States {a}.", "Tells {a}.", "Set this to say {a}.")
_CLAUSE_WITH = ("Specifies {a}, {h}.", "States {a} ({h}).", "Tells {a}, {h}.", "Set this to say {a}, {h}.")
_LISTED = (
    "One of: {of}.",
    "Allowed values: {of}.",
    "Must be one of {of}.",
    "Either of: {of}.",
    "Possible values are {of}.",
    "({of})",
)
_OPTIONAL = ("Optional.", "May be left out.", "Not required.", "Only if wanted.", "Can be omitted.")
_DEFAULT = (
    "Defaults to {d}.",
    "{d} if left out.",
    "Default: {d}.",
    "Optional, {d} by default.",
    "If omitted, {d} holds.",
)
_CLAUSES = {"whether", "how", "what", "when", "which", "who", "whom", "whose", "where", "why", "if"}
_ARTICLES = {"the", "a", "an", "all", "any", "each", "every", "one", "this", "its", "their", "your"}
_PREPOSITIONS = {"after", "at", "before", "by", "for", "from", "in", "on", "per", "to", "under", "with", "without"}


def describe_field(field: Field, form: str, required: bool, default: Json, currency: str, rng: random.Random) -> str:
    """Describe a parameter: what it is, in which unit and form it is wanted, what holds without it."""
    about = field.about.rstrip(".")
    first = about.split(" ", 1)[0].lower()
    noun = about if first in _ARTICLES else f"the {about}"
    hint = _hint(field, form, currency, rng)
    frames: tuple[str, ...] = _FLAG if field.kind == "flag" else _WITH if hint else _BARE
    if first in _CLAUSES:
        frames += _CLAUSE_WITH if hint else _CLAUSE
    elif first not in _PREPOSITIONS:
        frames += _NOUN_WITH if hint else _NOUN
    text = rng.choice(frames).format(
        a=about, A=_upper(about), t=noun, T=_upper(noun), n=_upper(field.name), h=hint, H=_upper(hint)
    )
    more = []
    if field.kind == "option" and form == "listed":
        more.append(rng.choice(_LISTED).format(of=", ".join(field.of)))
    if default is not None:
        shown = str(default).lower() if isinstance(default, bool) else default
        shown = ", ".join(shown) if isinstance(shown, list) else shown
        more += [rng.choice(_DEFAULT).format(d=shown)] if rng.random() < 0.7 else []
    elif not required and rng.random() < 0.6:
        more.append(rng.choice(_OPTIONAL))
    if more and not text.endswith("."):
        text += "."
    return _upper(" ".join((text, *more))) if more else text


def _hint(field: Field, form: str, currency: str, rng: random.Random) -> str:
    """Return how the value is to be written; empty where the schema says all."""
    if field.kind in ("whole", "number") or (field.kind == "duration" and form == "unit"):
        if field.unit in field.about:
            return "as a whole number" if field.kind == "whole" and rng.random() < 0.3 else ""
        return rng.choice((f"in {field.unit}", f"as a number of {field.unit}"))
    ways = _HINTS.get((field.kind, form), ())
    if not ways:
        return ""
    words = CURRENCIES.get(currency)
    many, cents = (words.many, words.cents) if words else ("the currency's main unit", "hundredths of the currency")
    return rng.choice(ways).format(many=many, cents=cents)


def unit_word(field: Field, form: str) -> str:
    """Return the unit that a parameter's name may end with."""
    match field.kind, form:
        case (("whole" | "number" | "duration"), ("plain" | "unit")):
            return field.unit if field.unit.isalpha() else ""
        case "duration", ("minutes" | "hours" | "days"):
            return form
        case "share", "percent":
            return "percent"
        case "money", "cents":
            return "cents"
        case _:
            return ""


def describe_tool(
    verb: str,
    noun: str,
    rng: random.Random,
    does: Literal["read", "status", "change", "make", ""] = "",
    what: Sequence[str] = (),
    key: str = "",
) -> str:
    """Describe a tool that reads fields, sets the status `what[0]`, changes fields, makes a thing; empty: no more.

    `what`: names of fields, or the status. `key`: what the thing is known by, where the tool is told which one.
    """
    one, listed = f"{article(noun)} {noun}", _listed(what)
    which = rng.choice((f" by its {key}", f", known by its {key}", f" with the given {key}")) if key else ""
    heads = [f"{_upper(verb)} {one}{which}", f"{_upper(_third(verb))} {one}{which}"]
    heads.append(f"Use this to {verb} {one}{which}")
    tails: tuple[str, ...] = ("",)
    match does:
        case "read":
            heads += [f"{_upper(verb)} the {noun}{which}", f"Only reads: {verb} {one}{which}"]
            tails = (
                f"Returns {listed}.",
                f"Gives {listed}.",
                f"Answers with {listed}.",
                f"The result has {listed}.",
                "",
            )
        case "status":
            heads += [f"{_upper(_third(verb))} the {noun}{which}", f"Sets the status of {one}{which} to {what[0]}"]
            tails = (f"Its status becomes {what[0]}.", f"Afterwards it is {what[0]}.", "Changes its status only.", "")
        case "change":
            heads += [f"{_upper(_third(verb))} the {noun}{which}", f"Gives {one}{which} new values"]
            tails = (f"Changes {listed}.", f"Sets {listed}.", f"Takes the new {' and the new '.join(what)}.")
        case "make":
            heads += [f"{_upper(verb)} a new {noun}", f"{_upper(_third(verb))} a new {noun}"]
            tails = ("Adds a new entry.", "Makes a new entry.", "Returns the code of the new entry.", "", "")
    return f"{rng.choice(heads)}. {rng.choice(tails)}".strip()


def article(noun: str) -> str:
    """Return `a` or `an`."""
    word = noun.lower()
    if word.startswith(("uni", "use", "usu", "eu", "one", "ufo")):
        return "a"
    return "an" if word.startswith(("a", "e", "i", "o", "u", "hour", "honest", "heir", "honour", "honor")) else "a"


def _third(verb: str) -> str:
    """Return the verb as `he`, `she`, `it` has it: `cancels`, `looks up`."""
    head, space, rest = verb.partition(" ")
    if head.endswith(("s", "sh", "ch", "x", "z", "o")):
        ending = "es"
    elif head.endswith("y") and head[-2:-1] not in "aeiou":
        head, ending = head[:-1], "ies"
    else:
        ending = "s"
    return f"{head}{ending}{space}{rest}"


def _listed(words: Sequence[str]) -> str:
    names = [f"the {word}" for word in words]
    return " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else "".join(names)


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
