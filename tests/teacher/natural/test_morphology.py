"""Articles, plurals, gerunds."""

from __future__ import annotations

import re

import pytest

from synthagent.teacher.natural.morphology import a, gerund, is_plural, plural, singular

NOUNS = """an apple, a book, an hour, a one-way ticket, a European train, an SUV, a USB stick, an MRI scan, a union card
an honest man, an 8-seat van, an 11 o'clock slot, an 18-hole course, a 10 kg bag, an umbrella, a user
a university course, an 80-page book, a 118-page book, an X-ray, an e-mail"""


@pytest.mark.parametrize("noun", re.split(r", |\n", NOUNS))
def test_the_article_follows_the_sound(noun: str) -> None:
    assert a(noun.split(" ", 1)[1]) == noun


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("table booking", "table bookings"),
        ("check-up", "check-ups"),
        ("number of teeth", "numbers of teeth"),
        ("bus", "buses"),
        ("person", "people"),
        ("delivery", "deliveries"),
    ],
)
def test_a_noun_has_a_plural_which_is_known_as_one(one: str, many: str) -> None:
    assert plural(one) == many
    assert is_plural(many)
    assert not is_plural(one)


@pytest.mark.parametrize("noun", ["status", "address", "bus pass", "analysis", "number of guests", "time", "class"])
def test_a_singular_that_looks_like_a_plural_is_none(noun: str) -> None:
    assert not is_plural(noun)


def test_one_of_several() -> None:
    assert [singular(noun) for noun in ("people", "teeth", "minutes", "class")] == [
        "person",
        "tooth",
        "minute",
        "class",
    ]


@pytest.mark.parametrize(
    ("verb", "past", "doing"),
    [
        ("cancel", "cancelled", "cancelling"),
        ("cancel", "canceled", "canceling"),
        ("move", "moved", "moving"),
        ("call off", "called off", "calling off"),
        ("stop", "stopped", "stopping"),
        ("put off", "put off", "putting off"),
        ("free", "freed", "freeing"),
        ("tie up", "tied up", "tying up"),
        ("find", "found", "finding"),
        ("pay", "paid", "paying"),
        ("look up", "looked up", "looking up"),
        ("enter", "entered", "entering"),
        ("see", "seen", "seeing"),
    ],
)
def test_the_gerund_of_a_verb_with_or_without_a_particle(verb: str, past: str, doing: str) -> None:
    assert gerund(verb, past) == doing
