"""Numbers, shares, money and durations: what is drawn, which forms a schema may want, how people say them.

A number is drawn as it is, a share as a fraction, money in hundredths of its currency, a duration in the field's unit.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from synthagent.teacher.natural.counting import decimal, digits, in_words, is_spoken, spoken
from synthagent.teacher.natural.domain import Field

SHARE_FORMS = {"fraction": 0.55, "percent": 0.45}
MONEY_FORMS = {"amount": 0.65, "cents": 0.12, "code_first": 0.13, "code_last": 0.1}
_SPANS = {"minutes": 1, "hours": 60}
_DAYS = {"days": 1, "weeks": 7}
# Of what is measured, not counted, nobody says `half a dozen`.
_MEASURED = re.compile(
    r"\b(degrees|\w*metres|\w*grams|\w*litres|tonnes|moles|\w*watts?|watts|\w*bytes|megabits|kilocalories"
    r"|seconds|minutes|hours|days|weeks|months|years|beats|times|lines|percent|nights)\b"
)
_ODD = {"feet": "foot", "inches": "inch", "boxes": "box", "people": "person", "pence": "penny", "loaves": "loaf"}


@dataclass(frozen=True, slots=True)
class Currency:
    """How a currency is written and said."""

    sign: str
    one: str
    many: str
    cents: str


CURRENCIES = {
    "EUR": Currency("€", "euro", "euros", "cents"),
    "USD": Currency("$", "dollar", "dollars", "cents"),
    "GBP": Currency("£", "pound", "pounds", "pence"),
    "CAD": Currency("$", "dollar", "dollars", "cents"),
    "AUD": Currency("$", "dollar", "dollars", "cents"),
    "CHF": Currency("CHF ", "franc", "francs", "centimes"),
    "INR": Currency("₹", "rupee", "rupees", "paise"),
    "ZAR": Currency("R", "rand", "rand", "cents"),
}


def step_of(field: Field) -> float:
    """Return the step of a field's values, a default where the domain gives none."""
    if field.step is not None:
        return field.step
    assert field.low is not None
    assert field.high is not None
    span = field.high - field.low
    match field.kind:
        case "share":
            return 0.05 if span > 0.2 else 0.01
        case "number" | "numbers" | "money":
            return 1 if span >= 20 else 0.5 if span >= 5 else 0.1
        case _:
            return 1


def draw_number(field: Field, rng: random.Random) -> float:
    """Draw a multiple of the field's step between its bounds; an int where it is whole."""
    step = step_of(field)
    assert field.low is not None
    assert field.high is not None
    first, last = math.ceil(field.low / step - 1e-9), math.floor(field.high / step + 1e-9)
    if first > last:
        raise ValueError(
            f"field {field.name!r}: no multiple of {step:g} from {field.low:g} to {field.high:g}; widen them"
        )
    return tidy((first + int(rng.random() * (last - first + 1))) * step)


def tidy(number: float) -> float:
    """Return a number without the dust of binary fractions; an int where it is whole."""
    rounded = round(number, 6)
    return int(rounded) if rounded == int(rounded) else rounded


def near_numbers(field: Field, number: float) -> Iterator[float]:
    """Yield values of the field that are easily mixed up with this one: the next, ten times, digits turned round."""
    step = step_of(field)
    assert field.low is not None
    assert field.high is not None
    turned = [int(str(number)[::-1])] if isinstance(number, int) and number > 9 else []
    for other in (number + step, number - step, *turned, number * 10, number + 2 * step, number - 2 * step, number * 2):
        if field.low <= other <= field.high and abs(other / step - round(other / step)) < 1e-6:
            yield tidy(other)


def draw_numbers(field: Field, rng: random.Random) -> list[float]:
    """Draw three to six different numbers of the field, in any order."""
    found: dict[float, None] = {}
    count = rng.randint(3, 6)
    for _ in range(20 * count):
        if len(found) == count:
            break
        found[draw_number(field, rng)] = None
    return list(found)


def near_series(field: Field, numbers: list[float]) -> Iterator[list[float]]:
    """Yield series that are easily mixed up with this one: its last number another, or left out."""
    for other in near_numbers(field, numbers[-1]):
        if other not in numbers:
            yield [*numbers[:-1], other]
    yield numbers[:-1]


def one_of(unit: str) -> str:
    """Return the singular of a unit: `kilograms` -> `kilogram`, `degrees Celsius` -> `degree Celsius`."""
    head, space, rest = unit.partition(" ")
    return (_ODD.get(head) or head.removesuffix("s")) + space + rest


def say_number(field: Field, number: float, rng: random.Random) -> str:
    """Return a number as the user says it, with its unit unless the field's own words say it."""
    if not field.unit and field.low is not None and field.low >= 1000 and field.high is not None and field.high <= 2100:
        return str(number)  # a year
    counted = not field.say[0].endswith("{}") and not _MEASURED.search(f"{field.unit} {field.say[0]}")
    if not field.unit or any(field.unit in words for words in field.say):
        return decimal(number, counted, rng)
    return f"{decimal(number, False, rng)} {one_of(field.unit) if number == 1 else field.unit}"


def share_scale(field: Field) -> int:
    """Return 100 where a domain writes the bounds of a share in percent, else 1."""
    return 100 if field.high is not None and field.high > 1 else 1


def say_share(share: float, rng: random.Random) -> str:
    """Return a share as the user says it, always in percent."""
    percent = tidy(share * 100)
    if rng.random() < 0.45:
        return f"{decimal(percent, False, rng)} percent"
    return rng.choice((f"{percent:g}%", f"{percent:g}%", f"{percent:g} percent", f"{percent:g} per cent"))


