"""Composes one natural task: (domain, persona, pattern, rng) -> what the plain teacher composes, a `Draft`.

`one`       a single call of a lookup, or of an action that makes something
`several`   the same lookup for two to four things, none of which waits for another
`parallel`  different lookups at once
`chain`     a thing is found by what the user knows of it, then something is done with it
`rule`      a chain, and a policy decides whether it may be done; its twin has the other outcome
`condition` the request says on what it depends, and what is to be done in either case (`conditions`)
`two`       a lookup, and once its result has been told, another request, which the user has kept till then
`cannot`    a single call whose tool is not there; often nor is anything like it, since it was asked at another desk

In `one`, `parallel` and `chain` something needed may be left out of the request: then it has to be asked for.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

from synthagent.episodes.user import NEXT
from synthagent.teacher.compose import Draft
from synthagent.teacher.natural.chains import chain
from synthagent.teacher.natural.conditions import condition
from synthagent.teacher.natural.conversations import first_request, next_request, report
from synthagent.teacher.natural.desk import Desk
from synthagent.teacher.natural.domain import Lookup, NaturalAction, NaturalDomain
from synthagent.teacher.natural.toolset import column
from synthagent.teacher.natural.writing import MANNER, Manner, TaskWriter, is_told, told_of
from synthagent.worlds import Answer, Ask, Call, Fact, Removed

Pattern = Literal["one", "several", "parallel", "chain", "rule", "condition", "two", "cannot"]
PATTERNS: tuple[Pattern, ...] = get_args(Pattern)
TWINS: tuple[Pattern, ...] = ("rule", "condition")  # those that come in pairs
OWNED: tuple[Pattern, ...] = (
    "chain",
    "rule",
    "condition",
)  # those that need a thing with an owner, and an action on it
AT_DESK: tuple[Pattern, ...] = ("one", "several", "parallel", "two", "cannot")  # those whose tools may be a desk's
_ELSEWHERE = 0.6  # of what no tool does: it was asked at another desk, and none of the tools there is like it


def compose(
    place: NaturalDomain | Desk,
    persona: str,
    pattern: Pattern,
    gap: bool,
    rng: random.Random,
    manner: Manner = MANNER,
    desks: Sequence[NaturalDomain] = (),
) -> Draft:
    """Write one task down: of a domain, with tools of its own, or of a desk. `pattern`: there one of `AT_DESK`.

    `gap`: something that is needed is left out of the request. `desks`: other domains, whose tools may be there in
    place of those of this one, or whose wishes at a desk, so that none fits.
    """
    if isinstance(place, NaturalDomain):
        return write(TaskWriter(place, persona, gap, rng, manner), pattern, desks)
    domain = rng.choice(place.in_vain(desks)) if pattern == "cannot" else place.domain
    return write(TaskWriter(domain, persona, gap, rng, manner, place), pattern, desks)


def patterns_at(desk: Desk, desks: Sequence[NaturalDomain]) -> list[Pattern]:
    """The patterns of `AT_DESK` that there can be at a desk. `desks`: as in `compose`."""
    few, none = len(desk.domain.lookups) < 2, not desk.in_vain(desks)
    without: set[Pattern] = {*(("parallel", "two") if few else ()), *(("cannot",) if none else ())}
    return [pattern for pattern in AT_DESK if pattern not in without]


def write(task: TaskWriter, pattern: Pattern, desks: Sequence[NaturalDomain] = ()) -> Draft:
    """Write a task of this pattern with what was drawn for it."""
    match pattern:
        case "one":
            _single(task)
        case "several":
            _several(task)
        case "parallel":
            _parallel(task)
        case "chain" | "rule":
            chain(task, pattern == "rule")
        case "condition":
            condition(task)
        case "two":
            _two(task)
        case "cannot":
            return _cannot(task, desks)
    return task.draft()


def _single(task: TaskWriter) -> None:
    makers = [action for action in task.domain.actions if action.needs]
    if makers and task.rng.random() < 0.4:
        _make(task, task.rng.choice(makers))
    else:
        _ask_lookup(task, task.rng.choice(task.domain.lookups), task.gap)
    task.finish()


def _several(task: TaskWriter) -> None:
    rng = task.rng
    lookup = rng.choice(task.domain.lookups)
    spec = task.use(task.writer.look_up(lookup))
    first = task.said(spec)
    varied = rng.choice([each for each in first if each.written.required])
    wanted = task.rows.others(varied, first, rng.randint(1, 3))
    for number, value in enumerate((varied.value, *wanted)):
        said = [replace(each, value=value) if each is varied else each for each in first]
        task.rows.answer(lookup, spec, said)
        task.call(spec, said, together=number > 0)
        task.parts.wishes.append(task.wish(lookup, said))
    task.finish()


def _parallel(task: TaskWriter) -> None:
    for number, lookup in enumerate(task.rng.sample(task.domain.lookups, 2)):
        _ask_lookup(task, lookup, task.gap and number == 0, together=number > 0)
    task.finish()


def _two(task: TaskWriter) -> None:
    """A lookup whose result is told, and another request after that."""
    rng, parts = task.rng, task.parts
    first = rng.choice([one for one in task.domain.lookups if any(map(is_told, one.gives))] or task.domain.lookups)
    _ask_lookup(task, first, gap=False)
    told = told_of(parts.used[-1])
    name = column(told)
    parts.goes_on = (str(task.rows.rows[first.name][0][name]),)
    parts.steps.append(
        Ask(
            slot=NEXT,
            guess="",
            milestone="Tell what was found, and hear what comes next",
            question=report(told.name, f"{{{name}}}", rng),
            tells=(name,),
        )
    )
    makers = [action for action in task.domain.actions if action.needs]
    if makers and rng.random() < 0.5:
        _make(task, rng.choice(makers))
    else:
        _ask_lookup(task, rng.choice([other for other in task.domain.lookups if other is not first]), gap=False)
    found, wanted = parts.wishes
    parts.instruction = first_request(found, task.voice, task.persona, rng)
    said = next_request(wanted, task.voice, rng)
    parts.facts.append(Fact(slot=NEXT, value=said, phrase=said))
    values = (column(told_of(parts.used[-1])),)
    parts.steps.append(Answer(outcome="done", values=values, milestone="Report what was done"))


def _cannot(task: TaskWriter, desks: Sequence[NaturalDomain]) -> Draft:
    """A single call is wanted, and its tool taken away; or all tools are those of another desk."""
    _single(task)
    parts = task.parts
    removed, call = parts.used.pop(), parts.steps[0]
    assert isinstance(call, Call)
    parts.removed = Removed(tool=removed.tool, effects=removed.effects, args=call.given)
    parts.steps = [Answer(outcome="cannot", milestone="Say that no tool does it")]
    parts.facts, parts.canonical, parts.asked_by = [], {}, {}
    if task.desk:
        return task.draft(removed)
    tables = {effect.table for effect in removed.effects}
    others = [desk for desk in desks if not tables & desk.tables]
    elsewhere = task.rng.choice(others) if others and task.rng.random() < _ELSEWHERE else None
    return task.draft(removed, elsewhere)


def _ask_lookup(task: TaskWriter, lookup: Lookup, gap: bool, together: bool = False) -> None:
    spec = task.use(task.writer.look_up(lookup))
    said = task.said(spec)
    hidden = [task.hide([each for each in said if each.written.required])] if gap else []
    task.rows.answer(lookup, spec, said)
    task.call(spec, said, hidden, together=together and not hidden)
    task.parts.wishes.append(task.wish(lookup, said, hidden))


def _make(task: TaskWriter, action: NaturalAction) -> None:
    spec = task.use(task.writer.act(action))
    said = task.said(spec)
    hidden = [task.hide([each for each in said if each.written.required])] if task.gap else []
    task.call(spec, said, hidden)
    task.parts.wishes.append(task.wish(action, said, hidden))
