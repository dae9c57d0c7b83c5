"""The embedded user says what was asked, and nothing else."""

from __future__ import annotations

import pytest
from helpers.tasks import accepted_tasks
from hypothesis import given
from hypothesis import strategies as st

from synthagent.episodes.scripted import CONFIRMATIONS, QUESTIONS
from synthagent.episodes.user import CONFIRM, DOES_NOT_KNOW, NEXT, reply, told
from synthagent.worlds import Fact

FACTS = (
    Fact(slot="loan_id", value="C36", phrase="the loan_id is C36"),
    Fact(slot="day", value="Mon", phrase="the day is Mon"),
    Fact(slot=CONFIRM, value="yes", phrase="yes, go ahead"),
)


@pytest.mark.parametrize(
    ("question", "slots"),
    [
        ("What is the loan_id?", {"loan_id"}),
        ("Which loan code do you have?", {"loan_id"}),
        ("LOAN NUMBER, please!", {"loan_id"}),
        ("On what date?", {"day"}),
        ("Do you confirm?", {CONFIRM}),
        ("Are you sure?", {CONFIRM}),
        ("Loan id and day?", {"loan_id", "day"}),
        ("What is the loan?", set()),
        ("Which id?", set()),
        ("Tell me everything you know.", set()),
        ("", set()),
    ],
)
def test_a_question_tells_the_facts_it_asks_for(question: str, slots: set[str]) -> None:
    assert set(told(FACTS, reply(FACTS, question))) == slots


def test_a_user_who_is_asked_nothing_known_says_so() -> None:
    assert reply(FACTS, "What is the weather?") == DOES_NOT_KNOW
    assert reply((), "What is the loan_id?") == DOES_NOT_KNOW


def test_several_facts_make_one_sentence() -> None:
    assert reply(FACTS, "What are the loan_id and the day?") == "The loan_id is C36, and the day is Mon."


def test_what_was_told_is_read_off_the_words_whoever_wrote_them() -> None:
    assert told(FACTS, "Sure: it's for mon, and my code is c36!") == {"loan_id": "C36", "day": "Mon"}
    assert told(FACTS, "It is C367 on Monday.") == {}


def test_a_refusal_is_told_as_no() -> None:
    facts = (Fact(slot=CONFIRM, value="no", phrase="no, leave it"),)
    assert told(facts, reply(facts, "Please confirm.")) == {CONFIRM: "no"}
    assert told(facts, DOES_NOT_KNOW) == {}


@given(st.text(max_size=60))
def test_a_reply_holds_nothing_but_the_facts_own_words(question: str) -> None:
    said = reply(FACTS, f"zqx {question} zqx")
    known = {"i don't know that", *(fact.phrase.lower() for fact in FACTS)}
    assert set(said.lower().removesuffix(".").split(", and ")) <= known


def test_the_teachers_questions_are_understood_in_all_its_tasks_and_only_what_was_asked_is_told() -> None:
    for task in accepted_tasks():
        for fact in task.facts:
            for form in CONFIRMATIONS if fact.slot == CONFIRM else QUESTIONS:
                said = reply(task.facts, form.format(slot=fact.slot))
                assert told(task.facts, said) == {fact.slot: fact.value}, (task.id, said)


def test_the_next_request_is_made_once_the_message_tells_what_was_wanted_first() -> None:
    facts = (Fact(slot=NEXT, value="Thanks! Could you book it?", phrase="Thanks! Could you book it?"),)
    assert reply(facts, "What is the next_request? What is next?", goes_on=("12.5",)) == DOES_NOT_KNOW
    assert reply(facts, "It costs 12.5 euros.", goes_on=("12.5", "blue")) == DOES_NOT_KNOW
    assert reply(facts, "The blue one costs 12.5.", goes_on=("12.5", "blue")) == "Thanks! Could you book it?"
    assert reply(facts, "It costs 12.5 euros.") == DOES_NOT_KNOW
