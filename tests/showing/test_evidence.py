"""A verdict's evidence is found in the messages of its episode."""

from __future__ import annotations

import json
import re

import pytest
from helpers.tasks import accepted_tasks, played, rubric_of

from synthagent.episodes.scripted import RECKLESS
from synthagent.judging.reward import verdicts_by_check
from synthagent.records import Verdict
from synthagent.showing.evidence import Mark, marks_of

TASKS = accepted_tasks()[:60]


def by_judge(quote: str) -> Verdict:
    return Verdict(criterion="s1", passed=True, by="judge", evidence=quote)


def test_of_an_event_what_was_said_or_called_and_what_answered_it_are_marked() -> None:
    """Whatever the log calls event N, its text stands in the messages that are marked."""
    seen = set()
    for task in TASKS:
        for style in (None, RECKLESS):
            episode = played(task, style) if style else played(task)
            for verdict in verdicts_by_check(rubric_of(task), episode.world):
                found = re.match(r"event \d+: (\w+)(?:\((.*)\) -> (\{.*?\})|: (.*?)(?:;|$))", verdict.evidence)
                if found is None:
                    continue
                first, second = (
                    episode.messages[mark.message] for mark in marks_of(verdict, episode.messages, task)[:2]
                )
                if found.group(1) == "user":
                    assert (second["role"], second["content"]) == ("user", found.group(4))
                    assert first["role"] == "assistant"
                else:
                    assert first["tool_calls"][0]["function"]["name"] == found.group(1)
                    assert json.loads(second["content"]) == eval(found.group(3), {})  # a dict that we wrote
                seen.add(found.group(1) == "user")
    assert seen == {True, False}


def test_a_row_leads_to_the_call_that_wrote_it() -> None:
    written = 0
    for task in TASKS:
        episode = played(task)
        for verdict in verdicts_by_check(rubric_of(task), episode.world):
            row = re.match(r"(\w+)\[(.*?)\] = ", verdict.evidence)
            if row and (marks := marks_of(verdict, episode.messages, task)):
                name = episode.messages[marks[0].message]["tool_calls"][0]["function"]["name"]
                assert any(e.table == row.group(1) and e.op not in ("get", "find") for e in task.world.effects[name])
                written += 1
    assert written


MESSAGES = [
    {"role": "system", "content": "Never sell."},
    {"role": "user", "content": "Renew my loan"},
    {"role": "assistant", "content": "Which loan is it?"},
    {"role": "user", "content": "It is   loan A7."},
    {"role": "assistant", "content": "<answer>Done A7</answer>"},
]


@pytest.mark.parametrize(
    ("verdict", "marks"),
    [
        (by_judge("it is loan a7"), (Mark(3, "it is loan a7"),)),
        (by_judge("Renew my loan"), ()),
        (by_judge(""), ()),
        (Verdict(criterion="s", passed=False, by="check", evidence="asked: Which loan is it?"), (Mark(2),)),
        (Verdict(criterion="s", passed=True, by="check", evidence="answer: Done A7"), (Mark(4),)),
        (Verdict(criterion="s", passed=False, by="check", evidence="no such call of renew"), ()),
        (Verdict(criterion="s", passed=True, by="check", evidence="event 99: user: hello"), ()),
        (Verdict(criterion="s", passed=True, by="check", evidence="event 1: answer: Done A7"), (Mark(4),)),
    ],
)
def test_quotes_questions_and_answers_are_found_and_nothing_is_made_up(verdict: Verdict, marks: tuple[Mark]) -> None:
    assert marks_of(verdict, MESSAGES, TASKS[0]) == marks
