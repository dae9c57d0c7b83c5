"""Writes what users and agents say: wishes with details, a voice, a persona -> a request, a question, a reply.

A request is built from the frames of `frames.yaml`. It names the surface of every detail once and verbatim,
and nothing else that could be a value. All of it follows from the random generator that is passed in.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from synthagent.teacher.natural.details import Detail, are, can_be, is_noun, phrase, value_of
from synthagent.teacher.natural.frames import VOICES, Voice, frames
from synthagent.teacher.natural.morphology import a, gerund, plural
from synthagent.teacher.natural.phrasing import (
    Phrasing,
    SpokenWish,
    is_measure,
    is_sought,
    phrasing_of,
    pick,
    plain_phrasing,
)
from synthagent.teacher.natural.speakers import Speaker, speaker_of, voice_of, without_capital

__all__ = [
    "VOICES",
    "Detail",
    "SpokenWish",
    "Voice",
    "a",
    "gerund",
    "plural",
    "question_of",
    "reply_of",
    "request",
    "voice_of",
]
_SENTENCES = 4
_TRIES = 6  # until a request is written that says each surface once; then the plainest is taken
_SHORT = re.compile(r"([a-z]+ )?((what|which|whose)( e-mail| kind of)? \S+|how (many|much)( \S+)?|how [a-z]+)")
_FREE_STANDING = re.compile(r"(?!of |[a-z]+ing )")
_LONE = re.compile(r"(^|, |! |: ){said}")


def request(wishes: Sequence[SpokenWish], voice: Voice, persona: str, rng: random.Random) -> str:
    """One message, mostly of one to four sentences, that says all wishes with all their details."""
    details = [each for wish in wishes for each in wish.details]
    text = framed(lambda: wanted(wishes, voice, rng), details, voice, persona, rng)
    return text or " ".join(filled("Please {verb} {object}{tail}.", plain_phrasing(wish)) for wish in wishes)


def framed(
    write: Callable[[], list[str]],
    details: Sequence[Detail],
    voice: Voice,
    persona: str,
    rng: random.Random,
    closes: bool = True,
) -> str | None:
    """Sentences with what people say around them; None where no try says each detail once. `closes`: with a goodbye."""
    speaker = speaker_of(persona)
    for _ in range(_TRIES):
        text = _message(write(), voice, speaker, rng, closes)
        if says_each_once(text, details):
            return text
    return None


def question_of(ask: str | Sequence[str], rng: random.Random) -> str:
    """What an agent asks. `ask`: one or several of what a domain calls it: `which day`, `whose name it is under`."""
    asked = [ask] if isinstance(ask, str) else list(ask)
    said = asked[0] if len(asked) == 1 else f"{', '.join(asked[:-1])} and {asked[-1]}"
    whole = not _SHORT.fullmatch(said) or rng.random() < 0.4
    kept = frames().groups["question_whole" if whole else "question_short"]["plain"]
    if not whole and not said.startswith(("which ", "what ")):
        kept = tuple(frame for frame in kept if frame.startswith(("{ask}?", "{ask}, ")))
    return _opened(pick(kept, rng).format(ask=said))


def reply_of(detail: Detail, voice: Voice, rng: random.Random) -> str:
    """What a user answers who is asked for this detail; it says the surface verbatim."""
    value, said = value_of(detail), phrase(detail)
    if value is not None and not _FREE_STANDING.match(said):
        said = value  # 'eggs and milk' rather than 'of eggs and milk'
    if value is not None and rng.random() < 0.35:
        frame = pick(frames().groups["reply_named"][voice], rng)
        return _opened(_ended(frame.format(name=detail.name, are=are(detail.name), value=value)))
    kept = list(frames().groups["reply"][voice])
    if not can_be(said) and not said.startswith(detail.surface):
        kept = [frame for frame in kept if _LONE.search(frame)]
    if "{}" in detail.say and said.startswith(detail.surface) and said[0].islower():
        kept = [frame for frame in kept if not frame.startswith("{said}")]
    return _opened(_ended(pick(kept or ["I would say {said}."], rng).format(said=said)))


# --- a request -----------------------------------------------------------------------------------------------------


def _message(sentences: list[str], voice: Voice, speaker: Speaker, rng: random.Random, closes: bool) -> str:
    groups = frames().groups
    first = [_opened(sentences[0])]
    rest = list(map(_opened, sentences[1:]))
    room = _SENTENCES - len(sentences)
    if room > 0 and rng.random() < 0.4:
        reason = _reason(voice, speaker, rng)
        if rng.random() < 0.4:
            first.insert(0, reason)
        else:
            rest.append(reason)
        room -= 1
    if closes and room > 0 and rng.random() < 0.4:
        rest.append(_opened(pick(groups["closing"][voice], rng)))
    greetings = groups["greeting"][voice]
    if greetings and rng.random() < 0.4:
        hello = pick(greetings, rng)
        first[0] = f"{_opened(hello)} {without_capital(first[0])}"
    return " ".join((*first, *rest))


def wanted(wishes: Sequence[SpokenWish], voice: Voice, rng: random.Random) -> list[str]:
    """The sentences of the wishes, with small first letters."""
    reports = sum(1 for wish in wishes if wish.report)
    room = _SENTENCES - len(wishes) - reports
    if len(wishes) + reports > _SENTENCES or (len(wishes) > 1 and rng.random() < 0.4):
        return _joined(wishes, voice, rng)
    sentences: list[str] = []
    for number, wish in enumerate(wishes):
        phrasing = phrasing_of(wish, voice, rng, room > 0)
        room -= bool(phrasing.after)
        frame = _frame(phrasing, voice, rng) if number == 0 else _next_frame(phrasing, wishes[number - 1], voice, rng)
        if phrasing.front and "{verb}" not in frame:  # 'on Friday, I am looking for ..' tells when one looks
            phrasing = replace(phrasing, tail=phrasing.behind, front="")
        told = ""
        if wish.report and wish.report in wish.noun and "{verb}" not in frame and "{doing}" not in frame:
            wish = replace(wish, report=None)  # 'what is the ticket price?' asks for it
        if wish.report and not phrasing.after and "{verb}" in frame and rng.random() < 0.5:
            told = _told("told", wish.report, voice, rng)
        sentences.append(filled(frame, phrasing, told, first=number == 0))
        if phrasing.after:
            sentences.append(phrasing.after)
        if wish.report and not told:
            sentences.append(_told("report", wish.report, voice, rng))
    return sentences


def _joined(wishes: Sequence[SpokenWish], voice: Voice, rng: random.Random) -> list[str]:
    """All wishes in one sentence."""
    groups = frames().groups
    phrasings = [phrasing_of(wish, voice, rng, room=False) for wish in wishes]
    tail = ""
    for number, phrasing in enumerate(phrasings):
        if number:
            lead = pick(groups["joint"][voice], rng) if number == len(phrasings) - 1 else ", "
            tail += f"{lead}{phrasing.wish.verb} {phrasing.object}{phrasing.behind}"
        if phrasing.wish.report:
            tail += _told("told", phrasing.wish.report, voice, rng)
    frame = pick([frame for frame in groups["active"][voice] if "{verb}" in frame], rng)
    return [filled(frame, phrasings[0], tail)]


def _frame(phrasing: Phrasing, voice: Voice, rng: random.Random) -> str:
    """A frame for the first wish."""
    groups, wish = frames().groups, phrasing.wish
    way = rng.random()
    if wish.does == "look":
        group = "active"
        if way < 0.6 and (is_sought(wish) or is_measure(wish)):
            group = "seek" if is_sought(wish) else "measure"
    else:
        group = "active" if way < 0.42 else "self" if way < 0.75 or not wish.past else "passive"
    return pick(groups[group][voice], rng)


def _next_frame(phrasing: Phrasing, before: SpokenWish, voice: Voice, rng: random.Random) -> str:
    """A frame for a further wish, which may be the same for another thing."""
    wish = phrasing.wish
    same = wish.verb == before.verb and wish.noun == before.noun and not any(each.new for each in wish.details)
    return pick(frames().groups["again" if same and rng.random() < 0.5 else "then"][voice], rng)


def filled(frame: str, phrasing: Phrasing, more: str = "", first: bool = True) -> str:
    """A frame with the words of a wish. `more` stands after the details; only a `first` sentence has some before it."""
    wish, object_, tail, front = phrasing.wish, phrasing.object, phrasing.tail, phrasing.front
    if front and (not first or frame.startswith(("so ", "and ", "oh", "request", "to do", "wanted"))):
        tail, front = phrasing.behind, ""
    if "{past}" in frame and wish.does == "make":
        object_, tail = object_ + tail, ""  # 'a visit on Friday has to be booked', rather than to be booked on Friday
    text = frame.format(
        verb=wish.verb,
        doing=gerund(wish.verb, wish.past) if "{doing}" in frame else "",
        past=wish.past,
        object=object_,
        tail=tail + more,
        are=are(wish.noun),
    )
    return _ended(f"{front}, {text}" if front else text)


def _told(group: str, report: str, voice: Voice, rng: random.Random) -> str:
    said = report if is_noun(report) else "result"  # 'tell me the held on'
    return pick(frames().groups[group][voice], rng).format(report=said, are=are(said))


def _reason(voice: Voice, speaker: Speaker, rng: random.Random) -> str:
    """Who speaks, or why; without a role one of the reasons that need none."""
    among = frames().groups["reason"][voice]
    if not speaker.role:
        among = tuple(frame for frame in among if "{" not in frame)
    text = pick(among, rng).format(role=speaker.role, bare=speaker.bare, who=speaker.who or speaker.role)
    return _opened(_ended(text))


def says_each_once(text: str, details: Sequence[Detail]) -> bool:
    """Whether each surface stands there, and no oftener than in the details themselves."""
    said = [(each.surface, phrase(each)) for each in details if "{}" in each.say]
    together = "\n".join(words for _, words in said)
    return all(_count(surface, text) == _count(surface, together) for surface, _ in said)


def _count(surface: str, text: str) -> int:
    """How often it stands there as whole words: 'ten', but not in 'shorten'."""
    found, at = 0, text.find(surface) if surface else -1
    while at >= 0:
        end = at + len(surface)
        found += not (text[at - 1 : at].isalnum() or text[end : end + 1].isalnum())
        at = text.find(surface, end)
    return found


# --- letters -------------------------------------------------------------------------------------------------------


def _opened(text: str) -> str:
    return text[0].upper() + text[1:]


def _ended(text: str) -> str:
    """Without the frame's own full stop where the last word brings one: `6 p.m.`."""
    return text[:-1] if text.endswith("..") else text
