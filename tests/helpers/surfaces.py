"""Reads what a user says (`next Friday`, `half past six`), without any code of the writer that it is to test."""

from __future__ import annotations

import calendar
import re
from datetime import date, timedelta
from fractions import Fraction

_DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_MONTHS = [name.lower() for name in calendar.month_name]
_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
_TENS = "thirty forty fifty sixty seventy eighty ninety"
_SMALL_NTH = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth "
    "sixteenth seventeenth eighteenth nineteenth twentieth"
)
_UNITS = {word: number for number, word in enumerate(_SMALL.split())}
_UNITS |= {word: 10 * number for number, word in enumerate(_TENS.split(), 3)}
_NTH = {word: number for number, word in enumerate(_SMALL_NTH.split(), 1)} | {"thirtieth": 30}


def number(text: str) -> Fraction:
    """Read `24`, `1,200`, `twenty-four`, `two dozen`, `one and a half`, `2.5`, `-3`."""
    text = text.strip().lower()
    if text.startswith(("-", "minus ")):
        return -number(text.removeprefix("-").removeprefix("minus "))
    if re.fullmatch(r"[\d,]+(\.\d+)?", text):
        return Fraction(text.replace(",", ""))
    for words, part in ((" and a half", 2), (" and a quarter", 4)):
        if text.endswith(words):
            return number(text.removesuffix(words)) + Fraction(1, part)
    if text.endswith(" and three quarters"):
        return number(text.removesuffix(" and three quarters")) + Fraction(3, 4)
    if " point " in text:
        whole, digits = text.split(" point ")
        return number(whole) + Fraction(
            int("".join(str(_UNITS[word]) for word in digits.split())), 10 ** len(digits.split())
        )
    if text.endswith("dozen"):
        head = text.removesuffix("dozen").strip()
        return 12 * (Fraction(1, 2) if head == "half a" else number(head) if head != "a" else 1)
    total, current = 0, 0
    for word in text.replace("-", " ").replace(" and ", " ").split():
        if word == "a":
            current = 1
        elif word == "hundred":
            current *= 100
        elif word in ("thousand", "million"):
            total, current = total + current * (1000 if word == "thousand" else 1_000_000), 0
        else:
            current += _UNITS[word]
    return Fraction(total + current)


def time(text: str) -> int:
    """Read a time of day as its minute."""
    text = text.lower()
    if text in ("noon", "twelve noon"):
        return 720
    if found := re.fullmatch(r"(\d\d):(\d\d)", text):
        return int(found[1]) * 60 + int(found[2])
    found = re.fullmatch(r"(.+?) ?(am|pm|in the morning|in the afternoon|in the evening|at night)", text)
    assert found, text
    clock, late = found[1].removesuffix(" o'clock"), found[2] not in ("am", "in the morning")
    if digits := re.fullmatch(r"(\d+)(?::(\d\d))?", clock):
        minute = int(digits[1]) * 60 + int(digits[2] or 0)
    elif " past " in clock or " to " in clock:
        shift, joint, hour = re.fullmatch(r"(.+) (past|to) (.+)", clock).groups()  # type: ignore[union-attr]
        shift = {"half": 30, "a quarter": 15, "quarter": 15}.get(shift) or int(number(shift))
        minute = int(number(hour)) * 60 + (shift if joint == "past" else -shift)
    else:
        hour, _, rest = clock.partition(" ")
        minute = int(number(hour)) * 60 + (int(number(rest)) if rest else 0)
    return minute % 720 + 720 * late


