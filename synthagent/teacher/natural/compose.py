"""Composes one natural task: (domain, persona, pattern, rng) -> what the plain teacher composes, a `Draft`.

`one`       a single call of a lookup, or of an action that makes something
`several`   the same lookup for two to four things, none of which waits for another
`parallel`  different lookups at once
`chain`     a thing is found by what the user knows of it, then something is done with it
`rule`      a chain, and a policy decides whether it may be done; its twin has the other outcome
`cannot`    a single call whose tool is not there

In `one`, `parallel` and `chain` something needed may be left out of the request: then it has to be asked for.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Literal

from synthagent.teacher.compose import Draft
from synthagent.teacher.natural.chains import chain
from synthagent.teacher.natural.domain import Lookup, NaturalAction, NaturalDomain
from synthagent.teacher.natural.writing import MANNER, Manner, TaskWriter
from synthagent.worlds import Answer

Pattern = Literal["one", "several", "parallel", "chain", "rule", "cannot"]
PATTERNS: tuple[Pattern, ...] = ("one", "several", "parallel", "chain", "rule", "cannot")


def compose(
    domain: NaturalDomain, persona: str, pattern: Pattern, gap: bool, rng: random.Random, manner: Manner = MANNER
) -> Draft:
    """Write one task down. `gap`: something that is needed is left out of the request."""
    return write(TaskWriter(domain, persona, gap, rng, manner), pattern)


def write(task: TaskWriter, pattern: Pattern) -> Draft:
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
        case "cannot":
            return _cannot(task)
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


def _cannot(task: TaskWriter) -> Draft:
    """A single call is wanted, and its tool taken away."""
    _single(task)
    parts = task.parts
    removed = parts.used.pop()
    parts.steps = [Answer(outcome="cannot", milestone="Say that no tool does it")]
    parts.facts, parts.canonical, parts.asked_by = [], {}, {}
    return task.draft(removed)


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
