"""Makes a task's world executable: the model's flat `WorldForm` -> tables, effects, reference -> proved by running it.

The form is data: it is checked against the tools, converted to records and interpreted by `synthagent.episodes.world`.
If anything is wrong with it, the task stays simulated, with the reason; nothing crashes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from synthagent.episodes.episode import Episode
from synthagent.episodes.scripted import solve
from synthagent.episodes.user import CONFIRM
from synthagent.judging.proofs import PROOFS, prove
from synthagent.records import Task
from synthagent.teacher.llm.checks import RefusedError
from synthagent.teacher.llm.shapes import (
    AnswerForm,
    AskForm,
    CallForm,
    ConditionForm,
    EffectForm,
    GuardForm,
    TableForm,
    WorldForm,
)
from synthagent.text import words_of
from synthagent.worlds import Answer, Ask, Call, Condition, Effect, Guard, Requirement, Step, Table, Tool, WorldSpec


def executable(task: Task, form: WorldForm) -> Task:
    """The simulated `task` in the executable world of `form`, with its proofs.

    Raises:
        RefusedError: what the world lacks: a reason of the checks here, `world_error` if running it fails, the name of
            the first proof that does not hold, or `call_fails`.
    """
    tables = {table.name: _table(table) for table in form.tables}
    if len(tables) < len(form.tables):
        raise RefusedError("bad_table", "two tables of one name")
    _check_effects(task, form)
    effects = {
        tool: tuple(_effect(effect) for effect in form.effects if effect.tool == tool)
        for tool in (tool.name for tool in task.tools)
    }
    reference = tuple(_step(step) for step in form.reference)
    _check_reference(task, reference)
    made = task.model_copy(
        update={
            "tools": tuple(_with_outputs(tool, effects) for tool in task.tools),
            "world_kind": "executable",
            "world": WorldSpec(tables=tables, effects=effects, new_ids=form.new_ids, rules=task.world.rules),
            "reference": reference,
        }
    )
    return _proved(made)


def _proved(task: Task) -> Task:
    try:
        proved = prove(task)
        path = solve(Episode(task))
    except Exception as error:  # a world of unknown origin may break in any way
        told = " ".join(str(error).split())[:200]
        raise RefusedError("world_error", f"{type(error).__name__}: {told}") from None
    if failed := next((name for name in PROOFS if proved.holds.get(name) is False), None):
        raise RefusedError(failed, proved.detail[failed])
    if any(isinstance(done.step, Call) and not done.ok for done in path):
        # A refusal of what does not exist can be right; in a model's task it means that facts and rows disagree.
        raise RefusedError("call_fails", "a call of the reference fails")
    return task.model_copy(update={**proved.columns, "workflow": proved.extracted.workflow})


# --- checks ---------------------------------------------------------------------------------------------------------


def _check_effects(task: Task, form: WorldForm) -> None:
    """Every tool has an effect, and effects name only tables, columns and arguments that exist."""
    tools = {tool.name: tool for tool in task.tools}
    columns = {table.name: set(table.columns) for table in form.tables}
    for effect in form.effects:
        if effect.tool not in tools:
            raise RefusedError("unknown_tool", f"{effect.tool} has an effect, but is no tool")
        if effect.table not in columns:
            raise RefusedError("unknown_table", f"{effect.tool}: {effect.table}")
        columns[effect.table] |= {written.column for written in effect.write}
    if idle := sorted(tools.keys() - {effect.tool for effect in form.effects}):
        raise RefusedError("tool_without_effect", ", ".join(idle))
    for effect in form.effects:
        _check_effect(effect, tools[effect.tool], columns[effect.table])


def _check_effect(effect: EffectForm, tool: Tool, columns: set[str]) -> None:
    arguments = {pair.argument for pair in effect.where} | {written.argument for written in effect.write} - {""}
    arguments |= {rule.field for rule in effect.require if rule.of == "args"}
    if effect.op in ("get", "update", "delete"):
        arguments.add(effect.key)
    if unknown := sorted(arguments - set(tool.arguments)):
        raise RefusedError("unknown_argument", f"{effect.tool}: {unknown[0]!r}")
    read = {pair.column for pair in effect.where} | {pair.column for pair in effect.returns}
    read |= {rule.field for rule in effect.require if rule.of == "row"}
    if unknown := sorted(read - columns):
        raise RefusedError("unknown_column", f"{effect.tool}: {unknown[0]} in {effect.table}")
    if unknown := sorted({pair.output for pair in effect.returns} - set(tool.outputs)):
        raise RefusedError("unknown_output", f"{effect.tool}: {unknown[0]}")


def _check_reference(task: Task, reference: Sequence[Step]) -> None:
    used = {step.tool for step in reference if isinstance(step, Call)}
    if wrong := sorted(used - {tool.name for tool in task.tools}):
        raise RefusedError("unknown_tool", f"the reference calls {wrong[0]}")
    if wrong := sorted(used & set(task.distractors)):
        raise RefusedError("distractor_used", f"the reference calls {wrong[0]}")
    facts = {fact.slot: fact.value for fact in task.facts}
    for step in reference:
        if isinstance(step, Ask):
            if step.slot not in facts:
                raise RefusedError("unknown_fact", f"the reference asks for {step.slot}")
            if step.slot != CONFIRM and words_of(step.guess) == words_of(facts[step.slot]):
                raise RefusedError("right_guess", f"{step.slot} need not be asked for")


# --- form -> records ------------------------------------------------------------------------------------------------


def _table(form: TableForm) -> Table:
    if len(set(form.columns)) < len(form.columns):
        raise RefusedError("bad_table", f"{form.name}: two columns of one name")
    if any(len(row) != len(form.columns) for row in form.rows):
        raise RefusedError("bad_table", f"{form.name}: a row has not {len(form.columns)} values")
    if len({row[0] for row in form.rows}) < len(form.rows):
        raise RefusedError("bad_table", f"{form.name}: two rows of one {form.columns[0]}")
    return Table(key=form.columns[0], rows=tuple(dict(zip(form.columns, row, strict=True)) for row in form.rows))


def _effect(form: EffectForm) -> Effect:
    return Effect(
        op=form.op,
        table=form.table,
        key=form.key or None,
        where={pair.column: pair.argument for pair in form.where},
        write={w.column: {"arg": w.argument} if w.argument else {"value": w.value} for w in form.write},
        require=tuple(
            Requirement(field=r.field, op=r.op, value=_value(r), of=r.of, message=r.message) for r in form.require
        ),
        returns={pair.output: pair.column for pair in form.returns},
    )


def _with_outputs(tool: Tool, effects: dict[str, tuple[Effect, ...]]) -> Tool:
    """The tool with exactly the outputs that its effects return."""
    given = {output for effect in effects[tool.name] for output in effect.returns}
    outputs = {name: kind for name, kind in tool.outputs.items() if name in given}
    return tool.model_copy(update={"outputs": outputs or {"result": {"type": "string"}}})


def _step(form: AskForm | CallForm | GuardForm | AnswerForm) -> Step:
    match form:
        case AskForm():
            return Ask(slot=form.slot, guess=form.guess, milestone=form.milestone)
        case CallForm():
            return Call(
                tool=form.tool,
                args={pair.argument: pair.known for pair in form.args},
                precaution=form.precaution,
                guess={pair.output: pair.value for pair in form.guess},
                milestone=form.milestone,
                otherwise=_answer(form.otherwise) if form.otherwise else None,
            )
        case GuardForm():
            return Guard(conditions=tuple(map(_condition, form.conditions)), otherwise=_answer(form.otherwise))
        case AnswerForm():
            return _answer(form)


def _answer(form: AnswerForm) -> Answer:
    return Answer(outcome=form.outcome, values=form.values, milestone=form.milestone)


def _condition(form: ConditionForm) -> Condition:
    return Condition(field=form.field, op=form.op, value=_value(form))


def _value(form: ConditionForm) -> Any:
    """A constant as JSON stores it, so that it compares equal after it was stored and read."""
    return list(form.value) if isinstance(form.value, tuple) else form.value
