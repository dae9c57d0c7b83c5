"""Patterns in which a thing is found by what the user knows of it, then something is done with it.

`chain`  it is done
`rule`   a policy decides whether it may be done; the twin has the other outcome

In a share of each the user has two such things that differ in one field, and says which is meant.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from synthagent.episodes.user import CONFIRM
from synthagent.teacher.natural.domain import Field, NaturalAction, NaturalDomain, Thing
from synthagent.teacher.natural.house import Ruled, decoy_amount, decoy_status
from synthagent.teacher.natural.policy import prose
from synthagent.teacher.natural.rows import Owned, SaidValue
from synthagent.teacher.natural.sense import NoRoomError, is_bound
from synthagent.teacher.natural.toolset import STATUS, Spec, code_of, column
from synthagent.teacher.natural.values import draw
from synthagent.teacher.natural.writing import TaskWriter
from synthagent.teacher.rules import Rule, RuleKind
from synthagent.teacher.twins import FactChange, RowChange
from synthagent.worlds import Answer, Ask, Condition, Fact, Guard, Pick

_ALIKE, _DECOY = 0.3, 0.4  # how often two rows differ in one field only; how often a rule has a decoy beside it
_TELLING = ("date", "time", "option", "place", "whole", "number", "money", "duration", "code")  # kinds that tell apart
_MEASURED = ("whole", "number", "money", "duration", "share")


@dataclass(frozen=True, slots=True)
class Target:
    """The thing that something is to be done with, and how the user says which it is. `changed`: what it shall have."""

    thing: Thing
    find: Spec
    act: Spec
    mine: Owned
    owner: SaidValue
    which: SaidValue | None
    changed: list[SaidValue]

    @property
    def known_by(self) -> list[SaidValue]:
        return [self.owner, *([self.which] if self.which else [])]

    @property
    def code(self) -> str:
        """The name under which its code is known once it is found."""
        return column(code_of(self.thing))


def changeable(domain: NaturalDomain) -> list[NaturalAction]:
    """What can be done with a thing that is found by whose it is."""
    owned = {thing.name for thing in domain.things if thing.owner}
    return [action for action in domain.actions if not action.needs and action.thing in owned]


def chain(task: TaskWriter, ruled: bool) -> None:
    """Find a thing and do something with it; `ruled`: if the policy allows it."""
    action = task.rng.choice(changeable(task.domain))
    kind: RuleKind | None = task.rng.choice(("check", "status", "confirm")) if ruled else None
    target = target_of(task, action, alike=kind != "confirm")  # who is told no has no use for the right one of two
    hidden = find(task, target)
    if kind:
        _ask_first(task, target) if kind == "confirm" else _look_first(task, target, kind)
    task.call(target.act, target.changed, hidden, known={target.act.takes[0].key: target.code})
    task.parts.wishes.append(task.wish(action, target.known_by, hidden, new=target.changed))
    task.finish()


def target_of(task: TaskWriter, action: NaturalAction, taken: Collection[str] = (), alike: bool = True) -> Target:
    """A thing of the user's for an action; `alike`: there may be two. `taken`: fields that do not tell them apart."""
    thing = task.writer.thing(action.thing)
    owner = next(each for each in thing.fields if each.name == thing.owner)
    telling = [
        each
        for each in thing.fields
        if each.kind in _TELLING and each is not owner and each.name not in (*action.changes, *taken)
    ]
    differs = task.rng.choice(telling) if telling and alike and task.rng.random() < _ALIKE else None
    finds = task.use(task.writer.find(thing, owner, [differs] if differs else ()))
    act = task.use(task.writer.act(action))
    mine = task.rows.things(thing, owner, act.takes[1:], differs)
    which = SaidValue(finds.gives[1], mine.values[differs.name]) if differs else None
    return Target(
        thing=thing,
        find=finds,
        act=act,
        mine=mine,
        owner=SaidValue(finds.takes[0], mine.values[owner.name]),
        which=which,
        changed=[*mine.changed],
    )


def new_values(task: TaskWriter, act: Spec, target: Target) -> list[SaidValue]:
    """Other values than the thing has, for all that another action changes.

    Raises:
        NoRoomError: none has room beside the thing's others.
    """
    found = task.rows.changed(target.thing, target.mine.values, act.takes[1:])
    if found is None:
        raise NoRoomError(f"thing {target.thing.name!r}: no other values for {act.name} have room beside those it has")
    return found


