"""Rules in prose: they name what they are about, once and verbatim, and read like sentences."""

from __future__ import annotations

import random
import re
from datetime import date, timedelta
from typing import get_args

import pytest

from synthagent.teacher.natural.policy import neutral, opening, prose, wordings
from synthagent.teacher.rules import RuleKind

KINDS = get_args(RuleKind)
WHY = "the day's list is printed the evening before"


def rules(kind: RuleKind, why: str, noun: str = "order") -> list[str]:
    rng = random.Random(5)
    return [prose(kind, "f7", "on hold", why, rng, noun=noun) for _ in range(400)]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_rule_has_at_least_six_wordings_and_several_ways_to_give_a_reason(kind: RuleKind) -> None:
    assert len(set(rules(kind, ""))) >= 6
    assert len(set(rules(kind, WHY))) >= 36


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("why", ["", WHY])
def test_a_rule_names_its_tool_once_and_what_decides_and_why(kind: RuleKind, why: str) -> None:
    for text in rules(kind, why):
        assert len(re.findall(r"\bf7\b", text)) == 1, text
        assert ("on hold" in text) == (kind in ("check", "status", "limit")), text
        assert why.lower() in text.lower(), text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("why", ["", WHY])
def test_a_rule_is_written_as_sentences_are(kind: RuleKind, why: str) -> None:
    for text in rules(kind, why):
        assert re.match(r"[A-Z].*\.$", text), text
        assert not re.search(r"[{}]|  |\.\.|\ba [aeo]|\ban [^aeo]|\b(\w+) \1\b|\. [a-z]", text), text
        assert not text.startswith("F7"), "a tool's name is never changed"


def test_a_rule_that_turns_on_what_is_seen_tells_to_look() -> None:
    for kind in ("check", "status", "limit"):
        for text in rules(kind, ""):
            assert re.search(r"look|see", text), text


def test_the_opening_says_where_and_a_date_that_cannot_be_misread() -> None:
    rng = random.Random(1)
    told = [
        opening("the front desk of a dental clinic", date(2026, 3, 1) + timedelta(days=n % 61), rng) for n in range(600)
    ]
    for text in told:
        assert "the front desk of a dental clinic" in text
        assert re.search(r"2026-0[345]-\d\d", text) or re.search(r"March|April", text), text
        assert not re.search(r"\d/\d|\d\.\d|[{}]", text), text
    days = {opening("x", date(2026, 3, 10), random.Random(n)) for n in range(400)}
    assert len(days) > 40
    assert all("Tuesday" in text for text in days)
    assert any("the 22nd of March 2026" in opening("x", date(2026, 3, 22), random.Random(n)) for n in range(60))


def test_rules_that_do_not_matter_differ_and_touch_no_act() -> None:
    assert len(set(neutral(20, random.Random(3)))) == 20
    for text in wordings().neutral:
        assert re.match(r"[A-Z].*\.$", text)
        assert not re.search(
            r"\b(tool|tools|confirm|status|call|look up|first|ask the user|cancel|book|price)\b", text
        ), text


def test_the_same_generator_gives_the_same_policy() -> None:
    assert rules("check", WHY) == rules("check", WHY)
    assert neutral(5, random.Random(2)) == neutral(5, random.Random(2))
