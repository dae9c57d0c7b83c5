"""Values: every form and every wording of a kind means the same; what is easily mixed up differs."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from datetime import date, timedelta

import pytest
from helpers import surfaces
from helpers.fields import field, fields
from hypothesis import given, settings
from hypothesis import strategies as st

from synthagent.meaning import same
from synthagent.teacher.natural import amounts, counting, identities, kinds, moments
from synthagent.teacher.natural.domain import Field
from synthagent.teacher.natural.values import Context, draw, of_domain, others

SEEDS = st.integers(0, 2**32)
TODAYS = st.dates(date(2024, 1, 1), date(2031, 12, 31))
CURRENCIES = st.sampled_from(sorted(amounts.CURRENCIES))
FIELDS = fields()


def forms_of(one: Field, data: st.DataObject) -> str:
    return data.draw(st.sampled_from(sorted(kinds.forms(one))))


@given(TODAYS, st.integers(0, 200), SEEDS)
@settings(max_examples=1500, deadline=None)
def test_the_words_of_a_day_mean_that_day(today: date, ahead: int, seed: int) -> None:
    day = today + timedelta(days=ahead)
    said = moments.say_day(day, today, random.Random(seed))
    assert surfaces.day(said, today) == day, said


@given(st.integers(0, 287), SEEDS)
@settings(max_examples=800, deadline=None)
def test_the_words_of_a_time_mean_that_time(step: int, seed: int) -> None:
    said = moments.say_time(5 * step, random.Random(seed))
    assert surfaces.time(said) == 5 * step, said


@given(st.integers(0, 2_000_000), st.booleans(), SEEDS)
@settings(max_examples=500, deadline=None)
def test_a_whole_number_in_words_is_that_number(number: int, dozens: bool, seed: int) -> None:
    rng = random.Random(seed)
    assert surfaces.number(counting.spoken(number, rng)) == number
    small = number % 200
    assert surfaces.number(said := counting.count(small, dozens, rng)) == small, said


@given(st.integers(-500_000, 500_000), SEEDS)
@settings(max_examples=500, deadline=None)
def test_a_decimal_number_in_words_is_that_number(hundredths: int, seed: int) -> None:
    said = counting.decimal(amounts.tidy(hundredths / 100), True, random.Random(seed))
    assert surfaces.number(said) * 100 == hundredths, said


@given(st.integers(1, 500_000), CURRENCIES, SEEDS)
@settings(max_examples=800, deadline=None)
def test_an_amount_of_money_in_words_is_that_amount(cents: int, currency: str, seed: int) -> None:
    said = amounts.say_money(cents, currency, random.Random(seed))
    assert surfaces.money(said) * 100 == cents, said


@given(st.integers(1, 80), SEEDS)
@settings(max_examples=800, deadline=None)
def test_the_words_of_a_duration_mean_that_duration(steps: int, seed: int) -> None:
    rng = random.Random(seed)
    length = field("duration", low=5, high=400, step=5, unit="minutes")
    said = amounts.say_duration(length, 5 * steps, rng)
    assert surfaces.minutes(said) == 5 * steps, said
    hours = field("duration", low=0.25, high=20, step=0.25, unit="hours")
    said = amounts.say_duration(hours, amounts.tidy(steps / 4), rng)
    assert surfaces.minutes(said) == 15 * steps, said


@given(st.sampled_from([5, 10, 15, 30, 45, 60, 75, 90, 120, 150, 600]), st.data())
def test_a_duration_can_be_read_from_each_of_its_forms(minutes: int, data: st.DataObject) -> None:
    length = field("duration", low=5, high=600, step=5, unit="minutes")
    form = forms_of(length, data)
    assert amounts.read_duration(length, amounts.write_duration(length, minutes, form), form) == minutes


@given(st.sampled_from(FIELDS), TODAYS, CURRENCIES, SEEDS, st.data())
@settings(max_examples=800, deadline=None)
def test_what_is_written_in_a_form_can_be_read_from_it(
    one: Field, today: date, currency: str, seed: int, data: st.DataObject
) -> None:
    form = forms_of(one, data)
    plain = kinds.pick(one, form, random.Random(seed), today)
    written = kinds.canonical(one, form, plain, currency)
    assert kinds.read(one, form, written) == plain
    if one.kind not in ("code", "list"):
        base = next(iter(kinds.forms(one)))
        if one.kind == "share":
            base = {1: "fraction", 100: "percent"}[amounts.share_scale(one)]
        assert of_domain(one, kinds.canonical(one, base, plain, currency), form, currency) == written


@given(st.sampled_from(FIELDS), TODAYS, CURRENCIES, SEEDS, st.data())
@settings(max_examples=800, deadline=None)
def test_other_values_all_differ_by_meaning(
    one: Field, today: date, currency: str, seed: int, data: st.DataObject
) -> None:
    form, context, rng = forms_of(one, data), Context(today, currency), random.Random(seed)
    value = draw(one, form, context, rng)
    found = [value, *others(one, form, context, value, rng, 4)]
    for place, this in enumerate(found):
        assert same(this.canonical, this.canonical)
        assert not any(same(this.canonical, that.canonical) for that in found[:place])
    few = {"flag": 2, "option": len(one.of), "text": len(one.of)}.get(one.kind, 5)
    assert len(found) == (5 if kinds.is_open(one) else min(5, few)) or one.name == "pair"


@given(st.sampled_from(FIELDS), TODAYS, SEEDS, st.data())
@settings(max_examples=400, deadline=None)
def test_values_depend_on_the_seed_only(one: Field, today: date, seed: int, data: st.DataObject) -> None:
    form, context = forms_of(one, data), Context(today, "EUR")
    assert draw(one, form, context, random.Random(seed)) == draw(one, form, context, random.Random(seed))


@given(st.sampled_from([one for one in FIELDS if one.low is not None]), TODAYS, SEEDS)
@settings(max_examples=600, deadline=None)
def test_numbers_stay_in_their_bounds_and_on_their_step(one: Field, today: date, seed: int) -> None:
    rng, context = random.Random(seed), Context(today, "USD")
    form = {"money": "amount", "duration": "unit", "share": "fraction"}.get(one.kind, "plain")
    value = draw(one, form, context, rng)
    for found in (value, *others(one, form, context, value, rng, 5)):
        numbers = found.canonical if one.kind == "numbers" else [found.canonical]
        assert one.low is not None
        assert one.high is not None
        for number in numbers:
            scaled = number * (amounts.share_scale(one) if one.kind == "share" else 1)
            assert one.low - 1e-9 <= scaled <= one.high + 1e-9
            steps = scaled / amounts.step_of(one)
            assert abs(steps - round(steps)) < 1e-6


@given(SEEDS)
def test_a_series_is_said_with_all_its_numbers_and_one_that_is_mixed_up_with_it_is_another(seed: int) -> None:
    one, rng, context = field("numbers", low=-60, high=60), random.Random(seed), Context(date(2026, 3, 7), "USD")
    value = draw(one, "plain", context, rng)
    assert [float(number) for number in re.findall(r"-?[0-9.]+", value.surface)] == value.canonical
    assert 3 <= len(value.canonical) <= 6
    near = others(one, "plain", context, value, rng, 3)
    assert len(near) == 3
    assert all(set(other.canonical) != set(value.canonical) for other in near)


@pytest.mark.parametrize(
    ("one", "plain", "written"),
    [
        (
            field("date"),
            date(2026, 3, 7),
            {
                "iso": "2026-03-07",
                "dmy": "07/03/2026",
                "mdy": "03/07/2026",
                "dots": "07.03.2026",
                "long": "March 7, 2026",
            },
        ),
        (field("time"), 750, {"h24": "12:30", "h12": "12:30 PM", "seconds": "12:30:00"}),
        (field("time"), 555, {"h24": "09:15", "h12": "9:15 AM", "seconds": "09:15:00"}),
        (
            field("money", low=1, high=9999),
            120050,
            {"amount": 1200.5, "cents": 120050, "code_first": "EUR 1200.50", "code_last": "1200.50 EUR"},
        ),
        (field("share", low=0.1, high=0.9), 0.15, {"fraction": 0.15, "percent": 15}),
        (
            field("duration", low=15, high=300, step=15, unit="minutes"),
            90,
            {"unit": 90, "hours": 1.5, "iso": "PT90M", "clock": "01:30"},
        ),
        (field("duration", low=1, high=9, unit="weeks"), 2, {"unit": 2, "days": 14}),
        (
            field("person"),
            "Ana Sá",
            {"full": "Ana Sá", "last_first": "Sá, Ana", "parts": {"first_name": "Ana", "last_name": "Sá"}},
        ),
        (
            field("address"),
            identities.Address("Ringvej 4", "Broby", "46 61"),
            {
                "line": "Ringvej 4, 46 61 Broby",
                "parts": {"street": "Ringvej 4", "city": "Broby", "postal_code": "46 61"},
            },
        ),
        (field("phone"), "12025550142", {"international": "+12025550142", "digits": "12025550142"}),
        (
            field("option", of=("sea green", "ivory")),
            "sea green",
            {"plain": "sea green", "listed": "sea green", "snake": "sea_green", "upper": "SEA_GREEN"},
        ),
    ],
    ids=lambda given: given.kind if isinstance(given, Field) else "",
)
def test_each_form_is_written_as_its_schema_says(one: Field, plain: object, written: dict[str, object]) -> None:
    assert {form: kinds.canonical(one, form, plain, "EUR") for form in kinds.forms(one)} == written


@given(SEEDS, TODAYS)
@settings(max_examples=200, deadline=None)
def test_a_value_is_another_than_the_default(seed: int, today: date) -> None:
    rng, context = random.Random(seed), Context(today, "GBP")
    assert draw(field("flag", default=True), "plain", context, rng).canonical is False
    assert draw(field("option", of=("red", "blue"), default="red"), "upper", context, rng).canonical == "BLUE"
    guests = field("whole", low=2, high=3, default=2)
    assert draw(guests, "plain", context, rng).canonical == 3
    assert draw(field("time", default="18:00"), "h12", context, rng).canonical != "6:00 PM"


@given(SEEDS)
@settings(max_examples=300, deadline=None)
def test_people_and_contacts_look_as_they_should(seed: int) -> None:
    rng = random.Random(seed)
    first, last = identities.draw_person(rng).split(" ")
    assert first
    assert last
    assert identities.draw_email(rng).isascii()
    number = identities.draw_phone(rng)
    said = identities.say_phone(number, rng)
    digits = "".join(filter(str.isdigit, said))
    assert digits.removeprefix("00") == number
    address = identities.draw_address(rng)
    assert all(part in identities.say_address(address, rng) for part in (address.street, address.city, address.code))


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (10, 10.0, True),
        (0.1 + 0.2, 0.3, True),
        (10, 11, False),
        ("Blue", " blue", True),
        ("sea  green", "Sea green", True),
        ("Zoë", "Zoe\u0308", True),
        ("10", 10, False),
        (True, 1, False),
        (False, 0, False),
        (True, True, True),
        (None, None, True),
        (None, "", False),
        (["eggs", "milk"], ["Milk", "eggs"], True),
        (["eggs", "eggs"], ["eggs", "milk"], False),
        (["eggs"], ["eggs", "eggs"], False),
        ({"city": "Bonn", "n": 1}, {"n": 1.0, "city": "bonn"}, True),
        ({"city": "Bonn"}, {"town": "Bonn"}, False),
        ([1], 1, False),
    ],
)
def test_equality_is_by_meaning(one: object, other: object, equal: bool) -> None:
    assert same(one, other) is equal
    assert same(other, one) is equal


def test_a_default_that_is_no_such_value_is_told_with_its_field() -> None:
    with pytest.raises(ValueError, match=r"field 'time wanted': 'teatime' is no time; write it as h24"):
        of_domain(field("time"), "teatime", "h12", "EUR")
    with pytest.raises(ValueError, match=r"field 'option wanted': 'pink' is no option"):
        of_domain(field("option", of=("red", "blue")), "pink", "plain", "EUR")


def test_a_field_without_any_multiple_of_its_step_is_told() -> None:
    with pytest.raises(ValueError, match=r"field 'seats': no multiple of 10 from 11 to 19; widen them"):
        draw(
            field("whole", "seats", low=11, high=19, step=10),
            "plain",
            Context(date(2026, 3, 4), "EUR"),
            random.Random(1),
        )


def test_a_year_is_said_in_plain_digits() -> None:
    rng, year = random.Random(1), field("whole", low=1450, high=2020)
    assert all(re.fullmatch("[12][0-9]{3}", amounts.say_number(year, 1450 + ahead, rng)) for ahead in range(200))


def test_one_and_a_part_of_a_currency_is_plural() -> None:
    said = {amounts.say_money(145, "EUR", random.Random(seed)) for seed in range(200)}
    assert {"1.45 euros", "€1.45", "one euro and forty-five cents"} <= said
    assert "1.45 euro" not in said


def test_names_and_places_are_the_same_in_every_process() -> None:
    def pools_of(hash_seed: str) -> str:
        code = "from synthagent.teacher.natural import identities; print(ascii(identities.pools()))"
        env = os.environ | {"PYTHONHASHSEED": hash_seed}
        return subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True).stdout

    assert pools_of("1") == pools_of("2") == f"{identities.pools()!a}\n"


def test_a_week_of_days_is_said_in_many_ways() -> None:
    today, rng = date(2026, 3, 4), random.Random(5)
    said = {moments.say_day(today + timedelta(days=ahead), today, rng) for ahead in range(1, 15) for _ in range(300)}
    assert len(said) > 150
    assert {"tomorrow", "next Friday", "this Friday", "the 14th", "in two weeks", "a week from Friday"} <= said


def test_there_are_many_different_people_towns_and_addresses() -> None:
    rng = random.Random(1)
    assert len({identities.draw_person(rng) for _ in range(5000)}) > 4800
    assert len({identities.draw_place(rng) for _ in range(5000)}) > 700
    assert len({identities.draw_address(rng) for _ in range(9000)}) > 1500
    assert any(not identities.draw_person(rng).isascii() for _ in range(100))


def test_nobody_says_dozens_of_what_is_measured_or_that_a_bare_surname_is_a_town() -> None:
    bounds = {"low": 2, "high": 60, "about": "how many"}
    eggs = Field(name="eggs", kind="whole", say=("for {} eggs",), unit="eggs", **bounds)
    warm = Field(name="warm", kind="whole", say=("at {} degrees",), **bounds)
    assert any("dozen" in amounts.say_number(eggs, 24, random.Random(seed)) for seed in range(50))
    assert not any("dozen" in amounts.say_number(warm, 24, random.Random(seed)) for seed in range(50))
    towns = {city for pool in identities.pools() for city in pool.cities}
    assert not towns & {"Hernandez", "Daniel", "Barbosa", "Andersen"}
    assert towns >= {"Sevilla", "León", "Dresden"}
