"""Rubrics from the teacher's trajectories: demonstrations + workflow -> criteria, checks and coverage. Paper section 3.

One call of the model says which sub-goals the demonstrations reached and what had to be settled with the user. What
code can decide is compiled to a check. A check is kept only if it agrees with the model on every demonstration and
holds in at least one; otherwise the judge decides.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from synthagent.episodes.world import ToolEvent, UserEvent, World
from synthagent.frozen import Record
from synthagent.judging.checks import decide
from synthagent.judging.transcript import one_line, shown, transcript
from synthagent.llm.client import Llm, Request
from synthagent.llm.prompts import Prompt, fenced, render
from synthagent.records import Criterion, Kind, Rubric, Task
from synthagent.text import contains_phrase
from synthagent.worlds import AnyOf, Called, Check, Condition, Told

_MOST_OF_ALL_DEMOS = 60_000  # characters

ShortText = Annotated[str, Field(min_length=1, max_length=240)]
Numbers = Annotated[tuple[int, ...], Field(max_length=16)]


class Argument(Record):
    """An argument that matters, as text."""

    name: Annotated[str, Field(max_length=80)]
    value: Annotated[str, Field(max_length=160)]


class CallPattern(Record):
    """A tool call that shows that a sub-goal was reached."""

    tool: Annotated[str, Field(max_length=80)]
    args: Annotated[tuple[Argument, ...], Field(max_length=4)]


class Milestone(Record):
    """Whether a milestone of the workflow, counted from 1, was executed."""

    milestone: int
    executed: bool


class Subgoal(Record):
    """A result, the demonstrations (counted from 1) that reached it, and calls of which any one shows it."""

    text: ShortText
    reached_in: Numbers
    calls: Annotated[tuple[CallPattern, ...], Field(max_length=3)]


class Interaction(Record):
    """Something to settle with the user; `slot` is the fact it is about, or empty."""

    text: ShortText
    slot: Annotated[str, Field(max_length=80)]
    reached_in: Numbers


class Extraction(Record):
    """The extractor's answer."""

    workflow: Annotated[tuple[Milestone, ...], Field(min_length=1, max_length=16)]
    subgoals: Annotated[tuple[Subgoal, ...], Field(min_length=1, max_length=8)]
    interactions: Annotated[tuple[Interaction, ...], Field(max_length=6)]


@dataclass(frozen=True, slots=True)
class ExtractedRubric:
    """A rubric. Of its criteria, `compiled` had a check and `verified` kept it; `unreached` ones were left out."""

    rubric: Rubric
    compiled: int
    verified: int
    unreached: int


async def extract_rubric(task: Task, worlds: Sequence[World], demos: Sequence[Any], llm: Llm) -> ExtractedRubric:
    """Ask the teacher for the rubric of a task. `worlds`: the demonstrations run again; `demos`: their messages.

    Raises:
        BadReplyError: no usable answer.
        SynthAgentError: endpoint, budget or replay.
    """
    given = await llm.ask("teacher", Request.of(extraction_prompt(task, demos)), Extraction)
    return compile_rubric(given.value, task, worlds)


def extraction_prompt(task: Task, demos: Sequence[Any]) -> Prompt:
    """What the extractor is asked. `demos`: messages of each demonstration; user replies are among them."""
    each = _MOST_OF_ALL_DEMOS // max(1, len(demos))
    return render(
        "rubric",
        request=fenced(one_line(task.instruction)),
        workflow=fenced("\n".join(f"{n}. {one_line(text, 500)}" for n, text in enumerate(task.workflow, 1))),
        facts=fenced("\n".join(f"{fact.slot}: {one_line(fact.phrase, 500)}" for fact in task.facts)),
        demos=[fenced(shown(transcript(messages, each))) for messages in demos],
        milestones=len(task.workflow),
    )


