"""Requests, questions and replies: right, complete, varied, and true to what they were given."""

from __future__ import annotations

import random
import re
import time
from dataclasses import replace
from string import Formatter

import pytest
from helpers.reader import domains, faults, wishes_of

from synthagent.teacher.natural.details import is_noun
from synthagent.teacher.natural.frames import VOICES, Voice, frames
from synthagent.teacher.natural.language import Detail, SpokenWish, filled, question_of, reply_of, request, voice_of
from synthagent.teacher.natural.phrasing import is_measure, is_sought, plain_phrasing

PERSONAS = (
    "a retired bank teller who sings in bars",
    "an hourly worker",
    "A Political Analyst of the NBA",
    "",
    "图书管理员",
)
BOOK = SpokenWish(
    "book",
    "appointment",
    False,
    (
        Detail("for {}", "Maria Lopez", "patient"),
        Detail("on {}", "next Friday", "day"),
        Detail("at {}", "half past six", "start time"),
    ),
    None,
    "booked",
    "make",
)
WISHES = [wish for domain in domains() for wish in wishes_of(domain)]
CODES = ("QX-107", "RB-218", "SD-329", "TF-431", "VG-542", "WH-653")
SLOTS = {"verb", "doing", "past", "object", "tail", "are"}
OF_A_WISH = ("active", "self", "passive", "measure", "seek", "then", "again")
VALUES = re.compile(
    r"\d|\b(\w+day|january|february|march|april|june|july|august|september|october|november|december|today|tomorrow|tonight"
    r"|two|three|four|five|six|seven|eight|nine|ten|dozen|noon|midnight|morning|evening|o'clock|yes|no doubt)\b",
    re.I,
)


def fits(group: str, wish: SpokenWish) -> bool:
    """Whether a group of frames is used for such a wish."""
    if group in ("seek", "measure"):
        return wish.kind == "look" and is_sought(wish) == (group == "seek") and (group == "seek" or is_measure(wish))
    return wish.kind != "look" or group not in ("self", "passive")


def said(wishes: list[SpokenWish]) -> tuple[str, ...]:
    return tuple(each.surface for wish in wishes for each in wish.details if "{}" in each.say)


def texts(wishes: list[SpokenWish], count: int, voice: Voice | None = None, seed: int = 7) -> list[str]:
    rng = random.Random(seed)
    return [
        request(wishes, voice or voice_of(persona, rng), persona, rng)
        for persona in (PERSONAS[n % len(PERSONAS)] for n in range(count))
    ]


def test_there_are_at_least_two_hundred_frames_and_hardly_any_twice() -> None:
    read = frames().groups
    written = [
        frame
        for name, group in read.items()
        if name not in ("greeting", "told", "joint")
        for frame in set().union(*group.values())
    ]
    assert len(set(written)) >= 200
    for group in read.values():
        for voice, of_voice in group.items():
            assert len(set(of_voice)) == len(of_voice), voice


def test_a_frame_says_nothing_that_could_be_a_value() -> None:
    for name, group in frames().groups.items():
        for frame in set().union(*group.values()):
            if name != "greeting":
                assert not VALUES.search(frame.replace("good day", "")), frame


@pytest.mark.parametrize("group", OF_A_WISH)
def test_a_reader_finds_no_fault_in_any_frame_with_any_verb_and_noun(group: str) -> None:
    wishes = {(wish.verb, wish.noun): replace(wish, details=wish.details[:1]) for wish in WISHES if fits(group, wish)}
    assert wishes
    for frame in set().union(*frames().groups[group].values()):
        assert {slot for _, slot, _, _ in Formatter().parse(frame) if slot} <= SLOTS
        for wish in wishes.values():
            text = filled(frame, plain_phrasing(wish))
            assert faults(text[0].upper() + text[1:], said([wish])) == []


