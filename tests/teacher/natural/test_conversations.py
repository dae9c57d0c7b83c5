"""What is said where a request depends on something, or comes after another: right, complete, in many ways."""

from __future__ import annotations

import random
import re
from string import Formatter

import pytest
from helpers.reader import domains, faults, wishes_of

from synthagent.teacher.natural.conversations import (
    Proviso,
    Side,
    conditional,
    first_request,
    next_request,
    report,
    with_it,
)
from synthagent.teacher.natural.frames import VOICES, Voice, frames
from synthagent.teacher.natural.language import Detail, SpokenWish

WISHES = [wish for domain in domains() for wish in wishes_of(domain)]
CHANGES = [wish for wish in WISHES if wish.kind == "change"]
OPEN = Detail("the status is {}", "open", "status")
PRICE = Detail("for {}", "120 euros", "price")
GUESTS = Detail("for {} guests", "three", "guests")
MOVE = SpokenWish(
    "put off",
    "visit",
    True,
    (Detail("for {}", "Ana Lopez", "patient"), Detail("on {}", "next Friday", "day", new=True)),
    past="put off",
    kind="change",
)
CANCEL = SpokenWish("cancel", "visit", True, (), past="cancelled", kind="change")


def count(surface: str, text: str) -> int:
    return len(re.findall(rf"(?<!\w){re.escape(surface)}(?!\w)", text))


def test_there_are_six_frames_in_each_voice_for_what_depends_and_what_follows() -> None:
    for group in ("condition", "leave", "more", "heard"):
        for voice in VOICES:
            assert len(frames().groups[group][voice]) >= 6, (group, voice)
    assert len(frames().groups["tell"]["plain"]) >= 6


def test_a_condition_names_the_thing_once_and_says_what_else_is_to_be_done() -> None:
    for voice in VOICES:
        for frame in frames().groups["condition"][voice]:
            slots = [slot for _, slot, _, _ in Formatter().parse(frame) if slot]
            assert sorted(slots).count("other") == 1
            assert slots.count("object") + slots.count("whose") == 1
            assert slots.count("its") == slots.count("object")
            assert slots.count("it_done") + slots.count("tail") == 1


@pytest.mark.parametrize("voice", VOICES)
def test_a_conditional_request_is_written_as_sentences_are_and_says_each_value_once(voice: Voice) -> None:
    rng = random.Random(5)
    for wish in [*CHANGES, MOVE]:
        for clause in (Proviso(OPEN, "eq"), Proviso(PRICE, "le"), Proviso(GUESTS, "ge")):
            for instead in (None, CANCEL):
                text = conditional(wish, clause, instead, voice, "a retired bank teller", rng)
                said = [each.surface for each in (*wish.details, clause.detail) if "{}" in each.say]
                assert faults(text, tuple(said)) == []
                assert all(count(surface, text) == said.count(surface) for surface in said), text
                assert instead is None or "cancel it" in text or "cancel them" in text


@pytest.mark.parametrize("op", ["eq", "ne", "le", "ge"])
def test_how_a_value_compares_is_said_in_several_ways(op: Side) -> None:
    rng = random.Random(1)
    texts = [conditional(MOVE, Proviso(PRICE, op), None, "plain", "", rng) for _ in range(200)]
    relation = re.compile(r"(?:price|visit for Ana Lopez) (is[a-z ]*120 euros(?: or \w+)?)")
    said = {match[1] for text in texts if (match := relation.search(text))}
    assert len(said) >= 2
    assert all(("not" in way or "but" in way or "other" in way) == (op == "ne") or op in ("le", "ge") for way in said)
    assert len(set(texts)) > 100


def test_a_verb_of_two_words_takes_its_object_between_them_where_it_has_to() -> None:
    assert with_it("cancel", "it") == "cancel it"
    assert with_it("put off", "it") == "put it off"
    assert with_it("bring forward", "them") == "bring them forward"
    assert with_it("subscribe to", "it") == "subscribe to it"
    texts = [conditional(MOVE, Proviso(OPEN, "eq"), None, "plain", "", random.Random(n)) for n in range(60)]
    assert any("put it off" in text for text in texts)
    assert not any("put off it" in text for text in texts)


@pytest.mark.parametrize("voice", VOICES)
def test_a_first_request_says_that_there_is_more_and_takes_no_leave(voice: Voice) -> None:
    rng = random.Random(2)
    goodbyes = frames().groups["closing"][voice]
    for wish in WISHES:
        text = first_request(wish, voice, "an hourly worker", rng)
        surfaces = tuple(each.surface for each in wish.details if "{}" in each.say)
        assert faults(text, surfaces) == []
        assert any(more.lower() in text.lower() for more in frames().groups["more"][voice])
        assert not any(text.lower().endswith(f" {goodbye}") for goodbye in goodbyes)


@pytest.mark.parametrize("voice", VOICES)
def test_the_next_request_says_each_value_once(voice: Voice) -> None:
    rng = random.Random(3)
    for wish in WISHES:
        text = next_request(wish, voice, rng)
        surfaces = [each.surface for each in wish.details if "{}" in each.say]
        assert faults(text, tuple(surfaces)) == []
        assert all(count(surface, text) == surfaces.count(surface) for surface in surfaces), text


def test_the_agent_reports_a_value_in_many_ways() -> None:
    rng = random.Random(4)
    told = {report("delivery fee", "12.5", rng) for _ in range(100)}
    assert len(told) >= 6
    assert all("12.5" in text and "delivery fee" in text and faults(text, ("12.5",)) == [] for text in told)
    assert all("result" in report("lands at", "18:30", rng) for _ in range(10))
