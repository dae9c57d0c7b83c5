"""The simulated user: what it is told, and what is measured of what it says."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_openai import serving
from helpers.simulated import FACTS, params_for, simulated_task
from helpers.tasks import accepted_tasks
from hypothesis import given
from hypothesis import strategies as st

from synthagent.episodes.environment import ModelEnvironment
from synthagent.episodes.episode import Episode, aplay
from synthagent.episodes.mapping import Mappings
from synthagent.episodes.scripted import CONFIRMATIONS, QUESTIONS
from synthagent.episodes.simulated_user import faults_of
from synthagent.episodes.turn import Question, Turn
from synthagent.episodes.user import CONFIRM, reply
from synthagent.episodes.world import UserEvent
from synthagent.llm.client import Llm
from synthagent.worlds import Fact

TASK = simulated_task()
TRIP = (
    Fact(slot="party_size", value="4", phrase="we are 4 people"),
    Fact(slot="hotel", value="Blue Heron", phrase="the hotel is the Blue Heron"),
    Fact(slot="price_limit", value="1,200 dollars", phrase="at most 1,200 dollars"),
    Fact(slot="arrival", value="Mon", phrase="we arrive on Mon"),
)
ASKED = "How many people are in your party?"


def faults(question: str, said: str, *before: UserEvent, facts: Any = TRIP) -> tuple[str, ...]:
    return faults_of(facts, "Please book a room in Lisbon.", question, said, before)


# --- faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (ASKED, "We are 4 people."),
        (ASKED, "There will be 4 of us, thank you!"),
        (ASKED, "I don't know that."),
        ("What is the party size and the arrival day?", "We are 4 people and arrive on Monday."),
        ("Which hotel do you want?", "The Blue Heron, please."),
        ("Which hotel do you want?", 'It is "Blue Heron".'),
        ("What is your budget? Any price limit?", "At most $1200."),
        ("Where is it?", "It is in Lisbon."),
        ("Is the room for Ms Ortega, number 17?", "I don't know about Ms Ortega, or number 17."),
        ("Anything else I should know?", "We arrive on Mon."),
        ("Please go on.", "OK. Yes, I'm sure."),
    ],
)
def test_a_reply_from_the_facts_to_what_was_asked_has_no_fault(question: str, said: str) -> None:
    assert faults(question, said) == ()


@pytest.mark.parametrize(
    ("question", "said", "found"),
    [
        (ASKED, "We are 4, and the hotel is the Blue Heron.", ("unasked",)),
        (ASKED, "The hotel is the Blue Heron.", ("unasked",)),
        ("Anything else?", "We arrive on Mon, 4 of us.", ("unasked",)),
        (ASKED, "We are 5 people.", ("invented",)),
        (ASKED, "We are 4 people, with reference QX-7.", ("invented",)),
        ("Which hotel do you want?", "The one near Alfama.", ("invented",)),
        ("Which hotel do you want?", 'I said "the green door".', ("invented",)),
        ("What is the price limit?", "At most 1,300 dollars.", ("invented",)),
        (ASKED, "", ("early_end",)),
        (ASKED, " ... ", ("early_end",)),
        (ASKED, "We are 4 people, goodbye!", ("early_end",)),
        (ASKED, "That's all, have a nice day.", ("early_end",)),
        (ASKED, "Ask Maria at 7, we arrive on Mon, bye.", ("unasked", "invented", "early_end")),
    ],
)
def test_what_a_reply_should_not_say_is_found(question: str, said: str, found: tuple[str, ...]) -> None:
    assert faults(question, said) == found


def test_what_was_told_before_may_be_said_again_and_what_was_said_before_is_not_invented() -> None:
    before = UserEvent("Is room 17 fine?", "The Blue Heron, please.", {"hotel": "Blue Heron"})
    assert faults(ASKED, "As I said, the Blue Heron, room 17; we are 4.", before) == ()


def test_a_goodbye_is_none_too_early_once_everything_is_told() -> None:
    told = {fact.slot: fact.value for fact in TRIP}
    assert faults("Thanks, anything else?", "That's all, goodbye.", UserEvent("?", "-", told)) == ()


def test_the_embedded_user_is_never_at_fault() -> None:
    for task in accepted_tasks()[:150]:
        for fact in task.facts:
            for form in CONFIRMATIONS if fact.slot == CONFIRM else QUESTIONS:
                question = form.format(slot=fact.slot)
                said = reply(task.facts, question)
                assert faults_of(task.facts, task.instruction, question, said) == (), (question, said)


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_text_whatsoever_breaks_the_measurement(question: str, said: str) -> None:
    assert set(faults(question, said)) <= {"unasked", "invented", "early_end"}


# --- over HTTP ------------------------------------------------------------------------------------------------------


def ask(folder: Path, answer: Any, *questions: str) -> tuple[Episode, list[dict[str, Any]], dict[str, Any]]:
    """Put questions to a model that answers `answer`, in one episode."""
    with serving(lambda body: answer) as server:
        params = params_for(folder, server.base_url, "user")
        llm = Llm(params, folder / "llm")
        environment = ModelEnvironment(params, llm, Mappings())

        async def whole() -> Episode:
            try:
                return await aplay(Episode(TASK, environment), map(Turn, questions))
            finally:
                await llm.close()

        episode = asyncio.run(whole())
        return episode, server.requests, environment.metrics()["user_faults"]


def test_a_reply_is_recorded_with_what_it_told(tmp_path: Path) -> None:
    said = json.dumps({"reply": "The order\n is  A17."})
    episode, (request,), metrics = ask(tmp_path, said, "Which order is it?")
    assert episode.messages[-1] == {"role": "user", "content": "The order is A17."}
    assert episode.world.events == [UserEvent("Which order is it?", "The order is A17.", {"order_id": "A17"})]
    prompt = request["messages"][1]["content"]
    assert all(text in prompt for text in (TASK.instruction, FACTS[0].phrase, FACTS[1].value, "Which order is it?"))
    assert episode.end is None
    assert metrics == {"replies": 1, "unasked": 0, "invented": 0, "early_end": 0, "episodes": 0}


def test_the_model_sees_the_conversation_so_far(tmp_path: Path) -> None:
    _, requests, _ = ask(tmp_path, '{"reply": "I don\'t know that."}', "Which colour?", "Which size?")
    assert "assistant: Which colour?\nyou: I don't know that." in requests[1]["messages"][1]["content"]


def test_a_faulty_reply_ends_the_episode_which_says_so(tmp_path: Path) -> None:
    episode, requests, metrics = ask(tmp_path, '{"reply": "It is B99."}', "Which order is it?", "Really?")
    trajectory = episode.trajectory("me")
    assert (trajectory.end, trajectory.error) == ("error", "user_fault")
    assert trajectory.messages[-1] == {"role": "user", "content": "It is B99."}
    assert len(requests) == 1
    assert (metrics["invented"], metrics["episodes"]) == (1, 1)


def test_a_reply_that_cannot_be_used_ends_the_episode_alone(tmp_path: Path) -> None:
    episode, requests, _ = ask(tmp_path, json.dumps({"reply": "blah " * 200}), "Which order is it?")
    assert (episode.end, episode.error) == ("error", "user: wrong_shape")
    assert len(requests) == 2


def test_an_empty_question_is_answered_without_a_model(tmp_path: Path) -> None:
    episode, requests, _ = ask(tmp_path, '{"reply": "x"}', "  ")
    assert episode.messages[-1]["content"] == "I don't know that."
    assert requests == []


def test_where_no_model_plays_the_user_the_embedded_one_answers(tmp_path: Path) -> None:
    async def scene() -> Any:
        with serving(lambda body: "no") as server:
            params = params_for(tmp_path, server.base_url, "tools")
            llm = Llm(params, tmp_path / "llm")
            environment = ModelEnvironment(params, llm, Mappings())
            said = await environment.answer(Episode(TASK), Question("What is the order_id?"))
            await llm.close()
            return said, server.requests, environment.metrics()["user_faults"]

    assert asyncio.run(scene()) == ("The order is A17.", [], None)
