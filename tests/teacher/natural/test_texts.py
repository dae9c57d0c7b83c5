"""Texts that are put together: what a pattern gives, how seldom it gives the same, which patterns are none."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthagent.teacher.natural.library import load_domains
from synthagent.teacher.natural.texts import fill, is_composed, odd_slots

PATTERNS = sorted(
    {
        pattern
        for domain in load_domains()
        for fields in (*(thing.fields for thing in domain.things), *(lookup.fields for lookup in domain.lookups))
        for field in fields
        if field.kind == "text"
        for pattern in field.of
    }
)


@given(st.sampled_from(PATTERNS), st.integers(0, 2**32))
def test_a_filled_pattern_has_no_slot_left_and_what_stood_around_them(pattern: str, seed: int) -> None:
    text = fill(pattern, random.Random(seed))
    assert not set("{}|") & set(text)
    between = [re.escape(part) for part in re.split(r"\{[^{}]*\}", pattern)]
    assert re.fullmatch(r"[^{}|]+".join(between), text), (pattern, text)
    assert text == fill(pattern, random.Random(seed))


@pytest.mark.parametrize("pattern", [pattern for pattern in PATTERNS if re.search(r"\{(Noun|Last|Town)\}", pattern)])
def test_a_name_seldom_comes_again(pattern: str) -> None:
    rng = random.Random(pattern)
    assert len({fill(pattern, rng) for _ in range(200)}) > 160


def test_words_stand_for_themselves_and_alternatives_for_one_of_them() -> None:
    assert fill("rent", random.Random(0)) == "rent"
    assert not is_composed("rent")
    assert {fill("{leek|plum} {pie|jam}", random.Random(seed)) for seed in range(60)} == {
        "leek pie",
        "leek jam",
        "plum pie",
        "plum jam",
    }


def test_domains_that_ship_have_text_values_in_most_of_the_training_ones_and_hardly_any_that_is_written_out() -> None:
    composed = [pattern for pattern in PATTERNS if is_composed(pattern)]
    assert len(composed) > 0.7 * len(PATTERNS) > 50
    assert [odd for pattern in PATTERNS for odd in odd_slots(pattern)] == []


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("The {Nuon}", "there is no slot {Nuon}; write one of noun, Noun,"),
        ("a {}", "there is no slot {}; write one of"),
        ("{red|red} hat", "the words of {red|red} are to be different"),
        ("{red|} hat", "the words of {red|} are to be different, and none empty"),
        ("{Noun", "a brace is open"),
        ("Noun}", "a brace is open"),
    ],
)
def test_a_slot_that_is_none_is_told_with_its_remedy(pattern: str, told: str) -> None:
    assert any(odd.startswith(told) for odd in odd_slots(pattern))
