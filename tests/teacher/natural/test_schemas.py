"""Parameters and tools: what is drawn fits its schema, descriptions tell no value, names have one style."""

from __future__ import annotations

import random
import re
from datetime import date

import jsonschema_rs
import pytest
from helpers.fields import field, fields
from hypothesis import given, settings
from hypothesis import strategies as st

from synthagent.meaning import same
from synthagent.teacher.natural.amounts import CURRENCIES
from synthagent.teacher.natural.describing import article
from synthagent.teacher.natural.domain import Field
from synthagent.teacher.natural.kinds import forms
from synthagent.teacher.natural.schemas import Naming, as_optional, describe_tool, draw_style, tool_name, write_field
from synthagent.teacher.natural.values import Context, draw, others

SEEDS = st.integers(0, 2**32)
TODAYS = st.dates(date(2024, 1, 1), date(2031, 12, 31))
PLAIN = Naming("snake", False)


@given(st.sampled_from(fields()), TODAYS, st.sampled_from(sorted(CURRENCIES)), st.booleans(), SEEDS)
@settings(max_examples=1200, deadline=None)
def test_all_values_fit_the_schema_that_was_written(
    one: Field, today: date, currency: str, required: bool, seed: int
) -> None:
    rng, context = random.Random(seed), Context(today, currency)
    written = write_field(one, draw_style(rng), required, rng, currency=currency)
    assert jsonschema_rs.meta.is_valid(written.schema)
    validator = jsonschema_rs.validator_for(written.schema, validate_formats=True)
    value = draw(one, written.form, context, rng)
    found = [value, *others(one, written.form, context, value, rng, 4)]
    for place, this in enumerate(found):
        assert validator.is_valid(this.canonical), (this, written.schema)
        assert not any(same(this.canonical, that.canonical) for that in found[:place])


@given(st.sampled_from(fields()), TODAYS, SEEDS)
@settings(max_examples=800, deadline=None)
def test_a_schema_shows_no_value_but_in_a_complete_list(one: Field, today: date, seed: int) -> None:
    rng, context = random.Random(seed), Context(today, "EUR")
    written = write_field(one, draw_style(rng), True, rng, currency="EUR")
    value = draw(one, written.form, context, rng)
    words = written.schema["description"].lower()
    if one.kind == "option":
        listed = written.schema.get("enum", []) if written.form != "listed" else list(one.of)
        assert len(listed) == len(one.of)
        assert written.form != "listed" or all(word in words for word in one.of)
        return
    if one.kind in ("list", "flag", "numbers"):
        return
    shown = [value.surface, *([value.canonical] if isinstance(value.canonical, str) else [])]
    if not isinstance(value.canonical, str | dict):
        shown.append(f"{value.canonical:g}")
        assert (
            value.canonical not in (written.schema.get("minimum"), written.schema.get("maximum"))
            or value.canonical == 1
        )
    for text in shown:
        assert not re.search(rf"(?<![\w.-]){re.escape(text.lower())}(?![\w.-])", words) or text in ("1", "one")


@pytest.mark.parametrize("one", fields(), ids=lambda one: one.name)
def test_a_description_is_worded_in_many_ways_and_says_what_it_is(one: Field) -> None:
    rng = random.Random(3)
    for form in forms(one):
        said = {write_field(one, PLAIN, True, rng, form=form).schema["description"] for _ in range(200)}
        assert len(said) >= 8
        assert all(one.about in words or one.about.capitalize() in words for words in said)


@pytest.mark.parametrize(
    ("one", "form", "told"),
    [
        (field("date"), "dmy", "DD/MM/YYYY"),
        (field("date"), "mdy", "MM/DD/YYYY"),
        (field("time"), "h12", "AM"),
        (field("time"), "h24", "24-hour"),
        (field("share", low=0.1, high=0.5), "percent", "percent"),
        (field("money", low=1, high=90), "cents", "cents"),
        (field("duration", low=15, high=90, step=15, unit="minutes"), "hours", "hours"),
        (field("duration", low=15, high=90, step=15, unit="minutes"), "unit", "minutes"),
        (field("whole", low=1, high=9, unit="tonnes"), "plain", "tonnes"),
    ],
)
def test_a_description_says_unit_and_form(one: Field, form: str, told: str) -> None:
    rng = random.Random(4)
    for _ in range(60):
        assert told in write_field(one, PLAIN, True, rng, form=form, currency="EUR").schema["description"]


def test_a_default_stands_in_the_form_that_the_schema_wants() -> None:
    closing = field("time", default="18:00")
    seen = [write_field(closing, PLAIN, False, random.Random(seed), form="h12") for seed in range(80)]
    assert {written.schema.get("default") for written in seen} == {"6:00 PM"}
    assert any("6:00 PM" in written.schema["description"] for written in seen)
    assert not any(written.required for written in seen)
    needed = write_field(closing, PLAIN, True, random.Random(1), form="h12")
    assert "default" not in needed.schema
    left = as_optional(needed, random.Random(2))
    assert (left.key, left.form, left.schema["default"], left.required) == (needed.key, "h12", "6:00 PM", False)


