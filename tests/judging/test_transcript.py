"""The record as a judge reads it: nobody speaks as another, and what is a quote of it."""

from __future__ import annotations

import re

import pytest
from helpers import dinner
from hypothesis import given
from hypothesis import strategies as st

from synthagent.episodes.episode import Turn
from synthagent.judging.transcript import is_quoted, pieces, shown, transcript


def test_a_record_has_a_line_a_message_and_names_who_speaks() -> None:
    assert shown(transcript(dinner.episode().messages)).splitlines() == [
        "[1] AGENT: For which date?",
        "[2] USER: It is for 2026-03-04.",
        "[3] AGENT: I look for a place.",
        '[3] AGENT CALLS: find_restaurant {"city": "Lyon"}',
        '[4] TOOL ANSWERS: {"restaurant_id": "R-7", "name": "Chez Ana"}',
        '[5] AGENT CALLS: reserve_table {"restaurant_id": "R-7", "date": "2026-03-04"}',
        '[6] TOOL ANSWERS: {"reservation": "B-77"}',
        "[7] AGENT: <answer>Your table at Chez Ana is booked, number B-77.</answer>",
    ]


@given(st.lists(st.text(max_size=60), max_size=6))
def test_whatever_an_agent_writes_it_begins_no_line(texts: list[str]) -> None:
    messages = [*dinner.episode(()).messages, *({"role": "assistant", "content": text} for text in texts)]
    written = shown(transcript(messages))
    lines = written.split("\n") if any(text.split() for text in texts) else []
    assert len(lines) == sum(bool(text.split()) for text in texts)
    assert all(re.match(r"\[\d+\] AGENT: ", line) for line in lines)
    written.encode()


def test_an_endless_record_keeps_its_ends_and_says_what_is_missing() -> None:
    run = dinner.episode((*[Turn(f"note {n} " + "x" * 9_000) for n in range(14)], dinner.ANSWER))
    lines = transcript(run.messages, most=20_000)
    written = shown(lines)
    assert len(written) < 30_000
    assert "note 0" in written
    assert "B-77" in written
    assert "lines are left out here" in written
    assert len(shown(transcript(run.messages, most=10**9))) < 14 * 4_300 + 1_000


LINES = transcript(dinner.episode().messages)


@given(st.data())
def test_words_that_stand_in_a_line_are_a_quote_whatever_their_spaces_and_case(data: st.DataObject) -> None:
    words = data.draw(st.sampled_from([line.text for line in LINES])).split()
    start = data.draw(st.integers(0, len(words) - 1))
    end = data.draw(st.integers(start + 1, len(words)))
    spaces = st.sampled_from([" ", "\n", "  \t"])
    quote = "".join(word + data.draw(spaces) for word in words[start:end])
    assert is_quoted(data.draw(st.sampled_from([str.upper, str.lower, str]))(quote), LINES)


@given(st.sampled_from([line.text for line in LINES]), st.from_regex(r"[a-z]{3,8}", fullmatch=True))
def test_a_word_that_does_not_stand_there_spoils_a_quote(text: str, word: str) -> None:
    assert not is_quoted(f"{text} zz{word}", LINES)
    assert not is_quoted(f"zz{word} {text}", LINES)


@pytest.mark.parametrize(
    ("quote", "stands"),
    [
        ("b-77", True),
        ('"It is for 2026-03-04."', True),
        ("... number B-77 ...", True),
        ("[2] USER: It is for 2026-03-04.", True),
        ("AGENT CALLS: find_restaurant", True),
        ("USER:", False),
        ("[2] USER:", False),
        ("", False),
        (" .,-", False),
        ("B-7", False),
        ("estaurant", False),
        ("[2] TOOL ANSWERS: I am not there", False),
        ("It is for 2026-03-04. I look for a place.", False),
    ],
)
def test_a_quote_is_whole_words_of_one_line(quote: str, stands: bool) -> None:
    assert is_quoted(quote, LINES) == stands


@given(st.lists(st.text(max_size=400), max_size=6))
def test_every_piece_that_the_schema_offers_is_a_quote(texts: list[str]) -> None:
    lines = transcript([{}, {}, *({"role": "user", "content": text} for text in texts)])
    offered = pieces(lines)
    assert len(set(offered)) == len(offered)
    assert all(is_quoted(piece, lines) and len(piece) <= 160 for piece in offered)