def find(task: TaskWriter, target: Target) -> list[str]:
    """The steps up to the thing's code, with what is asked for on the way; returns the parameters that are not said."""
    hidden: list[str] = []
    later = target.which is not None and task.rng.random() < 0.5
    if task.gap and not later:
        hidden.append(task.hide([target.owner, *target.changed]))
    task.call(target.find, [target.owner], hidden, needed=True)
    if target.which is None:
        return hidden
    name = column(target.which.written.field)
    if task.gap and later:  # that there are two shows only now
        hidden.append(task.hide([target.which]))
        task.parts.steps.append(Pick(known={name: name}))
    else:
        task.parts.steps.append(Pick(given={name: target.which.value.canonical}))
    return hidden


def measured(task: TaskWriter, target: Target, taken: Collection[str] = ()) -> list[Field]:
    """Fields of the thing whose values are kept as numbers, and of which no other field says anything."""
    return [
        each
        for each in target.thing.fields
        if each.kind in _MEASURED
        and not is_bound(each, target.thing.fields)
        and each.name not in taken
        and isinstance(target.mine.row[column(each)], int | float)
    ]


def _ask_first(task: TaskWriter, target: Target) -> None:
    """The user has to agree; in the twin the user does not."""
    parts, act = task.parts, target.act
    rule = Rule("live", "confirm", act.name, None, act.takes[0].key, "", "", 0)
    parts.rules.append(Ruled(rule.id, rule.check, prose("confirm", act.name, "", _why(task, target), task.rng)))
    parts.facts.append(Fact(slot=CONFIRM, value="yes", phrase="yes, go ahead"))
    question = task.rng.choice(("Do you confirm?", "Shall I go ahead? Please confirm."))
    parts.steps.append(Ask(slot=CONFIRM, guess="yes", milestone="Ask the user to confirm", question=question))
    kept = Answer(outcome="kept", milestone="Leave it, as the user says")
    parts.steps.append(Guard(conditions=(Condition(field=CONFIRM, value="yes"),), otherwise=kept))
    parts.change = FactChange(CONFIRM, "no", "no, leave it")


def _look_first(task: TaskWriter, target: Target, kind: RuleKind) -> None:
    """The status decides; in the task the act is permitted."""
    parts, rng, thing, act = task.parts, task.rng, target.thing, target.act
    amounts = measured(task, target)
    amount = rng.choice(amounts) if amounts and rng.random() < _DECOY else None
    look = task.use(task.writer.get(thing, [amount] if amount else ()))
    task.look(look, {look.takes[0].key: target.code})
    ok, bad = rng.sample(thing.statuses, 2)
    rule = Rule("live", kind, act.name, look.name, look.takes[0].key, ok, bad, 0)
    value = ok if kind == "check" else bad
    text = prose(kind, act.name, value, _why(task, target), rng, noun=thing.name)
    parts.rules.append(Ruled(rule.id, rule.check, text))
    has = ok if kind == "check" else rng.choice([s for s in thing.statuses if s != bad])
    target.mine.row[STATUS] = has
    refused = Answer(outcome="refused", values=(STATUS,), milestone="Refuse because of its status")
    parts.steps.append(Guard(conditions=rule.licence, otherwise=refused))
    wrong = bad if kind == "status" else rng.choice([s for s in thing.statuses if s != ok])
    parts.change = RowChange(thing.name, target.mine.code, STATUS, wrong)
    decoy = _above(task, target, look, amount) if amount else None
    if decoy is None and rng.random() < _DECOY:
        decoy = decoy_status(thing, act, look, (has, bad), rng)
    parts.rules += [decoy] if decoy else []


def _above(task: TaskWriter, target: Target, look: Spec, field: Field) -> Ruled | None:
    """A limit that the thing's amount does not reach; None where none is found."""
    form = task.writer.form(target.thing, field)
    for _ in range(10):
        limit = draw(field, form, task.context, task.rng).canonical
        if limit > target.mine.row[column(field)]:
            return decoy_amount(target.thing, target.act, look, field, limit, task.context.currency, task.rng)
    return None


def _why(task: TaskWriter, target: Target) -> str:
    reasons = (action.why for action in task.domain.actions if action.thing == target.thing.name and action.why)
    return next(reasons, "")