BAD = """I want a apple.|An book, please.|Is it an unicorn?|I need a hour.|Hello  there.|Book it|So so.
It is on on Friday.|Could you do it.|hello.|Yes. and more.
Do {verb} it.|It are mine.|What ?|Book my a visit.|Tell me on at noon.|Thanks..
Hello, can you help.|Please book an SMS package and a MRI."""


@pytest.mark.parametrize("text", re.split(r"[|\n]", BAD))
def test_the_reader_sees_faults(text: str) -> None:
    assert faults(text)


@pytest.mark.parametrize("voice", VOICES)
def test_a_request_says_every_detail_once_and_is_written_as_sentences_are(voice: Voice) -> None:
    rng = random.Random(3)
    for wish in WISHES:
        for persona in PERSONAS:
            text = request([wish], voice, persona, rng)
            for surface in said([wish]):
                assert len(re.findall(rf"(?<!\w){re.escape(surface)}(?!\w)", text)) == said([wish]).count(surface), text
            for each in wish.details:
                assert "{}" in each.say or each.say in text
            assert faults(text, said([wish])) == []
            assert wish.report is None or (wish.report if is_noun(wish.report) else "result") in text.lower()
            assert len(re.findall(r"[.!?](?: |$)", text)) <= 4, text


def test_several_wishes_are_all_said_in_their_order() -> None:
    rng = random.Random(4)
    for count in (2, 2, 3, 3, 4, 6):
        for _ in range(60):
            wishes = rng.sample(WISHES, count)
            if len(set(said(wishes))) < len(said(wishes)):
                wishes = [
                    SpokenWish(w.verb, w.noun, w.owner, (Detail("number {}", CODES[n]),), w.report, w.past, w.kind)
                    for n, w in enumerate(wishes)
                ]
            for voice in VOICES:
                text = request(wishes, voice, "a nurse", rng)
                whole = [re.findall(rf"(?<!\w){re.escape(surface)}(?!\w)", text) for surface in said(wishes)]
                assert [len(found) for found in whole] == [1] * len(whole), text
                assert faults(text, said(wishes)) == []
                first = [wish.details[0].surface for wish in wishes if "{}" in wish.details[0].say]
                found = [re.search(rf"(?<!\w){re.escape(surface)}(?!\w)", text) for surface in first]
                places = [match.start() for match in found if match]
                assert places == sorted(places), text


def test_the_same_wish_for_several_things_is_not_always_said_in_full() -> None:
    rng = random.Random(4)
    wishes = [
        SpokenWish("track", "parcel", False, (Detail("number {}", code),), None, "tracked", "look")
        for code in ("A-1", "B-2")
    ]
    written = [request(wishes, "plain", "", rng) for _ in range(100)]
    assert any("track" not in text.partition("A-1")[2] for text in written)
    assert all("A-1" in text and "B-2" in text for text in written)


def test_nothing_is_said_that_was_not_given() -> None:
    for text in texts([BOOK], 3000):
        for surface in said([BOOK]):
            text = text.replace(surface, "_")
        assert not VALUES.search(text.replace("Good day", "")), text


def test_what_a_thing_gets_is_told_from_what_it_is_known_by() -> None:
    move = SpokenWish(
        "move",
        "visit",
        True,
        (Detail("on {}", "Monday", "day"), Detail("on {}", "Thursday", "day", new=True)),
        None,
        "moved",
    )
    new = re.compile(r"to Thursday|(is|be|make it) on Thursday|new day:? [a-z ]*Thursday|as the new day", re.I)
    for text in texts([move], 800):
        assert new.search(text), text
        assert "isit on Monday" in text, text


def test_two_thousand_requests_of_a_wish_are_mostly_different() -> None:
    assert len(set(texts([BOOK], 2000))) >= 1200
    for voice in VOICES:
        assert len(set(texts([BOOK], 2000, voice))) >= 1200