def compile_rubric(extraction: Extraction, task: Task, worlds: Sequence[World]) -> ExtractedRubric:
    """Constraints + sub-goals + interactions, with the checks that agree with the demonstrations. Pure.

    What no demonstration reached is left out: a rubric asks for nothing that the teacher did not do.
    """
    criteria = [
        Criterion(id=c.id, kind="constraint", text=c.text, check=_rule(task, c.id, worlds)) for c in task.constraints
    ]
    compiled, unreached = sum(c.id in task.world.rules for c in task.constraints), 0
    found: list[tuple[Kind, str, str, Sequence[int], Check | None]] = [
        ("subgoal", "s", goal.text, goal.reached_in, _calls(goal, task, worlds)) for goal in extraction.subgoals
    ]
    slots = {fact.slot for fact in task.facts}
    found += [
        ("interaction", "i", ask.text, ask.reached_in, Told(slot=ask.slot) if ask.slot in slots else None)
        for ask in extraction.interactions
    ]
    counted = {"s": 0, "i": 0}
    for kind, letter, text, claimed, check in found:
        reached = {number - 1 for number in claimed if 1 <= number <= len(worlds)}
        if not reached:
            unreached += 1
            continue
        compiled += check is not None
        kept = check if check is not None and agrees(check, worlds, reached) else None
        if _is_there(kind, text, kept, criteria):
            continue
        counted[letter] += 1
        criteria.append(Criterion(id=f"{letter}{counted[letter]}", kind=kind, text=one_line(text, 300), check=kept))
    rubric = Rubric(task_id=task.id, criteria=tuple(criteria), coverage=coverage(extraction, len(task.workflow)))
    return ExtractedRubric(rubric, compiled, sum(c.check is not None for c in criteria), unreached)


def agrees(check: Check, worlds: Sequence[World], reached: set[int]) -> bool:
    """Whether a check holds in just those worlds (by position) where the extractor said so, and in at least one."""
    return bool(reached) and all(decide(check, world).holds == (place in reached) for place, world in enumerate(worlds))


def coverage(extraction: Extraction, milestones: int) -> float:
    """The share of the milestones that some demonstration executed. What is missing or contradicted does not count."""
    said: dict[int, bool] = {}
    for line in extraction.workflow:
        if 1 <= line.milestone <= milestones:
            said[line.milestone] = line.executed and said.get(line.milestone, True)
    return sum(said.values()) / max(1, milestones)


def _rule(task: Task, name: str, worlds: Sequence[World]) -> Check | None:
    """The constraint's check, unless it names no tool of the task, or every demonstration of the teacher breaks it."""
    rule = task.world.rules.get(name)
    tools = {tool.name for tool in task.tools}
    if rule is None or rule.tool not in tools:
        return None
    return rule if any(decide(rule, world).holds for world in worlds) else None


def _calls(goal: Subgoal, task: Task, worlds: Sequence[World]) -> Check | None:
    """A check that any of the calls was made; None if one of them has a value that no demonstration shows."""
    patterns = [_called(pattern, task, worlds) for pattern in goal.calls]
    known = [pattern for pattern in patterns if pattern is not None]
    if not known or len(known) < len(patterns):
        return None
    return known[0] if len(known) == 1 else AnyOf(checks=tuple(known))


def _called(pattern: CallPattern, task: Task, worlds: Sequence[World]) -> Called | None:
    """The pattern with the values as the demonstrations had them, each given by the user, a tool or the task.

    A value that the agent worded itself is no condition: another path would word it differently.
    """
    calls = [event for world in worlds for event in _successful(world) if event.tool == pattern.tool]
    conditions = []
    for argument in pattern.args:
        values = [call.args[argument.name] for call in calls if argument.name in call.args]
        value = next((value for value in values if _text(value) == argument.value.strip()), None)
        if value is None or not (isinstance(value, bool) or _is_given(_text(value), task, worlds)):
            return None
        conditions.append(Condition(field=argument.name, value=value))
    return Called(tool=pattern.tool, args=tuple(conditions)) if calls else None


def _successful(world: World) -> Iterator[ToolEvent]:
    return (event for event in world.events if isinstance(event, ToolEvent) and event.ok and event.valid)


def _is_given(value: str, task: Task, worlds: Sequence[World]) -> bool:
    told = [event.reply for world in worlds for event in world.events if isinstance(event, UserEvent)]
    found = [_text(dict(event.result)) for world in worlds for event in _successful(world)]
    schemas = [_text(tool.parameters) for tool in task.tools]
    return any(contains_phrase(text, value) for text in (task.instruction, *told, *found, *schemas))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _is_there(kind: str, text: str, check: Check | None, criteria: Sequence[Criterion]) -> bool:
    same = one_line(text, 300).casefold()
    return any(
        c.kind == kind and (c.text.casefold() == same or (check is not None and c.check == check)) for c in criteria
    )
