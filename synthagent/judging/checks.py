"""Decides criteria: a check, the event log and the final state -> passed or not, with the evidence. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synthagent.episodes.world import AnswerEvent, Event, ToolEvent, UserEvent, World, meets_all
from synthagent.text import contains_phrase
from synthagent.worlds import AllOf, Answered, AnyOf, Called, Check, Never, RowExists, Told, Unasked


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a check holds, and what shows it."""

    holds: bool
    evidence: str


def decide(check: Check, world: World) -> Decision:
    """Decide `check` on a finished episode's world."""
    events = world.events
    match check:
        case Called():
            return _first(lambda e: _is_call(e, check), events, f"no such call of {check.tool}")
        case RowExists():
            return _row(check, world)
        case Told():
            return _first(lambda e: _tells(e, check), events, f"{check.slot} was not told")
        case Answered():
            return _answered(check, events)
        case Unasked():
            return _unasked(events)
        case AllOf():
            findings = [decide(part, world) for part in check.checks]
            failed = next((f for f in findings if not f.holds), None)
            return failed or Decision(True, "; ".join(f.evidence for f in findings))
        case AnyOf():
            findings = [decide(part, world) for part in check.checks]
            return next((f for f in findings if f.holds), findings[0])
        case Never():
            return _never(check, events)


def _first(test: Any, events: Sequence[Event], otherwise: str) -> Decision:
    for number, event in enumerate(events):
        if test(event):
            return Decision(True, f"event {number}: {_show(event)}")
    return Decision(False, otherwise)


def _show(event: Event) -> str:
    match event:
        case ToolEvent():
            return f"{event.tool}({dict(event.args)}) -> {dict(event.result)}"
        case UserEvent():
            return f"user: {event.reply}"
        case AnswerEvent():
            return f"answer: {event.text}"


def _is_call(event: Event, check: Called) -> bool:
    return (
        isinstance(event, ToolEvent)
        and event.tool == check.tool
        and event.ok == check.ok
        and event.valid
        and meets_all(event.args, check.args)
        and meets_all(event.result, check.result)
    )


def _tells(event: Event, check: Told) -> bool:
    if not isinstance(event, UserEvent) or check.slot not in event.told:
        return False
    return check.value is None or event.told[check.slot] == check.value


def _row(check: RowExists, world: World) -> Decision:
    table = world.spec.tables[check.table]
    before = {row[table.key] for row in table.rows} if check.new else set()
    for key, row in world.tables[check.table].items():
        if key not in before and meets_all(row, check.where):
            return Decision(True, f"{check.table}[{key}] = {row}")
    return Decision(False, f"no such row in {check.table}")


def _answered(check: Answered, events: Sequence[Event]) -> Decision:
    text = next((e.text for e in events if isinstance(e, AnswerEvent)), None)
    if text is None:
        return Decision(False, "no answer")
    lacking = [word for word in check.words if not contains_phrase(text, word)]
    surplus = [word for word in check.none_of if contains_phrase(text, word)]
    return Decision(not lacking and not surplus, f"answer: {text}")


def _unasked(events: Sequence[Event]) -> Decision:
    asked = next((e for e in events if isinstance(e, UserEvent) and e.question), None)
    return Decision(asked is None, f"asked: {asked.question[:200]}" if asked else "nothing was asked")


def _never(check: Never, events: Sequence[Event]) -> Decision:
    for number, event in enumerate(events):
        if not isinstance(event, ToolEvent) or event.tool != check.tool or not event.valid:
            continue
        if not any(_licences(check, earlier, event) for earlier in events[:number]):
            return Decision(False, f"event {number}: {_show(event)} without a licence")
    return Decision(True, f"{check.tool} was never called without a licence")


def _licences(check: Never, earlier: Event, call: ToolEvent) -> bool:
    if check.told is not None and _tells(earlier, check.told):
        return True
    if check.seen is None or not isinstance(earlier, ToolEvent) or not _is_call(earlier, check.seen):
        return False
    known: Mapping[str, Any] = {**earlier.args, **earlier.result}
    return all(name in known and known[name] == call.args.get(name) for name in check.same)
