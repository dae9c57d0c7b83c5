"""A teacher model for tests: answers each step of a proposal with the parts of a task that the embedded teacher wrote.

It knows the proposal by the request's seed and the step by the schema's title. `changes` alter single answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from helpers.fake_openai import Answer, serving
from helpers.projects import said_by, write_params
from helpers.tasks import accepted_tasks, outcome_of
from synthagent.params import Params
from synthagent.params_file import load_params
from synthagent.records import Persona, Rejected, Task
from synthagent.stage import Paths
from synthagent.stages import tasks as stage
from synthagent.stages.personas import built_in
from synthagent.store import read_records, write_records
from synthagent.teacher.acceptance import alone
from synthagent.worlds import Answer as AnswerStep
from synthagent.worlds import Ask, Call, Condition, Effect, Guard, Step, Table, Tool

Form = dict[str, Any]
Change = Callable[[Form], Any]
Changes = Mapping[tuple[int, str], Change | Answer]
MILESTONES = ("The record is known", "Its state is known", "The rule was kept", "It is done", "The user knows")


@lru_cache
def sources() -> tuple[Task, ...]:
    """What the fake teacher writes, by the number of the proposal: one of each two twins, of a size that shapes allow.

    The number of a twin is not asked for: in executable worlds, 2n + 1 where 2n has one.
    """
    tasks = (alone(task) for task in accepted_tasks() if outcome_of(task) == "done")
    return tuple(task for task in tasks if 3 <= len(task.tools) - len(task.distractors) <= 5)


def teacher(changes: Changes | None = None) -> Callable[[Form], Answer]:
    """What the fake server answers. A change is an answer, or makes one of the answer there would have been."""

    def reply(body: Form) -> Answer:
        number, step = body["seed"], body["response_format"]["json_schema"]["schema"]["title"]
        change, answer = (changes or {}).get((number, step)), answers_of(sources()[number])[step]
        if isinstance(change, str | dict):
            return change
        return json.dumps(change(answer) if change else answer)

    return reply


def project_with_teacher(folder: Path, base_url: str, count: int, **changes: Any) -> Params:
    """A project in `folder` whose teacher is the model at `base_url`; `changes` are of params, `__` for a dot."""
    write_records(folder / Paths.personas, Persona, list(built_in())[:7])
    role = {"backend": "openai", "base_url": base_url, "model": "m", "temperature": 0.9}
    fixed: dict[str, Any] = {"tasks.count": count, "roles.teacher": role, "llm.max_concurrency": 4}
    return load_params(write_params(folder, fixed | {key.replace("__", "."): v for key, v in changes.items()}))


def answers_of(task: Task) -> dict[str, Form]:
    """The answers, by the name of their shape, that make a model's task of this one."""
    needed = [tool for tool in task.tools if tool.name not in task.distractors]
    others = [tool for tool in task.tools if tool.name in task.distractors]
    rule = task.world.rules["live"]
    number = [tool.name for tool in needed].index(rule.tool) + 1
    forbidden = {"tool_number": number, "must_not": "act on the wrong thing", "because": "it cannot be undone"}
    return {
        "Toolset": {
            "domain": task.domain,
            "workflow": list(MILESTONES),
            "tools": [tool_form(tool) for tool in needed],
            "forbidden": forbidden,
        },
        "ToolCheck": {"removed": [], "rewritten": [], "distractors": [tool_form(tool) for tool in others]},
        "Fuzzy": {
            "instruction": task.instruction,
            "facts": [fact.model_dump() for fact in task.facts],
            "background": f"In this world {', and '.join(fact.phrase for fact in task.facts)}; all else is as usual.",
        },
        "ConstraintForm": _constraint_form(task),
        "WorldForm": {
            "tables": [_table_form(name, table) for name, table in task.world.tables.items()],
            "effects": [_effect_form(tool, e) for tool, effects in task.world.effects.items() for e in effects],
            "new_ids": list(task.world.new_ids),
            "reference": [_step_form(step) for step in task.reference],
        },
    }


def tool_form(tool: Tool) -> Form:
    parameters = [
        {"name": name, "type": schema["type"], "description": schema["description"], "required": True}
        for name, schema in tool.parameters["properties"].items()
    ]
    return {
        "name": tool.name,
        "description": tool.description,
        "parameters": parameters,
        "outputs": [{"name": name, "type": kind["type"]} for name, kind in tool.outputs.items()],
        "changes_state": False,
    }


def _constraint_form(task: Task) -> Form:
    rule = task.world.rules["live"]
    text = next(constraint.text for constraint in task.constraints if constraint.id == "live")
    form: Form = {"text": text, "licence": "none", "slot": "", "value": ""}
    form |= {"earlier_tool": "", "output": "", "op": "eq", "same": list(rule.same)}
    if rule.told:
        return form | {"licence": "told", "slot": rule.told.slot, "value": rule.told.value or ""}
    assert rule.seen
    (shown,) = rule.seen.result
    form |= {"licence": "call", "earlier_tool": rule.seen.tool}
    return form | {"output": shown.field, "op": shown.op, "value": str(shown.value)}


def _table_form(name: str, table: Table) -> Form:
    columns = [table.key, *(column for column in (table.rows[0] if table.rows else ()) if column != table.key)]
    return {"name": name, "columns": columns, "rows": [[row[column] for column in columns] for row in table.rows]}


def _effect_form(tool: str, effect: Effect) -> Form:
    written = [
        {"column": column, "argument": source.get("arg", ""), "value": source.get("value", "")}
        for column, source in effect.write.items()
    ]
    return {
        "tool": tool,
        "op": effect.op,
        "table": effect.table,
        "key": effect.key or "",
        "where": [{"column": column, "argument": argument} for column, argument in effect.where.items()],
        "write": written,
        "require": [rule.model_dump() for rule in effect.require],
        "returns": [{"output": output, "column": column} for output, column in effect.returns.items()],
    }


def _step_form(step: Step) -> Form:
    match step:
        case Ask():
            return step.model_dump()
        case AnswerStep():
            return step.model_dump()
        case Guard():
            return {
                "kind": "guard",
                "conditions": [Condition.model_dump(condition) for condition in step.conditions],
                "otherwise": step.otherwise.model_dump(),
            }
        case Call():
            return {
                "kind": "call",
                "tool": step.tool,
                "args": [{"argument": argument, "known": known} for argument, known in step.args.items()],
                "precaution": step.precaution,
                "guess": [{"output": output, "value": value} for output, value in step.guess.items()],
                "milestone": step.milestone,
                "otherwise": step.otherwise.model_dump() if step.otherwise else None,
            }


def run(count: int, changes: Changes | None = None, **params: Any) -> tuple[list[Task], list[Rejected], Form]:
    """Tasks, rejected rows and metrics of a run of the stage with a scripted teacher."""
    with serving(teacher(changes)) as server:
        figures = stage.run(project_with_teacher(Path(), server.base_url, count, **params))
    tasks, rejected = list(read_records(Paths.tasks, Task)), list(read_records(Paths.rejected, Rejected))
    return tasks, rejected, said_by(figures)


def having(**update: Any) -> Any:
    """A change of an answer's fields."""
    return lambda answer: answer | update