@pytest.mark.parametrize(
    ("names", "key", "tool"),
    [
        ("snake", r"start_time", r"(re_book_table_booking|table_booking_re_book)"),
        ("camel", r"startTime", r"reBookTableBooking"),
        ("dotted", r"start_time", r"table_booking\.re_book"),
        ("terse", r"strt_time", r"re_book_tbl_bkng"),
    ],
)
def test_a_toolset_is_written_in_its_style(names: str, key: str, tool: str) -> None:
    style = Naming(names, False)  # type: ignore[arg-type]
    for seed in range(30):
        rng = random.Random(seed)
        assert re.fullmatch(key, write_field(field("time", "start time"), style, True, rng).key)
        assert re.fullmatch(tool, tool_name("re-book", "table booking", style, rng, ()))


def test_masked_names_say_nothing_and_never_clash() -> None:
    rng, taken = random.Random(2), set[str]()
    for _ in range(60):
        written = write_field(field("time", "start time"), Naming("camel", True), True, rng, taken)
        tool = tool_name("cancel", "booking", Naming("camel", True), rng, taken)
        assert re.fullmatch(r"[a-z][0-9]{1,2}", written.key)
        assert re.fullmatch(r"[a-z][0-9]{1,2}", tool)
        assert not {written.key, tool} & taken
        taken |= {written.key, tool}


def test_names_that_are_taken_are_not_given_again() -> None:
    rng = random.Random(2)
    assert write_field(field("place", "town"), PLAIN, True, rng, {"town"}).key == "town2"
    style = Naming("camel", False)
    assert tool_name("cancel", "booking", style, rng, {"cancelBooking", "cancelBooking2"}) == "cancelBooking3"


@given(st.text(max_size=30), st.text(max_size=30), SEEDS)
@settings(max_examples=300, deadline=None)
def test_names_are_such_as_servers_accept(verb: str, noun: str, seed: int) -> None:
    rng = random.Random(seed)
    style = draw_style(rng)
    assert re.fullmatch(r"[A-Za-z0-9_.]+", tool_name(verb, noun, style, rng, ()))
    assert re.fullmatch(r"[A-Za-z0-9_]+", write_field(field("place", noun), style, True, rng).key)


def test_a_third_of_the_toolsets_is_masked_and_all_styles_occur() -> None:
    rng = random.Random(1)
    styles = [draw_style(rng) for _ in range(3000)]
    assert 0.3 < sum(style.masked for style in styles) / 3000 < 0.37
    assert {style.names for style in styles} == {"snake", "camel", "dotted", "terse"}


def test_a_tool_is_described_in_many_ways_by_what_it_does() -> None:
    rng = random.Random(1)
    read = {describe_tool("look up", "order", rng, "read", ("price", "start")) for _ in range(300)}
    assert len(read) >= 20
    assert "Looks up an order. Returns the price and the start." in read
    status = {describe_tool("cancel", "hire", rng, "status", ("called off",), "hire code") for _ in range(300)}
    assert len(status) >= 20
    assert all("hire code" in words for words in status)
    change = {describe_tool("move", "visit", rng, "change", ("day", "start time")) for _ in range(300)}
    assert all("day" in words and "start time" in words for words in change)
    assert len({describe_tool("book", "visit", rng, "make", ()) for _ in range(300)}) >= 10


@pytest.mark.parametrize(
    ("noun", "wanted"), [("order", "an"), ("hour", "an"), ("unit", "a"), ("visit", "a"), ("euro", "a")]
)
def test_nouns_have_the_right_article(noun: str, wanted: str) -> None:
    assert article(noun) == wanted


@pytest.mark.parametrize("about", ["before tax is paid", "whether it rains", "all of the guests", "the gate", "size"])
def test_a_description_has_articles_where_english_wants_them(about: str) -> None:
    rng, one = random.Random(1), field("place").model_copy(update={"about": about})
    said = {write_field(one, PLAIN, True, rng).schema["description"] for _ in range(300)}
    assert len(said) >= 8
    for words in said:
        assert "the the" not in words.lower()
        assert not re.search(r"the (before|whether|all)\b", words)
        assert not about.startswith("size") or "pecifies the size" in words or "pecifies" not in words


def test_a_unit_is_said_once() -> None:
    rng = random.Random(1)
    one = field("whole", low=1, high=9, unit="tonnes").model_copy(update={"about": "weight in tonnes"})
    assert all(write_field(one, PLAIN, True, rng).schema["description"].count("tonnes") == 1 for _ in range(100))
