"""What each kind of value can do: its forms, drawing, writing, reading, saying, its neighbours; one function each.

A value is drawn as something plain: a date, a minute of the day, hundredths of a currency, a fraction, a name.
Only `canonical` and `read` know forms, only `say` knows words.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from datetime import date
from typing import Any

from synthagent.frozen import Json
from synthagent.teacher.natural import amounts, identities, moments, texts
from synthagent.teacher.natural.domain import Field

_ONE_FORM = {"plain": 1.0}
_OPTION_FORMS = {"plain": 0.6, "listed": 0.2, "snake": 0.13, "upper": 0.07}
_SAME_FORMS = {"plain": 0.75, "listed": 0.25}
_LIST_FORMS = {"plain": 0.5, "offered": 0.5}


def forms(field: Field) -> dict[str, float]:
    """Return the forms that a schema may want of a field, with their weights; a domain file writes the first one."""
    match field.kind:
        case "date":
            return moments.DAY_FORMS
        case "time":
            return moments.TIME_FORMS
        case "money":
            return amounts.MONEY_FORMS
        case "share":
            return amounts.SHARE_FORMS
        case "duration":
            return amounts.duration_forms(field)
        case "person":
            return identities.PERSON_FORMS
        case "address":
            return identities.ADDRESS_FORMS
        case "phone":
            return identities.PHONE_FORMS
        case "code":
            return identities.CODE_FORMS
        case "option":
            return _OPTION_FORMS if len({_snake(word) for word in field.of}) == len(field.of) else _SAME_FORMS
        case "list":
            return _LIST_FORMS
        case _:
            return _ONE_FORM


def pick(field: Field, form: str, rng: random.Random, today: date) -> Any:  # noqa: PLR0912 - one branch a kind
    """Draw a plain value."""
    match field.kind:
        case "date":
            return moments.draw_day(today, rng)
        case "time":
            return moments.draw_time(rng)
        case "whole" | "number" | "duration":
            return amounts.draw_number(field, rng)
        case "option":
            return rng.choice(field.of)
        case "text":
            return texts.fill(rng.choice(field.of), rng)
        case "money":
            return round(amounts.draw_number(field, rng) * 100)
        case "flag":
            return field.default is not True
        case "person":
            return identities.draw_person(rng)
        case "list":
            return rng.sample(
                field.of, rng.choice((2, 2, 3, 3, 4)) if len(field.of) > 4 else rng.randint(2, len(field.of))
            )
        case "numbers":
            return amounts.draw_numbers(field, rng)
        case "share":
            return amounts.tidy(amounts.draw_number(field, rng) / amounts.share_scale(field))
        case "place":
            return identities.draw_place(rng)
        case "address":
            return identities.draw_address(rng)
        case "email":
            return identities.draw_email(rng)
        case "phone":
            return identities.draw_phone(rng)
        case "code":
            return identities.draw_code(form, rng)


def is_open(field: Field) -> bool:
    """Whether more can always be drawn: not of a flag, an option, or a text that a domain file writes out."""
    match field.kind:
        case "flag" | "option":
            return False
        case "text":
            return any(map(texts.is_composed, field.of))
        case _:
            return True


def canonical(field: Field, form: str, plain: Any, currency: str) -> Json:
    """Return a plain value in the form that the schema wants."""
    match field.kind:
        case "date":
            return moments.write_day(plain, form)
        case "time":
            return moments.write_time(plain, form)
        case "money":
            return amounts.write_money(plain, form, currency)
        case "share":
            return plain if form == "fraction" else amounts.tidy(plain * 100)
        case "duration":
            return amounts.write_duration(field, plain, form)
        case "option":
            return _snake(plain) if form == "snake" else _snake(plain).upper() if form == "upper" else plain
        case "person":
            return identities.write_person(plain, form)
        case "address":
            return identities.write_address(plain, form)
        case "phone":
            return plain if form == "digits" else f"+{plain}"
        case _:
            return plain


def read(field: Field, form: str, value: Json) -> Any:
    """Return the plain value that a canonical one stands for."""
    match field.kind:
        case "date":
            return moments.read_day(value, form)
        case "time":
            return moments.read_time(value, form)
        case "money":
            return amounts.read_money(value, form)
        case "share":
            return value if form == "fraction" else amounts.tidy(value / 100)
        case "duration":
            return amounts.read_duration(field, value, form)
        case "option":
            return next(word for word in field.of if canonical(field, form, word, "") == value)
        case "person":
            return identities.read_person(value, form)
        case "address":
            return identities.read_address(value)
        case "phone":
            return value.removeprefix("+")
        case _:
            return value


def say(field: Field, plain: Any, today: date, currency: str, rng: random.Random) -> str:  # noqa: PLR0912 - one branch a kind
    """Return a plain value as the user says it, without a preposition."""
    match field.kind:
        case "date":
            return moments.say_day(plain, today, rng)
        case "time":
            return moments.say_time(plain, rng)
        case "whole" | "number":
            return amounts.say_number(field, plain, rng)
        case "money":
            return amounts.say_money(plain, currency, rng)
        case "duration":
            return amounts.say_duration(field, plain, rng)
        case "share":
            return amounts.say_share(plain, rng)
        case "flag":
            return "yes" if plain else "no"
        case "list":
            return _listed(plain, rng)
        case "numbers":
            return _listed([f"{number:g}" for number in plain], rng)
        case "address":
            return identities.say_address(plain, rng)
        case "email":
            return identities.say_email(plain, rng)
        case "phone":
            return identities.say_phone(plain, rng)
        case "code":
            return identities.say_code(plain, rng)
        case _:
            return str(plain)


def near(field: Field, plain: Any, today: date, rng: random.Random) -> Iterator[Any]:  # noqa: PLR0912 - one branch a kind
    """Yield plain values that are easily mixed up with this one."""
    match field.kind:
        case "date":
            return moments.near_days(plain, today)
        case "time":
            return moments.near_times(plain)
        case "whole" | "number" | "duration":
            return amounts.near_numbers(field, plain)
        case "money":
            return (round(near * 100) for near in amounts.near_numbers(field, amounts.tidy(plain / 100)))
        case "share":
            scale = amounts.share_scale(field)
            return (amounts.tidy(near / scale) for near in amounts.near_numbers(field, amounts.tidy(plain * scale)))
        case "option" | "text":
            return iter(() if is_open(field) else field.of)
        case "list":
            return _near_lists(plain, field.of)
        case "numbers":
            return amounts.near_series(field, plain)
        case "flag":
            return iter((not plain,))
        case "person":
            return identities.near_people(plain, rng)
        case "address":
            return identities.near_addresses(plain)
        case "email":
            return identities.near_emails(plain, rng)
        case "phone" | "code":
            return identities.near_codes(plain, rng)
        case "place":
            return iter(())


def _near_lists(plain: list[str], of: tuple[str, ...]) -> Iterator[list[str]]:
    """Yield the list with one entry exchanged, with one more, and, where two are left, without its last."""
    left = [word for word in of if word not in plain]
    for word in left[:3]:
        yield [*plain[:-1], word]
        yield [*plain, word]
    if len(plain) > 2:
        yield plain[:-1]


def _listed(words: list[str], rng: random.Random) -> str:
    """Return `eggs, milk and flour`, with this or that joint before the last."""
    joint = " and " if len(words) < 3 else rng.choice((" and ", " and ", ", and "))
    return f"{', '.join(words[:-1])}{joint}{words[-1]}" if len(words) > 1 else words[0]


def _snake(words: str) -> str:
    return re.sub(r"\W+", "_", words.lower()).strip("_")