def day(text: str, today: date) -> date:
    """Read a day; weeks run from Monday to Sunday."""
    text = text.lower()
    monday = today - timedelta(days=today.weekday())
    if text in ("today", "tomorrow", "the day after tomorrow"):
        return today + timedelta(days=["today", "tomorrow", "the day after tomorrow"].index(text))
    if found := re.fullmatch(r"(?:in )?(a|\w+(?:-\w+)?) (days?|weeks?)(?: from (today|now|tomorrow))?", text):
        many = 1 if found[1] == "a" else int(number(found[1]))
        return today + timedelta(days=many * (7 if "week" in found[2] else 1) + (found[3] == "tomorrow"))
    for week, ways in enumerate((("this {}", "{} this week"), ("next {}", "{} next week", "{} of next week"))):
        for place, name in enumerate(_DAYS):
            if text in [way.format(name) for way in ways]:
                return monday + timedelta(days=7 * week + place)
    for before, shift in (("", 0), ("this coming ", 0), ("a week from ", 7)):
        for place, name in enumerate(_DAYS):
            if text == before + name:
                return today + timedelta(days=(place - today.weekday() - 1) % 7 + 1 + shift)
    return _in_calendar(text, today)


def _in_calendar(text: str, today: date) -> date:
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        return date.fromisoformat(text)
    if found := re.search(r" of (this|next) month$", text):
        start = today.replace(day=1)
        start = (start + timedelta(days=32)).replace(day=1) if found[1] == "next" else start
        text = text[: found.start()]
        days = [start + timedelta(days=shift) for shift in range(calendar.monthrange(start.year, start.month)[1])]
        if text == "the last day":
            return days[-1]
        nth, _, name = text.removeprefix("the ").partition(" ")
        return [one for one in days if not name or one.weekday() == _DAYS.index(name)][_nth(nth) - 1]
    words = re.sub(r"[,]|\bthe\b|\bof\b", " ", text).split()
    weekday = _DAYS.index(words.pop(0)) if words[0] in _DAYS else None
    year = int(words.pop()) if len(words[-1]) == 4 and words[-1].isdigit() else None
    months = [place for place, name in enumerate(_MONTHS) if name and any(word in (name, name[:3]) for word in words)]
    nth = next(found for word in words if (found := _nth(word)))
    for shift in range(366):
        one = today + timedelta(days=shift)
        if one.day == nth and one.month in (months or [one.month]) and one.year in (year or one.year,):
            assert weekday in (None, one.weekday()), text
            return one
    raise ValueError(text)


def _nth(word: str) -> int:
    if found := re.fullmatch(r"(\d+)(st|nd|rd|th)?", word):
        return int(found[1])
    tens, _, ones = word.partition("-")
    return _NTH.get(word) or (_UNITS[tens] + _NTH[ones] if ones else 0)


def money(text: str) -> Fraction:
    """Read an amount in the main unit of its currency."""
    text = text.lower()
    if found := re.fullmatch(r"(.+) (?:cents|pence|centimes|paise)", text):
        head = re.fullmatch(r"(.+) (?:euros?|dollars?|pounds?|francs?|rupees?|rand) and (.+)", found[1])
        return number(head[1]) + number(head[2]) / 100 if head else number(found[1]) / 100
    if found := re.fullmatch(r"([\d,]+) [a-z]+ (\d\d)", text):
        return number(found[1]) + number(found[2]) / 100
    words = re.sub(
        r"[€$£₹]|\b(?:euros?|dollars?|pounds?|francs?|rupees?|rand|eur|usd|gbp|cad|aud|chf|inr|zar)\b", " ", text
    )
    return number(re.sub(r"^r(?=\d)", "", words.strip()))


def minutes(text: str) -> Fraction:
    """Read a duration in minutes."""
    if text in ("half an hour", "a quarter of an hour", "three quarters of an hour"):
        return Fraction({"h": 30, "a": 15, "t": 45}[text[0]])
    if found := re.fullmatch(r"an hour and a (half|quarter)", text):
        return Fraction(90 if found[1] == "half" else 75)
    parts = [
        re.fullmatch(r"(.+?) (h|hours?|min|minutes?)", part) for part in re.split(r"(?<=hour|ours) and |(?<=h) ", text)
    ]
    if any(part is None for part in parts):
        parts = [re.fullmatch(r"(.+) (hours|minutes)", text)]
    return sum(
        (
            (1 if part[1] in ("a", "an") else number(part[1])) * (60 if part[2][0] == "h" else 1)
            for part in parts
            if part
        ),
        Fraction(0),
    )