def write_money(cents: int, form: str, currency: str) -> float | str:
    """Return an amount in the form that the schema wants."""
    match form:
        case "amount":
            return tidy(cents / 100)
        case "cents":
            return cents
        case "code_first":
            return f"{currency} {cents // 100}.{cents % 100:02d}"
        case _:
            return f"{cents // 100}.{cents % 100:02d} {currency}"


def read_money(value: float | str, form: str) -> int:
    """Return the hundredths of an amount that stands in this form."""
    if form == "cents":
        return int(value)
    text = str(value).split()
    return round(float(text[1] if form == "code_first" else text[0]) * 100)


def say_money(cents: int, currency: str, rng: random.Random) -> str:
    """Return an amount as the user says it: `120 euros`, `€120`, `twelve euros and fifty cents`."""
    words = CURRENCIES[currency]
    whole, part = divmod(cents, 100)
    name = words.one if whole == 1 else words.many
    if not whole:
        return rng.choice((f"{part} {words.cents}", f"{spoken(part, rng)} {words.cents}", f"{words.sign}0.{part:02d}"))
    shown = digits(whole, rng)
    way = rng.random()
    if way < 0.35 and is_spoken(whole):
        said = f"{spoken(whole, rng)} {name}"
        return f"{said} and {in_words(part)} {words.cents}" if part else said
    if part:
        exact = f"{shown}.{part:02d}"
        return rng.choice((f"{exact} {words.many}", f"{words.sign}{exact}", f"{currency} {exact}"))
    return rng.choice((f"{shown} {name}", f"{shown} {name}", f"{words.sign}{shown}", f"{shown} {currency}"))


def duration_forms(field: Field) -> dict[str, float]:
    """Return the forms that suit the field's unit, with their weights."""
    match field.unit:
        case "minutes":
            exact = step_of(field) % 15 == 0
            return {"unit": 0.6, "iso": 0.08, "clock": 0.12} | ({"hours": 0.2} if exact else {})
        case "hours":
            return {"unit": 0.6, "minutes": 0.25, "iso": 0.05, "clock": 0.1}
        case "weeks":
            return {"unit": 0.7, "days": 0.3}
        case _:
            return {"unit": 1.0}


def write_duration(field: Field, length: float, form: str) -> float | str:
    """Return a duration, given in the field's unit, in the form that the schema wants."""
    if form == "unit":
        return length
    if form == "days":
        return tidy(length * 7)
    minutes = tidy(length * _SPANS[field.unit])
    match form:
        case "minutes":
            return minutes
        case "hours":
            return tidy(minutes / 60)
        case "iso":
            return f"PT{minutes:g}M"
        case _:
            return f"{int(minutes // 60):02d}:{int(minutes % 60):02d}"


def read_duration(field: Field, value: float | str, form: str) -> float:
    """Return the duration in the field's unit."""
    if form == "unit":
        return tidy(float(value))
    if form == "days":
        return tidy(float(value) / 7)
    match form:
        case "minutes":
            minutes = float(value)
        case "hours":
            minutes = float(value) * 60
        case "iso":
            minutes = float(str(value)[2:-1])
        case _:
            hours, rest = str(value).split(":")
            minutes = int(hours) * 60 + int(rest)
    return tidy(minutes / _SPANS[field.unit])


def say_duration(field: Field, length: float, rng: random.Random) -> str:
    """Return a duration as the user says it, with its unit: `90 minutes`, `an hour and a half`, `a fortnight`."""
    unit = field.unit
    ways = [f"{decimal(length, False, rng)} {one_of(unit) if length == 1 else unit}"] * 2
    if length == 1:
        ways.append(f"{'an' if unit == 'hours' else 'a'} {one_of(unit)}")
    if unit in _SPANS and (minutes := tidy(length * _SPANS[unit])) == int(minutes):
        ways += _in_hours(int(minutes))
    elif unit in _DAYS and (days := tidy(length * _DAYS[unit])) % 7 == 0:
        weeks = int(days) // 7
        ways += ["a week"] if weeks == 1 else [f"{in_words(weeks)} weeks", f"{weeks} weeks"]
        ways += ["a fortnight"] if weeks == 2 else []
    elif unit == "months" and length % 6 == 0:
        years, rest = divmod(int(length), 12)
        many = "a year" if years == 1 else f"{in_words(years)} years"
        ways.append("half a year" if not years else f"{many} and a half" if rest and years == 1 else many)
        if rest and years > 1:
            ways[-1] = f"{in_words(years)} and a half years"
    return rng.choice(ways)


def _in_hours(minutes: int) -> list[str]:
    """All wordings of a number of minutes with hours in them."""
    hours, rest = divmod(minutes, 60)
    many = "an hour" if hours == 1 else f"{in_words(hours)} hours"
    shown = "1 hour" if hours == 1 else f"{hours} hours"
    if not hours:
        part = {15: "a quarter of an hour", 30: "half an hour", 45: "three quarters of an hour"}
        return [part[rest]] * 2 if rest in part else [f"{minutes} minutes"]
    if not rest:
        return [many, shown, f"{minutes} minutes"] if hours <= 3 else [many, shown]
    ways = [f"{many} and {in_words(rest)} minutes", f"{shown} and {rest} minutes", f"{hours} h {rest} min"]
    if rest == 30:
        ways += ["an hour and a half"] * 2 if hours == 1 else [f"{in_words(hours)} and a half hours"]
        ways.append(f"{hours}.5 hours")
    elif rest == 15 and hours == 1:
        ways.append("an hour and a quarter")
    return ways
