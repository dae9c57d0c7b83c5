"""What a request says for each value is found again, whatever its form; and whether other words keep it is seen."""

from __future__ import annotations

from datetime import date
from random import Random

import pytest
from helpers.projects import default_params

from synthagent.stages.personas import built_in
from synthagent.teacher.natural.library import load_domains
from synthagent.teacher.natural.policy import opening
from synthagent.teacher.natural.sample import fresh_tasks
from synthagent.teacher.natural.spoken import Surface, numbers_in, surfaces_of, survive, today_of
from synthagent.text import contains_phrase

DOMAINS = {domain.name: domain for domain in load_domains()}
TASKS = [group[0] for group in fresh_tasks(150, 3, None, list(built_in()), default_params().tasks).groups]


def test_the_day_is_read_from_every_opening() -> None:
    for seed in range(200):
        rng = Random(seed)
        day = date(2026, 1 + seed % 12, 1 + seed % 28)
        assert today_of(opening("a shop", day, rng)) == day
    assert today_of("It is some day.") is None


def test_nearly_all_requests_say_their_values_in_words_that_are_found() -> None:
    found = [surfaces_of(task, DOMAINS[task.domain]) for task in TASKS]
    assert sum(some is not None for some in found) > 0.9 * len(TASKS)
    for task, some in zip(TASKS, found, strict=True):
        assert all(contains_phrase(task.instruction, surface.words) for surface in some or [])
    words = {surface.words for some in found for surface in some or [] if surface.words != str(surface.canonical)}
    assert len(words) > 50, "said otherwise than tools want it"


FRIDAY, TWO = Surface("next Friday", "2026-03-13"), Surface("two", 2)
BEFORE = "Book a table for two next Friday."


@pytest.mark.parametrize(
    ("after", "kept"),
    [
        ("Next Friday I need a table, for two!", True),
        ("A table for 2 on 2026-03-13, please.", True),
        ("A table for two on Friday.", False),
        ("A table next Friday.", False),
        ("A table for two, no, for two more, next Friday.", False),
    ],
)
def test_a_value_is_kept_in_its_words_or_as_tools_want_it_and_as_often(after: str, kept: bool) -> None:
    assert survive([FRIDAY, TWO], BEFORE, after, in_order=False) is kept


def test_a_value_that_is_gone_is_not_taken_for_another_that_is_the_same_number() -> None:
    six = Surface("half a dozen", 6)
    before = "Tickets for half a dozen adults and 6 children."
    assert not survive([six], before, "Tickets for adults and 6 children.", in_order=False)
    assert survive([six], before, "Tickets for 6 adults and 6 children.", in_order=False)


def test_values_of_several_calls_have_to_stay_in_their_order() -> None:
    some = [Surface("Paris", "Paris"), Surface("two", 2), Surface("Rome", "Rome"), Surface("three", 3)]
    before = "The weather in Paris in two days, and in Rome in three."
    assert survive(some, before, "Paris in two days and Rome in three: what weather?", in_order=True)
    assert not survive(some, before, "The weather in Paris in three days, and in Rome in two.", in_order=True)


@pytest.mark.parametrize(
    ("canonical", "after", "kept"),
    [
        (True, "With it, true.", False),
        (["eggs", "milk"], "milk plus eggs", True),
        (["eggs", "milk"], "milk", False),
        ({"first_name": "Ana", "last_name": "Silva"}, "Silva, Ana", True),
    ],
)
def test_a_value_of_parts_is_kept_if_all_parts_are(canonical: object, after: str, kept: bool) -> None:
    assert survive([Surface("other words", canonical)], "other words", after, in_order=False) is kept


def test_numbers_are_words_with_a_digit() -> None:
    assert numbers_in("Row A7, at 5:30 for two") == {"a7", "5", "30"}
