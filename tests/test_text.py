"""Text from outside: what is kept of it, how it is shown, and which words stand in it."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthagent.text import MOST_CHARACTERS, clean, clean_value, contains_phrase, json_text, visible, words_of


@given(st.text(alphabet=st.characters()))
def test_clean_text_can_be_kept_and_is_left_alone(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert "\x00" not in once.encode().decode()
    assert clean_value({text: [text, 1, None]}) == {once: [once, 1, None]}


words = st.text(alphabet="abcxyz09_", min_size=1, max_size=4)
phrases = st.lists(words, min_size=1, max_size=3).map(" ".join)
gaps = st.sampled_from([" ", ", ", "\n", "-", "<b>", "! "])


@given(st.lists(words, max_size=3), phrases, st.lists(words, max_size=3), gaps)
def test_a_phrase_is_found_wherever_its_words_stand_in_a_row(
    before: list[str], phrase: str, after: list[str], gap: str
) -> None:
    text = gap.join([*before, phrase.upper(), *after])
    assert contains_phrase(f"{text}.", phrase)


@given(phrases, words)
def test_a_phrase_is_not_found_inside_longer_words(phrase: str, more: str) -> None:
    assert not contains_phrase(f"q{phrase}q", f"{phrase}")
    assert not contains_phrase(phrase, f"{phrase} {more}")


@pytest.mark.parametrize("value", ["C36", "3.50", "Zoë", "北京", "Ελλάδα", "a_b"])
def test_a_value_in_any_script_is_found_as_a_whole(value: str) -> None:
    assert contains_phrase(f"It is {value}, I think.", value)
    assert not contains_phrase(f"It is {value}x, I think.", value)
    assert words_of(value)


def test_what_cannot_be_seen_is_shown_as_an_escape_and_line_ends_stay() -> None:
    assert visible("a\x1b[31m\u202eb\n\tc\u200d\r") == "a\\x1b[31m\\u202eb\n\\tc\\u200d\\r"
    assert visible("Zoë, 北京 \U0001f600\n") == "Zoë, 北京 \U0001f600\n"


@given(st.text(alphabet=st.characters()))
def test_no_text_reaches_a_terminal_with_a_control_character(text: str) -> None:
    assert all(c == "\n" or unicodedata.category(c)[0] != "C" for c in visible(text))


def test_clean_text_has_an_end_and_halves_of_one_character_are_joined() -> None:
    assert len(clean("x" * (MOST_CHARACTERS + 1))) == MOST_CHARACTERS
    assert clean("a\x00b \ud83d\ude00 \ud800") == "a\ufffdb \U0001f600 \ufffd"


def test_a_number_is_not_found_inside_another_one() -> None:
    assert contains_phrase("it comes to -1.5 degrees", "-1.5")
    assert not contains_phrase("it comes to -1.5 degrees", "1.5")
    assert not contains_phrase("Done 37.5", "37")
    assert contains_phrase("37.", "37")
    assert words_of("on 2026-03-13, K-17 at 7:15") == ["on", "2026", "03", "13", "k", "17", "at", "7", "15"]


@given(st.recursive(st.text(st.characters()) | st.integers() | st.none(), lambda inner: st.lists(inner, max_size=4)))
def test_json_says_letters_as_they_are_can_be_kept_and_reads_back(value: object) -> None:
    text = json_text(value)
    assert json.loads(text) == value
    text.encode()


def test_a_letter_is_no_escape_in_json_but_half_a_character_is() -> None:
    assert json_text({"city": "Córdoba"}) == '{"city": "Córdoba"}'
    assert json_text(["é", "\ud800"]) == '["\\u00e9", "\\ud800"]'
