"""From a task to the criteria it is judged by: constraints, sub-goals, required interactions, each with its check.

The expert's path through the world says what has to be reached; a sub-goal that changes the world is checked on the
final state, so that any path to it counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synthagent.episodes.episode import Episode
from synthagent.episodes.scripted import Executed, solve
from synthagent.episodes.turn import Turn, turn_of
from synthagent.episodes.world import World
from synthagent.records import Criterion, Task
from synthagent.worlds import AllOf, Answer, Answered, Ask, Call, Called, Check, Condition, Op, RowExists, Told, Unasked

OUTCOMES = ("done", "refused", "kept")
CANNOT = "cannot"  # of natural tasks: no tool does it
Tables = Mapping[str, Mapping[Any, Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Derived:
    """The criteria of a task, and the expert's path they came from: milestones, turns, the outcome at its end."""

    criteria: tuple[Criterion, ...]
    workflow: tuple[str, ...]
    turns: tuple[Turn, ...]
    outcome: str | None


def extract(task: Task, world: World) -> Derived:
    """Run the expert in `world` (fresh) and read the criteria off its path."""
    criteria = [
        Criterion(id=c.id, kind="constraint", text=c.text, check=task.world.rules.get(c.id)) for c in task.constraints
    ]
    if natural(task):  # what the request itself makes depend on something
        spoken = {c.id for c in task.constraints}
        criteria += [
            Criterion(id=name, kind="constraint", text=f"{rule.tool}: only where the user wants it", check=rule)
            for name, rule in task.world.rules.items()
            if name not in spoken
        ]
    before: Tables = world.state()
    proof: Check | None = None  # of the last call; an answer counts only for who has the ground to give it
    workflow, outcome = list[str](), None
    episode = Episode(task, world=world)
    path = solve(episode)
    for number, executed in enumerate(path, 1):
        step = executed.step
        match step:
            case Ask():
                criteria.append(_criterion(f"i{number}", "interaction", step.milestone, Told(slot=step.slot)))
            case Call():
                proof = _reached(step, executed, before, task)
                criteria.append(_criterion(f"s{number}", "subgoal", step.milestone, proof))
            case Answer():
                outcome = step.outcome
                said: Check = _answered(task, executed)
                check = said if proof is None else AllOf(checks=(said, proof))
                criteria.append(_criterion(f"s{number}", "subgoal", step.milestone, check))
            case _:
                continue
        workflow.append(step.milestone)
        before = executed.after
    if natural(task) and not any(isinstance(step, Ask) for step in task.reference):
        criteria.append(_criterion("i0", "interaction", "Ask nothing that the request has said", Unasked()))
    turns = (turn_of(message) for message in episode.messages if message["role"] == "assistant")
    return Derived(tuple(criteria), tuple(workflow), tuple(turns), outcome)


def natural(task: Task) -> bool:
    """Whether a task was written in natural language, with typed values."""
    return bool(task.world.opening)


def _criterion(name: str, kind: Any, text: str, check: Check) -> Criterion:
    return Criterion(id=name, kind=kind, text=text, check=check)


def _reached(step: Call, executed: Executed, before: Tables, task: Task) -> Check:
    """What the call brought about: the rows it changed, or else that it was made."""
    changes = [
        _row_check(task, table, key, row, before[table].get(key))
        for table, rows in executed.after.items()
        for key, row in rows.items()
        if row != before[table].get(key)
    ]
    if not changes:
        return Called(tool=step.tool, ok=executed.ok, args=_equal(executed.args, task))
    return changes[0] if len(changes) == 1 else AllOf(checks=tuple(changes))


def _row_check(task: Task, table: str, key: Any, row: Mapping[str, Any], old: Mapping[str, Any] | None) -> RowExists:
    key_column = task.world.tables[table].key
    existed = any(first[key_column] == key for first in task.world.tables[table].rows)
    if existed:
        changed = {column: value for column, value in row.items() if (old or {}).get(column) != value}
        return RowExists(table=table, where=_equal({key_column: key, **changed}, task))
    # A row that the episode made is known by what it holds: its key depends on the order of calls.
    return RowExists(table=table, where=_equal({c: v for c, v in row.items() if c != key_column}, task), new=True)


def _answered(task: Task, executed: Executed) -> Answered:
    step = executed.step
    assert isinstance(step, Answer)
    words = [step.outcome, *(str(value) for value in executed.values.values())]
    outcomes = (*OUTCOMES, CANNOT) if natural(task) else OUTCOMES
    others = [outcome for outcome in outcomes if outcome != step.outcome]
    columns = {name: output for s in task.reference if isinstance(s, Call) for output, name in s.keeps.items()}
    said = {str(value) for value in executed.values.values()}
    for name, value in executed.values.items():
        told = said if name in columns else {str(value)}
        others += sorted({str(v) for v in _rivals(task, columns.get(name, name))} - told)
    return Answered(words=tuple(words), none_of=tuple(others))


def _rivals(task: Task, column: str) -> list[Any]:
    """Other values that the column has in this world or its policy: naming them all must not count as an answer."""
    rows = (row for table in task.world.tables.values() for row in table.rows)
    spoken = (c.value for rule in task.world.rules.values() if rule.seen for c in rule.seen.result if c.field == column)
    return [*(row[column] for row in rows if column in row), *spoken]


def _equal(values: Mapping[str, Any], task: Task) -> tuple[Condition, ...]:
    op: Op = "same" if natural(task) else "eq"
    return tuple(Condition(field=field, op=op, value=value) for field, value in values.items())
