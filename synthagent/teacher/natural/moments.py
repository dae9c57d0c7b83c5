"""Days and times of day: what is drawn, which forms a schema may want, how people say them, what is easily mixed up.

A day is a `date`, a time of day is its minute (0 to 1439). What a day's words mean, seen from today:
- Weeks run from Monday to Sunday. `this Friday` is the one in the current week, still ahead; `next Friday` and
  `Friday next week` the one in the week after. `Friday` and `this coming Friday` are the first Friday after today, at
  most six days ahead; `a week from Friday` is seven days after it.
- `the 14th`, `March 14`, `Friday the 13th` without a month or year: the first such day from today on. `the 14th of next
  month`: of the month that follows the current one.
- `in ten days`, `ten days from now`, `two weeks from today`: that many days after today.
"""

from __future__ import annotations

import calendar
import random
from collections.abc import Iterator
from datetime import date, datetime, timedelta

from synthagent.teacher.natural.counting import in_words, ordinal

WEEKS = "Weeks run from Monday to Sunday: this Friday is in the current week, next Friday in the one after it."
DAY_FORMS = {"iso": 0.62, "dmy": 0.12, "mdy": 0.08, "dots": 0.05, "long": 0.13}
TIME_FORMS = {"h24": 0.6, "h12": 0.3, "seconds": 0.1}
_DAY_PATTERNS = {"iso": "%Y-%m-%d", "dmy": "%d/%m/%Y", "mdy": "%m/%d/%Y", "dots": "%d.%m.%Y", "long": "%B %d, %Y"}
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "-",
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def draw_day(today: date, rng: random.Random) -> date:
    """Draw a day: mostly in the next two weeks, hardly ever today, at most two hundred days ahead."""
    span = rng.random()
    ahead = 1 + rng.random() * (13 if span < 0.6 else 45 if span < 0.88 else 199)
    return today + timedelta(days=int(ahead) if span > 0.015 else 0)


