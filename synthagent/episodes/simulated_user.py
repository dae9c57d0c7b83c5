"""The simulated user: a question -> a reply from the facts, and what is wrong with it. Paper section 2.

One sentence, only what was asked, no hints, no invention. Whether a reply kept to that is measured, not believed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from pydantic import Field

from synthagent.episodes.episode import Episode
from synthagent.episodes.user import DOES_NOT_KNOW, asks_for, told
from synthagent.episodes.world import UserEvent
from synthagent.frozen import Record
from synthagent.llm.client import Llm, Request
from synthagent.llm.prompts import fenced, render
from synthagent.text import words_of
from synthagent.worlds import Fact

Fault = Literal["unasked", "invented", "early_end"]
_LONGEST_QUESTION = 2_000
_GOODBYE = re.compile(
    r"\b(good ?bye|bye|that(?:'s| is) all|nothing (?:else|more)|no more questions|have a (?:nice|good|great) \w+|"
    r"end of (?:the )?conversation|conversation is over|we(?:'re| are) done|i(?:'m| am) done)\b|\[?<?/?end>?\]",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"[\"“]([^\"”]+)[\"”]")
_TOKEN = re.compile(r"[^\W_]+(?:[-_/.:,@'][^\W_]+)*")
_SENTENCE_START = re.compile(r"(?:^|[.!?:;\"“]\s*)$")
_COMMON = frozenset({"i", "i'm", "i'd", "i'll", "i've", "ok", "okay", "yes", "no"})
_FILLERS = frozenset(
    words_of(
        """a an the of for to in on at is are be was do does did have has had it its this that what which who whom whose
        when where why how many much any some and or not with by from as if you your me my i we us our can could would
        should will may might please tell let know give say need want like about more there their them they"""
    )
)


class UserReply(Record):
    """What a model says as the user."""

    reply: str = Field(max_length=360)


class SimulatedUser:
    """Plays the user of every episode, by the role `user`."""

    def __init__(self, llm: Llm) -> None:
        self._llm = llm
        self._counts: Counter[str] = Counter()

    async def reply(self, episode: Episode, question: str) -> tuple[str, tuple[Fault, ...]]:
        """The reply to a question, on one line, and its faults.

        Raises:
            BadReplyError, SynthAgentError: as `Llm.ask`.
        """
        task, talk = episode.task, [e for e in episode.world.events if isinstance(e, UserEvent)]
        self._counts["replies"] += 1
        if not question.strip():
            return DOES_NOT_KNOW, ()
        lines = [line for e in talk for line in (f"assistant: {_flat(e.question)}", f"you: {_flat(e.reply)}")]
        prompt = render(
            "user",
            instruction=fenced(task.instruction),
            facts=fenced("\n".join(f"- {fact.slot}: {fact.value} ({fact.phrase})" for fact in task.facts)),
            before=fenced("\n".join(lines)) if lines else "",
            question=fenced(question[:_LONGEST_QUESTION]),
        )
        said = _flat((await self._llm.ask("user", Request.of(prompt), UserReply)).value.reply)
        faults = faults_of(task.facts, task.instruction, question, said, talk)
        self._counts.update(faults)
        self._counts["episodes"] += bool(faults)
        return said, faults

    def metrics(self) -> dict[str, Any]:
        """replies; how many had each kind of fault; episodes that one ended."""
        return {name: self._counts[name] for name in ("replies", "unasked", "invented", "early_end", "episodes")}


def faults_of(
    facts: Sequence[Fact], instruction: str, question: str, reply: str, before: Sequence[UserEvent] = ()
) -> tuple[Fault, ...]:
    """What is wrong with a reply.

    unasked: it tells a fact, not told before, that the question did not ask for. A question that names none of the
        facts may draw out one.
    invented: a number, a name (capitalised inside a sentence) or something quoted that is neither in the facts nor in
        what was said before.
    early_end: it is empty, or says goodbye while there are facts left to tell.
    """
    already = {slot for event in before for slot in event.told}
    now = told(facts, reply)
    new = now.keys() - already
    wanted = {fact.slot for fact in facts if _is_meant(question, fact)}
    faults: list[Fault] = []
    if (new - wanted) and (wanted or len(new) > 1):
        faults.append("unasked")
    said = [instruction, question, *(text for e in before for text in (e.question, e.reply))]
    known = " ".join(
        [*said, *(text for fact in facts for text in (fact.slot.replace("_", " "), fact.value, fact.phrase))]
    )
    if any(True for _ in _invented(reply, known)):
        faults.append("invented")
    left = {fact.slot for fact in facts} - already - now.keys()
    if not words_of(reply) or (left and _GOODBYE.search(reply)):
        faults.append("early_end")
    return tuple(faults)


def _is_meant(question: str, fact: Fact) -> bool:
    """Whether a question may be taken to ask for a fact: by its slot, or a telling word of its slot or phrase."""
    if asks_for(question, fact.slot):
        return True
    asked = {_stem(word) for word in words_of(question)} - _FILLERS
    value = {_stem(word) for word in words_of(fact.value)}
    words = {_stem(part) for word in words_of(f"{fact.slot} {fact.phrase}") for part in word.split("_")}
    return bool(asked & (words - value - _FILLERS))


def _invented(reply: str, known: str) -> Iterator[str]:
    """The values in a reply that are not in `known`."""
    flat = f" {' '.join(words_of(known))} "
    tokens = {_plain(token) for token in _TOKEN.findall(known)} | set(words_of(known))
    for quoted in _QUOTED.findall(reply):
        if words_of(quoted) and f" {' '.join(words_of(quoted))} " not in flat:
            yield quoted
    for match in _TOKEN.finditer(reply):
        token, plain = match.group(), _plain(match.group())
        named = token[0].isupper() and not _SENTENCE_START.search(reply[: match.start()])
        if not (named or any(character.isdigit() for character in token)) or plain in _COMMON:
            continue
        parts = words_of(token)
        if plain not in tokens and not all(_is_known(part, tokens) for part in parts):
            yield token


def _is_known(word: str, tokens: set[str]) -> bool:
    """Whether a word is there, or a longer or shorter form of it (Mon, Monday)."""
    if word in tokens or word in _COMMON:
        return True
    if any(character.isdigit() for character in word):
        return False
    return len(word) > 2 and any(len(t) > 2 and (t.startswith(word) or word.startswith(t)) for t in tokens)


def _plain(token: str) -> str:
    return token.lower().replace(",", "").removesuffix("'s")


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


def _flat(text: str) -> str:
    return " ".join(text.split())
