"""A model's words for a procedural natural task: (a task or two twins, a model) -> the same in other words, or why not.

Optional (`tasks.natural.reword`). The model is not trusted: unless every value is still said, nothing that only the
user knows is given away, the same is asked for, nothing is made up and all proofs hold, the procedural words stay. A
request that no tool serves (`cannot`) has no call to compare with, and stays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pydantic import Field

from synthagent.errors import BadReplyError
from synthagent.frozen import Record
from synthagent.judging.proofs import leaked
from synthagent.llm.client import Llm, Request
from synthagent.llm.prompts import fenced, render
from synthagent.records import Rejected, Task
from synthagent.teacher.acceptance import OF_NATURAL, PairProved, judge
from synthagent.teacher.llm.shapes import ReplyText, RequestText
from synthagent.teacher.natural.domain import NaturalDomain
from synthagent.teacher.natural.library import load_domains
from synthagent.teacher.natural.spoken import Surface, numbers_in, surfaces_of, survive
from synthagent.text import contains_phrase
from synthagent.worlds import Call, Fact

NOTE = "reword"  # in a task's provenance: DONE, or why the procedural words stay
DONE = "done"
_LONGEST_PERSONA = 1_000
_LONGER, _AND_SOME = 2, 15  # so many times the words of the request, and some


class Reworded(Record):
    """What the model answers."""

    instruction: RequestText
    phrases: tuple[ReplyText, ...] = Field(max_length=8)


async def reword(llm: Llm, personas: Mapping[str, str], one: PairProved) -> PairProved:
    """Ask for other words for a task, or two twins, who say the same. They are taken where all proofs hold in them.

    `personas`: id -> text. A note in the provenance says whether it was done, or why not.

    Raises:
        SynthAgentError: no further call makes sense.
    """
    if any(one.faults):
        return one
    first = one.tasks[0]
    domain = next((each for each in load_domains() if each.name == first.domain), None)
    surfaces = surfaces_of(first, domain) if domain else None
    if domain is None or surfaces is None or not any(isinstance(step, Call) for step in first.reference):
        return _kept(one, "not watched", 0)
    facts = _asked_for(first)
    prompt = render(
        "reword",
        persona=fenced(personas[first.persona_id][:_LONGEST_PERSONA]),
        instruction=fenced(first.instruction),
        kept=[surface.words for surface in surfaces],
        answers=fenced("\n".join(json.dumps([fact.value, fact.phrase], ensure_ascii=False) for fact in facts)),
    )
    try:
        given = await llm.ask("teacher", Request.of(prompt, int(first.id.rpartition("-")[2])), Reworded)
    except BadReplyError as fault:
        return _kept(one, fault.reason, fault.tokens)
    if fault_found := fault_of(first, given.value, surfaces, domain):
        return _kept(one, fault_found, given.tokens)
    notes = {NOTE: DONE, "model": llm.roles["teacher"].model, "prompt": prompt.version}
    said = judge(_noted([_said(task, given.value) for task in one.tasks], notes, given.tokens), OF_NATURAL)
    failed = next((fault[0] for fault in said.faults if fault), "")
    return _kept(one, failed, given.tokens) if failed else said


def fault_of(task: Task, answer: Reworded, surfaces: Sequence[Surface], domain: NaturalDomain) -> str:
    """Why a model's words cannot stand for the task's own; empty: they can."""
    before, after, facts = task.instruction, answer.instruction, _asked_for(task)
    calls = sum(isinstance(step, Call) and bool(step.given) for step in task.reference)
    known = numbers_in(" ".join([before, *(str(surface.canonical) for surface in surfaces)]))
    wordings = zip(facts, answer.phrases, strict=False)
    if len(answer.phrases) != len(facts) or not all(contains_phrase(said, fact.value) for fact, said in wordings):
        return "answer without its value"
    if not survive(surfaces, before, after, in_order=calls > 1):
        return "value lost"
    if leaked(_said(task, answer)) or any(contains_phrase(after, _text(task, fact)) for fact in facts):
        return "no_leak"
    if numbers_in(after) - known:
        return "number made up"
    if _asked(after, domain) != _asked(before, domain):
        return "other request"
    if any(contains_phrase(after, tool.name) and not contains_phrase(before, tool.name) for tool in task.tools):
        return "tool named"
    return "too long" if len(after.split()) > _LONGER * len(before.split()) + _AND_SOME else ""


def _asked_for(task: Task) -> list[Fact]:
    """What the user says when asked, but for a consent, in which twins differ."""
    return [fact for fact in task.facts if fact.slot in task.world.canonical]


def _text(task: Task, fact: Fact) -> str:
    return str(task.world.canonical[fact.slot])


def _asked(text: str, domain: NaturalDomain) -> set[str]:
    """Which things, lookups and acts of a domain a text names."""
    words: dict[str, tuple[str, ...]] = {thing.name: (thing.name,) for thing in domain.things}
    words |= {lookup.name: (lookup.name,) for lookup in domain.lookups}
    acts = [(action.verb, action.past) for action in domain.actions]
    acts += [(lookup.verb, lookup.past) for lookup in domain.lookups]
    words |= {verb: (verb, past, _ing(verb)) for verb, past in acts}
    return {name for name, forms in words.items() if any(contains_phrase(text, form) for form in forms)}


def _ing(verb: str) -> str:
    """`cancelling` is not told from `canceling`: what is not found in either text does no harm."""
    first, _, rest = verb.partition(" ")
    return f"{first.removesuffix('e')}ing {rest}".strip()


def _said(task: Task, answer: Reworded) -> Task:
    """The task in the model's words."""
    phrases = dict(zip([fact.slot for fact in _asked_for(task)], answer.phrases, strict=False))
    facts = tuple(fact.model_copy(update={"phrase": phrases.get(fact.slot, fact.phrase)}) for fact in task.facts)
    return task.model_copy(update={"instruction": answer.instruction, "facts": facts})


def tokens_of(row: Task | Rejected) -> dict[str, int]:
    """What a rewording cost, by step."""
    task = row if isinstance(row, Task) else Task.model_validate_json(row.payload)
    return {NOTE: int(task.provenance["tokens"])} if NOTE in task.provenance else {}


def _kept(one: PairProved, why: str, tokens: int) -> PairProved:
    return replace(one, tasks=_noted(one.tasks, {NOTE: why}, tokens))


def _noted(tasks: Sequence[Task], notes: dict[str, str | None], tokens: int) -> tuple[Task, ...]:
    """With the notes; tokens are the first's."""
    spent = (tokens if number == 0 else 0 for number in range(len(tasks)))
    return tuple(
        task.model_copy(update={"provenance": {**task.provenance, **notes, "tokens": n}})
        for task, n in zip(tasks, spent, strict=True)
    )