def test_each_voice_differs_from_the_others() -> None:
    by_voice = {voice: texts([BOOK], 500, voice) for voice in VOICES}
    for voice, written in by_voice.items():
        others = {text for other, several in by_voice.items() if other != voice for text in several}
        assert len(set(written) & others) <= 10, voice
    words = {voice: sum(len(text.split()) for text in written) for voice, written in by_voice.items()}
    assert words["terse"] < min(words[voice] for voice in VOICES if voice != "terse")
    assert any("'" in text for text in by_voice["chatty"])
    assert not any("'" in text for text in by_voice["formal"])


def test_the_same_generator_gives_the_same_text() -> None:
    assert texts([BOOK], 200) == texts([BOOK], 200)
    assert texts([BOOK], 200) != texts([BOOK], 200, seed=8)


def test_a_persona_leads_to_a_voice_and_shows_now_and_then() -> None:
    rng = random.Random(1)
    heard = [voice_of("a retired notary", rng) for _ in range(1000)]
    assert heard.count("formal") > 500
    assert set(heard) == set(VOICES)
    assert any("a bank teller" in text or "a retired bank teller" in text for text in texts([BOOK], 100))
    assert all("  " not in text and "I am ," not in text for text in texts([BOOK], 300))


def test_a_surface_that_a_frame_or_persona_would_say_too_is_said_once() -> None:
    rng = random.Random(2)
    for surface in ("one", "I mean", "tea merchant", "please", "details", "help"):
        wish = SpokenWish("order", "box", False, (Detail("labelled {}", surface, "label"),), None, "ordered", "make")
        for _ in range(100):
            text = request([wish], voice_of("", rng), "a tea merchant", rng)
            assert len(re.findall(rf"\b{surface}\b", text)) == 1, text


def test_a_value_that_is_part_of_another_word_is_no_reason_to_write_again() -> None:
    length = (Detail("for {} days", "ten", "length", new=True),)
    wish = SpokenWish("shorten", "tenancy", True, length, None, "shortened", "change")
    written = texts([wish], 200)
    assert len(set(written)) > 100
    assert all(faults(text) == [] and re.search(r"\bten\b", text) for text in written)


def test_what_a_day_or_value_needs_before_it_is_right() -> None:
    rng = random.Random(2)
    for say, surface, phrase in (
        ("on {}", "tomorrow", "tomorrow"),
        ("on {}", "the 14th", "on the 14th"),
        ("for {}", "next Friday", "for next Friday"),
        ("for {}", "in two weeks", "in two weeks"),
        ("for a {}", "implant", "for an implant"),
        ("in a {} box", "the blue", "in the blue box"),
        ("for {} people", "one", "for one person"),
        ("with {}", "a cat", "with a cat"),
    ):
        replies = {reply_of(Detail(say, surface), "plain", rng) for _ in range(50)}
        assert f"I would say {phrase}." in replies or f"{phrase[0].upper()}{phrase[1:]}." in replies


@pytest.mark.parametrize("voice", VOICES)
def test_a_reply_says_the_value_verbatim_in_many_ways(voice: Voice) -> None:
    rng = random.Random(6)
    for wish in WISHES:
        for each in wish.details:
            text = reply_of(each, voice, rng)
            assert (each.surface if "{}" in each.say else each.say.partition(" ")[2]) in text, text
            assert faults(text, (each.surface,)) == []
    assert len({reply_of(Detail("on {}", "next Friday", "day"), voice, rng) for _ in range(100)}) >= 5


def test_an_agent_asks_for_one_thing_or_several_in_many_ways() -> None:
    rng = random.Random(6)
    for ask in (
        "which day",
        "what time",
        "whose name it is under",
        "what the deposit is",
        "how many people",
        ("which day", "what time"),
    ):
        asked = {question_of(ask, rng) for _ in range(200)}
        assert len(asked) >= 6
        for text in asked:
            assert text.endswith("?")
            assert faults(text) == []
            for part in (ask,) if isinstance(ask, str) else ask:
                assert part in text.lower()


def test_a_request_is_written_in_less_than_half_a_millisecond() -> None:
    texts([BOOK], 100)
    before = time.process_time()
    texts([BOOK], 1000)
    assert time.process_time() - before < 0.5
