"""The pattern `condition`: the request says on what it depends, and what is to be done in either case.

The world decides: a status, or an amount, that a look at the thing shows. The twin is the other case.
"""

from __future__ import annotations

from dataclasses import dataclass

from synthagent.frozen import Json
from synthagent.teacher.natural.chains import Target, changeable, find, measured, new_values, target_of
from synthagent.teacher.natural.conversations import Proviso, Side, can_be_compared, conditional
from synthagent.teacher.natural.details import Detail
from synthagent.teacher.natural.domain import Field, NaturalAction
from synthagent.teacher.natural.house import Ruled
from synthagent.teacher.natural.rows import SaidValue
from synthagent.teacher.natural.toolset import STATUS, Spec, column
from synthagent.teacher.natural.values import draw
from synthagent.teacher.natural.writing import TaskWriter
from synthagent.teacher.twins import RowChange
from synthagent.worlds import Answer, Call, Called, Condition, Guard, Never, Op

_OPPOSITE: dict[Op, Op] = {"eq": "ne", "ne": "eq", "le": "gt", "ge": "lt"}
_TRIES = 20


@dataclass(frozen=True, slots=True)
class _Case:
    """What the wish depends on: as it is said, as it is decided; values of the thing with which it holds, and not."""

    clause: Proviso
    field: Field | None
    condition: Condition
    holds: Json
    fails: Json


def condition(task: TaskWriter) -> None:
    """Find a thing, look at it, and do one thing or the other; in the task the condition holds."""
    parts, rng = task.parts, task.rng
    among = changeable(task.domain)
    action = rng.choice(among)
    rest = [other for other in among if other.thing == action.thing and other is not action]
    instead = rng.choice(rest) if rest and rng.random() < 0.5 else None
    taken = (*action.changes, *(instead.changes if instead else ()))
    target = target_of(task, action, taken)
    other = task.use(task.writer.act(instead)) if instead else None
    otherwise = new_values(task, other, target) if other else []
    case = _case(task, target, taken)
    find(task, target)
    look = task.use(task.writer.get(target.thing, [case.field] if case.field else ()))
    task.look(look, {look.takes[0].key: target.code})
    parts.steps.append(
        Guard(
            conditions=(case.condition,),
            instead=(_call(other, otherwise, target),) if other else (),
            otherwise=Answer(outcome="done", milestone="Report what was done instead")
            if other
            else Answer(outcome="kept", milestone="Leave it, as the user wants it then"),
        )
    )
    task.call(target.act, target.changed, known={target.act.takes[0].key: target.code})
    task.finish()
    parts.rules.append(_only_if("asked", target.act, look, case.condition))
    if other:
        opposite = case.condition.model_copy(update={"op": _OPPOSITE[case.condition.op]})
        parts.rules.append(_only_if("asked_instead", other, look, opposite))
    target.mine.row[case.condition.field] = case.holds
    parts.change = RowChange(target.thing.name, target.mine.code, case.condition.field, case.fails)
    parts.instruction = _said(task, target, action, case.clause, instead, otherwise)


def _case(task: TaskWriter, target: Target, taken: tuple[str, ...]) -> _Case:
    """A status in most tasks, else an amount."""
    rng = task.rng
    said = [each for each in (target.which, target.owner) if each]
    fields = measured(task, target, (*taken, *(each.written.field.name for each in said)))
    found = _amount(task, target, rng.choice(fields)) if fields and rng.random() < 0.5 else None
    if found:
        return found
    named, unnamed = rng.sample(target.thing.statuses, 2)
    op: Side = rng.choice(("eq", "eq", "ne"))
    holds, fails = (named, unnamed) if op == "eq" else (unnamed, named)
    clause = Proviso(Detail("the status is {}", named, STATUS), op)
    return _Case(clause, None, Condition(field=STATUS, op=op, value=named), holds, fails)


def _amount(task: TaskWriter, target: Target, field: Field) -> _Case | None:
    """A limit, an amount on each side of it; None where the field does not say its value, or has no such amounts."""
    rng, form = task.rng, task.writer.form(target.thing, field)
    limit = draw(field, form, task.context, rng)
    detail = Detail(rng.choice(field.say), limit.surface, field.name)
    op: Side = rng.choice(("le", "ge"))
    drawn = [draw(field, form, task.context, rng).canonical for _ in range(_TRIES)]
    under = [value for value in drawn if value < limit.canonical]
    over = [value for value in drawn if value > limit.canonical]
    if not under or not over or not can_be_compared(detail):
        return None
    holds, fails = (under[0], over[0]) if op == "le" else (over[0], under[0])
    decided = Condition(field=column(field), op=op, value=limit.canonical)
    return _Case(Proviso(detail, op), field, decided, holds, fails)


def _call(spec: Spec, said: list[SaidValue], target: Target) -> Call:
    given = {each.written.key: each.value.canonical for each in said}
    args = {spec.takes[0].key: target.code}
    return Call(tool=spec.name, args=args, given=given, milestone=f"Call {spec.name}")


def _only_if(name: str, act: Spec, look: Spec, condition: Condition) -> Ruled:
    """What the request makes depend on something is not done otherwise."""
    seen = Called(tool=look.name, result=(condition,))
    return Ruled(name, Never(tool=act.name, seen=seen, same=(look.takes[0].key,)))


def _said(
    task: TaskWriter,
    target: Target,
    action: NaturalAction,
    clause: Proviso,
    instead: NaturalAction | None,
    otherwise: list[SaidValue],
) -> str:
    wish = task.wish(action, target.known_by, new=target.changed)
    other = task.wish(instead, (), new=otherwise) if instead else None
    return conditional(wish, clause, other, task.voice, task.persona, task.rng)
