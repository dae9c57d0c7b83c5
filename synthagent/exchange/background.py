"""What the user of an imported task knows: a text about the user, in the first person -> facts. Pure, no model.

Three sources, the surest first, one fact a value:

1. a value that the expected calls take and that stands in the text: its slot is the argument's name;
2. a line `name: value` under a heading such as "Additional parameters you may need";
3. something in the text that looks like a secret: an id, an e-mail address, a sum of money, a date, a quoted name that
   is labelled, the user's own name, a consent. Its slot is read off the words before it.

A value stands in the text as the fact has it, letter for letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from synthagent.episodes.user import CONFIRM
from synthagent.worlds import Fact

Found = tuple[str, str]  # slot, value
_LONGEST = 80

_LISTED = re.compile(
    r"^[ \t]*(?:[-*•]|\d+[.)])?[ \t]*[`*\"']*([A-Za-z]\w{1,40})[`*\"']*[ \t]*[:=][ \t]*(\S.*)$", re.MULTILINE
)
_HEADING = re.compile(r"^.*\bparameters\b[^:\n]*:", re.IGNORECASE | re.MULTILINE)
_ID = re.compile(r"(?<![\w@.$-])(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[A-Z][A-Za-z0-9]*(?:[-_][A-Za-z0-9]+)*(?![\w@])")
_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+")
_MONEY = re.compile(r"[$€£]\d[\d,]*(?:\.\d+)?(?: ?(?:thousand|million|billion)\b)?")
_DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")
_YEARS = re.compile(r"\b(?:19|20)\d\d(?: to |-|\u2013)(?:19|20)\d\d\b")
_QUOTED = re.compile(  # between straight or curly quotes
    r"(?<![\w'])['\"\u2018\u201c]([A-Za-z0-9][^'\"\u2018\u2019\u201c\u201d\n]{1,59}?)[.,]?['\"\u2019\u201d](?!\w)"
)
_NAME = re.compile(r"\b(?:I'm|I am|[Mm]y name is|[Tt]his is) ((?:[A-Z][\w'-]+ ){1,2}[A-Z][\w'-]+)")
_CONSENT = re.compile(r"\b(?:please proceed|go ahead)\b", re.IGNORECASE)
_LABELS = frozenset({"account", "address", "code", "date", "id", "name", "number", "reference", "title", "titled"})
_EMPTY = frozenset(
    re.findall(
        r"\w+",
        "a again also am an and are as at be but by for from had has have her here his in is it its just like my no "
        "not of on or our please s that the their this to using was we with you your",
    )
)


def facts_of(text: str, inputs: Iterable[tuple[str, Any]], made: Iterable[str] = ()) -> tuple[Fact, ...]:
    """The facts in `text`; `inputs` are arguments of the expected calls; what tools have `made` no user can know."""
    taken, values, facts = set[str](), {value.lower() for value in made}, list[Fact]()
    for slot, value in (*_expected(text, inputs), *_listed(text), *_told(text)):
        if value.lower() in values:
            continue
        values.add(value.lower())
        slot = _free(slot, taken)
        taken.add(slot)
        facts.append(Fact(slot=slot, value=value, phrase=_phrase(slot, value)))
    return tuple(facts)


def _expected(text: str, inputs: Iterable[tuple[str, Any]]) -> Iterator[Found]:
    for name, value in inputs:
        for spelled in _spellings(value):
            match = re.search(rf"(?<!\w){re.escape(spelled)}(?!\w)", text, re.IGNORECASE)
            if match:
                yield _slot(name), match.group()
                break


def _spellings(value: Any) -> tuple[str, ...]:
    """How a text may write an argument. One or two characters would be found anywhere."""
    match value:
        case bool():
            return ()
        case int() | float():
            return tuple(form for form in (f"{value:,}", str(value)) if len(form) > 2)
        case str() if 2 < len(value.strip()) <= _LONGEST:
            return (value.strip(),)
        case _:
            return ()


def _listed(text: str) -> Iterator[Found]:
    heading = _HEADING.search(text)
    for name, value in _LISTED.findall(text[heading.end() :]) if heading else ():
        value = value.strip().strip("`\"'").rstrip(".,;").strip("`\"'")
        if 0 < len(value) <= _LONGEST:
            yield _slot(name), value


def _told(text: str) -> Iterator[Found]:
    for match in _NAME.finditer(text):
        yield "user_name", match.group(1)
    for match in _EMAIL.finditer(text):
        yield "email", match.group()
    for match in _ID.finditer(text):
        if len(match.group()) > 4:
            yield _label_before(text, match.start(), "id") or "reference", match.group()
    for match in _DATE.finditer(text):
        yield _label_before(text, match.start()) or "date", match.group()
    for match in _YEARS.finditer(text):
        yield "years", match.group()
    for match in _MONEY.finditer(text):
        yield _noun_before(text, match.start()) or "amount", match.group()
    for match in _QUOTED.finditer(text):
        if label := _label_before(text, match.start()):
            yield label, match.group(1)
    if consent := _CONSENT.search(text):
        yield CONFIRM, consent.group()


def _label_before(text: str, end: int, kind: str = "") -> str:
    """`registration_id` where "their registration ID is" stands before; `hypothesis_id` for "my hypothesis"."""
    words = _words_before(text, end)
    for place in range(len(words) - 1, -1, -1):
        if words[place] in _LABELS:
            before = words[place - 1] if place else ""
            if words[place] == "titled" or not before or before in _EMPTY:
                return "title" if words[place] == "titled" else words[place]
            return f"{before}_{words[place]}"
    noun = words[-1] if words else ""
    return f"{noun}_{kind}" if kind and noun and noun not in _EMPTY else ""


def _noun_before(text: str, end: int) -> str:
    return next((word for word in reversed(_words_before(text, end)) if word not in _EMPTY), "")


def _words_before(text: str, end: int) -> list[str]:
    """The last words of the same sentence, at most six, lower case, letters only."""
    sentence = re.split(r"[.!?](?=\s)|\n", text[max(0, end - 200) : end])[-1]
    return re.findall(r"[a-z]+", sentence.lower())[-6:]


def _slot(name: str) -> str:
    return "_".join(re.findall(r"[a-z0-9]+", name.lower())) or "value"


def _free(slot: str, taken: set[str]) -> str:
    number = 2
    while slot in taken:
        slot, number = f"{slot.rstrip('0123456789').rstrip('_')}_{number}", number + 1
    return slot


def _phrase(slot: str, value: str) -> str:
    match slot:
        case "confirm":
            return f"yes, {value}"
        case "user_name":
            return f"my name is {value}"
        case _:
            return f"the {slot.replace('_', ' ')} is {value}"