def draw_time(rng: random.Random) -> int:
    """Draw a minute of the day between 7:00 and 21:55: mostly a quarter of an hour, sometimes five minutes."""
    step = 15 if rng.random() < 0.85 else 5
    return 7 * 60 + int(rng.random() * (15 * 60 // step)) * step


def write_day(day: date, form: str) -> str:
    """Return the day in the form that the schema wants."""
    match form:
        case "iso":
            return day.isoformat()
        case "dmy":
            return f"{day.day:02d}/{day.month:02d}/{day.year}"
        case "mdy":
            return f"{day.month:02d}/{day.day:02d}/{day.year}"
        case "dots":
            return f"{day.day:02d}.{day.month:02d}.{day.year}"
        case _:
            return f"{_MONTHS[day.month]} {day.day}, {day.year}"


def read_day(text: str, form: str) -> date:
    """Return the day that stands in this form."""
    return date.fromisoformat(text) if form == "iso" else datetime.strptime(text, _DAY_PATTERNS[form]).date()


def write_time(minute: int, form: str) -> str:
    """Return the time of day in the form that the schema wants."""
    hour, rest = divmod(minute, 60)
    if form == "h12":
        return f"{(hour - 1) % 12 + 1}:{rest:02d} {'AM' if hour < 12 else 'PM'}"
    return f"{hour:02d}:{rest:02d}" + (":00" if form == "seconds" else "")


def read_time(text: str, form: str) -> int:
    """Return the minute of the day that stands in this form."""
    read = datetime.strptime(text, {"h24": "%H:%M", "seconds": "%H:%M:%S", "h12": "%I:%M %p"}[form])
    return read.hour * 60 + read.minute


def say_day(day: date, today: date, rng: random.Random) -> str:
    """Return the day as the user says it; what the words mean stands at the top of this module."""
    if rng.random() < 0.6:
        near = _from_today(day, today, rng)
        if near:
            return rng.choice(near)
    return rng.choice(_in_calendar(day, today, rng))


def _from_today(day: date, today: date, rng: random.Random) -> list[str]:
    """All wordings that count from today."""
    ahead = (day - today).days
    if ahead < 3:
        return [("today", "tomorrow", "the day after tomorrow")[ahead]] * 2 + _by_week(day, today, ahead)
    ways = _by_week(day, today, ahead)
    if ahead <= 20:
        number = in_words(ahead) if rng.random() < 0.6 else str(ahead)
        ways += [f"in {number} days", f"{number} days from now", f"{number} days from today"]
    if ahead % 7 == 0 and ahead <= 42:
        weeks = "a week" if ahead == 7 else f"{in_words(ahead // 7)} weeks"
        ways += [f"in {weeks}", f"{weeks} from today", f"{weeks} from now"]
    if ahead in (8, 15):
        ways.append(f"{'a week' if ahead == 8 else 'two weeks'} from tomorrow")
    return ways


def _by_week(day: date, today: date, ahead: int) -> list[str]:
    """Wordings with the name of the weekday and no month; for a day after today."""
    name = _WEEKDAYS[day.weekday()]
    week = (ahead + today.weekday()) // 7
    ways = []
    if 1 <= ahead <= 6:
        ways += [name, f"this coming {name}"]
        if week == 0:
            ways += [f"this {name}", f"{name} this week"]
    elif 8 <= ahead <= 13:
        ways.append(f"a week from {name}")
    if week == 1:
        ways += [f"next {name}", f"next {name}", f"{name} next week", f"{name} of next week"]
    return ways


def _in_calendar(day: date, today: date, rng: random.Random) -> list[str]:
    """Wordings with the number of the day; no year is needed, since all days are less than a year ahead."""
    name, month, nth = _WEEKDAYS[day.weekday()], _MONTHS[day.month], ordinal(day.day, rng)
    ways = [
        f"{month} {day.day}",
        f"{day.day} {month}",
        f"the {nth} of {month}",
        f"{month} {nth}",
        f"{name}, {month} {day.day}",
        f"{name} the {nth} of {month}",
        f"{month} {day.day}, {day.year}",
        f"{day.day} {month} {day.year}",
        f"{month[:3]} {day.day}" if month != "May" else "May " + nth,
        day.isoformat(),
    ]
    months = (day.year - today.year) * 12 + day.month - today.month
    if months == 0 or (months == 1 and day.day < today.day):
        ways += [f"the {nth}", f"the {nth}", f"{name} the {nth}"]
    if months <= 1:
        when = "this month" if months == 0 else "next month"
        ways.append(f"the {nth} of {when}")
        if day.day <= 28:
            ways.append(f"the {('first', 'second', 'third', 'fourth')[(day.day - 1) // 7]} {name} of {when}")
        if day.day == calendar.monthrange(day.year, day.month)[1]:
            ways.append(f"the last day of {when}")
    return ways


def say_time(minute: int, rng: random.Random) -> str:
    """Return the time of day as the user says it: digits, or words with the part of the day."""
    hour, rest = divmod(minute, 60)
    twelve = (hour - 1) % 12 + 1
    now, after = in_words(twelve), in_words(twelve % 12 + 1)
    half = "AM" if hour < 12 else "PM"
    part = f"in the {'morning' if hour < 12 else 'afternoon' if hour < 18 else 'evening'}" if hour < 22 else "at night"
    ways = [f"{hour:02d}:{rest:02d}", f"{twelve}:{rest:02d} {half}", f"{twelve}:{rest:02d} {part}"]
    if rest == 0:
        ways += [f"{twelve} {half}", f"{twelve}{half.lower()}", f"{now} {part}", f"{now} o'clock {part}"]
        ways += ["noon", "noon", "twelve noon"] if hour == 12 else []
    elif rest == 30:
        ways += [f"half past {now} {part}", f"half past {now} {part}", f"{now} thirty {part}"]
    elif rest == 15:
        ways += [f"a quarter past {now} {part}", f"quarter past {now} {part}", f"{now} fifteen {part}"]
    elif rest == 45:
        ways += [f"a quarter to {after} {part}", f"quarter to {after} {part}", f"{now} forty-five {part}"]
    elif rest % 5 == 0:
        ways += [f"{in_words(rest)} past {now} {part}" if rest < 30 else f"{in_words(60 - rest)} to {after} {part}"] * 2
    return rng.choice(ways)


def near_days(day: date, today: date) -> Iterator[date]:
    """Yield days that are easily mixed up with this one, none before today: neighbours, same weekday, same number."""
    for shift in (7, -7, 1, -1, 2, -2, 14, 3, 21):
        if (other := day + timedelta(days=shift)) >= today:
            yield other
    if day.day <= 28:
        yield day.replace(year=day.year + day.month // 12, month=day.month % 12 + 1)


def near_times(minute: int) -> Iterator[int]:
    """Yield times that are easily mixed up with this one: an hour or a half later, morning for evening."""
    for shift in (60, -60, 720, -720, 30, -30, 15, -15, 120, 45):
        if 6 * 60 <= minute + shift < 23 * 60:
            yield minute + shift
