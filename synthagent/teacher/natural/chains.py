"""Patterns in which a thing is found by what the user knows of it, then something is done with it.

`chain`  it is done
`rule`   a policy decides whether it may be done; the twin has the other outcome
"""

from __future__ import annotations

from synthagent.episodes.user import CONFIRM
from synthagent.teacher.natural.domain import NaturalAction, NaturalDomain, Thing
from synthagent.teacher.natural.policy import prose
from synthagent.teacher.natural.rows import SaidValue
from synthagent.teacher.natural.toolset import STATUS, Spec, code_of, column
from synthagent.teacher.natural.writing import TaskWriter
from synthagent.teacher.rules import Rule, RuleKind
from synthagent.teacher.twins import FactChange, RowChange
from synthagent.worlds import Answer, Ask, Condition, Fact, Guard


def changeable(domain: NaturalDomain) -> list[NaturalAction]:
    """What can be done with a thing that is found by whose it is."""
    owned = {thing.name for thing in domain.things if thing.owner}
    return [action for action in domain.actions if not action.needs and action.thing in owned]


def chain(task: TaskWriter, ruled: bool) -> None:
    """Find a thing and do something with it; `ruled`: if the policy allows it."""
    parts = task.parts
    action = task.rng.choice(changeable(task.domain))
    thing = task.writer.thing(action.thing)
    owner = next(each for each in thing.fields if each.name == thing.owner)
    rule: RuleKind | None = task.rng.choice(("check", "status", "confirm")) if ruled else None
    find = task.use(task.writer.find(thing, owner))
    look = task.use(task.writer.get(thing, ())) if rule in ("check", "status") else None
    act = task.use(task.writer.act(action))
    found = task.rows.things(thing, owner, act.takes[1:])
    mine, code, changed = found.mine, found.code, found.changed
    known_by = SaidValue(find.takes[0], mine[owner.name])
    hidden = [task.hide([known_by, *changed])] if task.gap else []
    task.call(find, [known_by], hidden, needed=True)
    key = column(code_of(thing))
    if look:
        task.look(look, {look.takes[0].key: key})
    if rule:
        _rule(task, rule, thing, act, look, code)
    task.call(act, changed, hidden, known={act.takes[0].key: key})
    parts.wishes.append(task.wish(action, [known_by, *changed], hidden))
    task.finish()


def _rule(task: TaskWriter, kind: RuleKind, thing: Thing, act: Spec, look: Spec | None, code: str) -> None:
    """The constraint that matters; in the task the act is permitted."""
    parts, rng = task.parts, task.rng
    ok, bad = rng.sample(thing.statuses, 2)
    mine = task.rows.rows[thing.name][0]
    same = look.takes[0].key if look else act.takes[0].key
    rule = Rule("live", kind, act.name, look.name if look else None, same, ok, bad, 0)
    why = next((action.why for action in task.domain.actions if action.thing == thing.name and action.why), "")
    parts.rules.append((rule, prose(kind, act.name, ok if kind == "check" else bad, why, rng, noun=thing.name)))
    if kind == "confirm":
        parts.facts.append(Fact(slot=CONFIRM, value="yes", phrase="yes, go ahead"))
        question = rng.choice(("Do you confirm?", "Shall I go ahead? Please confirm."))
        parts.steps.append(Ask(slot=CONFIRM, guess="yes", milestone="Ask the user to confirm", question=question))
        kept = Answer(outcome="kept", milestone="Leave it, as the user says")
        parts.steps.append(Guard(conditions=(Condition(field=CONFIRM, value="yes"),), otherwise=kept))
        parts.change = FactChange(CONFIRM, "no", "no, leave it")
        return
    mine[STATUS] = ok if kind == "check" else rng.choice([s for s in thing.statuses if s != bad])
    refused = Answer(outcome="refused", values=(STATUS,), milestone="Refuse because of its status")
    parts.steps.append(Guard(conditions=rule.licence, otherwise=refused))
    wrong = bad if kind == "status" else rng.choice([s for s in thing.statuses if s != ok])
    parts.change = RowChange(thing.name, code, STATUS, wrong)
