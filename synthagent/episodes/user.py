"""The embedded user: answers from the facts only, one sentence, only what was asked. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from synthagent.records import Task
from synthagent.text import contains_phrase, words_of
from synthagent.worlds import Fact

CONFIRM = "confirm"
NEXT = "next_request"  # what the user wants once the first request is met
DOES_NOT_KNOW = "I don't know that."

# Words by which people ask for the same thing; a slot `loan_id` is also meant by "the loan code".
_SYNONYMS: tuple[frozenset[str], ...] = (
    frozenset({"id", "code", "ref", "reference", "number"}),
    frozenset({"day", "date", "when"}),
    frozenset({CONFIRM, "sure", "proceed"}),
)


def reply(
    facts: Sequence[Fact],
    question: str,
    asked_by: Mapping[str, Sequence[str]] | None = None,
    goes_on: Sequence[str] = (),
) -> str:
    """The user's reply to `question`: the phrases of the facts asked for, as one sentence.

    The next request is made once the message tells what the first was about. `asked_by`, `goes_on`: as of `WorldSpec`.
    """
    words = asked_by or {}
    asked = [
        fact.phrase
        for fact in facts
        if (_tells(question, goes_on) if fact.slot == NEXT else asks_for(question, fact.slot, words.get(fact.slot, ())))
    ]
    return _sentence(asked) if asked else DOES_NOT_KNOW


def all_said(facts: Sequence[Fact]) -> str:
    """All that the user knows, as one sentence."""
    return _sentence([fact.phrase for fact in facts])


def told(facts: Sequence[Fact], said: str) -> Mapping[str, str]:
    """The facts (slot -> value) that a reply gives away, whoever wrote it."""
    return {fact.slot: fact.value for fact in facts if contains_phrase(said, fact.value)}


def told_at_once(task: Task) -> Mapping[str, str]:
    """What the instruction tells (slot -> value), of a task without an information gap."""
    return told(task.facts, task.instruction) if task.no_leak is False else {}


def asks_for(question: str, slot: str, asked_by: Sequence[str] = ()) -> bool:
    """Whether a question names a slot, or all of its parts, by whatever synonym; or has one of the words `asked_by`."""
    words = frozenset(words_of(question))
    if slot in words or not words.isdisjoint(asked_by):
        return True
    parts = slot.split("_")
    return all(part in words or words & _synonyms_of(part) for part in parts)


def _tells(message: str, values: Sequence[str]) -> bool:
    return bool(values) and all(contains_phrase(message, value) for value in values)


def _sentence(phrases: Sequence[str]) -> str:
    sentence = ", and ".join(phrases)
    end = "" if sentence.endswith((".", "!", "?")) else "."
    return f"{sentence[0].upper()}{sentence[1:]}{end}"


def _synonyms_of(word: str) -> frozenset[str]:
    return next((group for group in _SYNONYMS if word in group), frozenset())
