"""Text from outside: what is kept of it, how it is shown, and which words stand in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthagent.text import clean, clean_value, contains_phrase, words_of


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
