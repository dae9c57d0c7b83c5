"""Tasks and trajectories as readable text: an id + `data/` -> text for the terminal.

The texts of a dataset are untrusted: control characters are shown as escapes, so that no text can steer the terminal.

Launch: `synthagent show ID`, `synthagent show ID --tasks FILE`.
"""

from __future__ import annotations

import difflib
import heapq
import io
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from synthagent.errors import InputError
from synthagent.frozen import Record
from synthagent.judging.proofs import PROOFS
from synthagent.records import (
    Criterion,
    EvaluatedEpisode,
    Evaluation,
    Rejected,
    Reward,
    Rubric,
    Task,
    Trajectory,
    Verdict,
)
from synthagent.stage import Paths
from synthagent.store import find_record, read_keys, read_records
from synthagent.text import visible
from synthagent.worlds import Tool

R = TypeVar("R", bound=Record)
_TRAJECTORIES: dict[Path, type[Trajectory]] = {
    Paths.demos: Trajectory,
    Paths.rollouts: Trajectory,
    Paths.episodes: EvaluatedEpisode,
}
_WRITERS = {Paths.tasks: "tasks", Paths.demos: "rubrics", Paths.rollouts: "rollouts", Paths.episodes: "evaluate"}
VALUES = ("gate", "subgoals", "interactions", "reward", "reward_paper")


def show_text(id: str, tasks: Path | None = None) -> str:
    """A task or a trajectory as text, coloured where standard output is a terminal.

    `tasks`: a file of tasks to look in, instead of `data/`.

    Raises:
        InputError: no such id; says why its task is not there, or names the nearest.
        StoreError: a dataset cannot be read.
    """
    parts = _parts(id) if tasks is None else _parts_of_file(id, tasks)
    return _printed(parts, min(shutil.get_terminal_size((100, 0)).columns, 120), sys.stdout.isatty())


def trajectory_text(trajectory: Trajectory, reward: Reward, rubric: Rubric | None) -> str:
    """A trajectory as plain text, for a file."""
    return _printed(_trajectory_parts(trajectory, reward, rubric), 120, False)


def _printed(parts: Sequence[RenderableType], width: int, coloured: bool) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=coloured, highlight=False, force_jupyter=False)
    console.print(Group(*parts))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().rstrip("\n")


def _parts(id: str) -> Sequence[RenderableType]:
    task = find(Paths.tasks, Task, id)
    if task is not None:
        return _task_parts(task, find(Paths.rubrics, Rubric, id), find(Paths.dropped, Rejected, id))
    for path, record in _TRAJECTORIES.items():
        trajectory = find(path, record, id)
        if trajectory is not None:
            rubric = find(Paths.rubrics, Rubric, trajectory.task_id)
            return _trajectory_parts(trajectory, _reward_of(trajectory), rubric)
    raise no_such_id(id, (Paths.tasks, *_TRAJECTORIES))


def _parts_of_file(id: str, file: Path) -> Sequence[RenderableType]:
    task = task_of_file(id, file)
    return _task_parts(task, find(file.with_name(Paths.rubrics.name), Rubric, id), None)


def task_of_file(id: str, file: Path) -> Task:
    """A task of a file of tasks.

    Raises:
        InputError: it has none of this id, the nearest are named.
        StoreError: it cannot be read.
    """
    task = find_record(file, Task, id)
    if task is None:
        raise no_such_id(id, (file,))
    return task


def _reward_of(trajectory: Trajectory) -> Reward | None:
    """What a rollout or an evaluated episode has earned; None for a demonstration, and where that is not there."""
    if not isinstance(trajectory, EvaluatedEpisode):
        return find(Paths.rewards, Reward, trajectory.id)
    who = (trajectory.policy, trajectory.decoding, trajectory.task_id, trajectory.sample)
    rows = read_records(Paths.evaluation, Evaluation) if Paths.evaluation.exists() else ()
    row = next((row for row in rows if (row.policy, row.decoding, row.task_id, row.sample) == who), None)
    values = {name: getattr(row, name, None) for name in VALUES}
    return Reward(
        trajectory_id=trajectory.id,
        task_id=trajectory.task_id,
        verdicts=trajectory.verdicts,
        status="error" if row is None else "ok",
        **values,
    )


def find(path: Path, record: type[R], key: str) -> R | None:
    """The row with this key; None also where the dataset is not there."""
    return find_record(path, record, key) if path.exists() else None


def no_such_id(id: str, paths: Sequence[Path]) -> InputError:
    """What to tell where `paths` have no row of this id."""
    if Paths.tasks in paths and (gone := _why_gone(id)) is not None:
        return gone
    here = [path for path in paths if path.exists()]
    keys = [key for path in here for key in read_keys(path, _TRAJECTORIES.get(path, Task))]
    shown, places = visible(id), ", ".join(map(str, here or paths))
    if not keys:
        return InputError(f"{shown}: no rows in {places}; run `dvc repro`, from the project's root")
    absent = [f"; {path} is not there: `dvc repro {_WRITERS[path]}`" for path in paths if path not in here]
    matcher = difflib.SequenceMatcher(b=id)

    def distance(key: str) -> tuple[float, str]:
        matcher.set_seq1(key)
        return -matcher.ratio(), key

    near = ", ".join(heapq.nsmallest(3, keys, distance))
    return InputError(f"{shown}: no such id in {places}; the nearest are {visible(near)}{''.join(absent)}")


def _why_gone(id: str) -> InputError | None:
    """Which stage left out the task of this name, or of this trajectory, and why."""
    names = (id, id.rsplit(".", 2)[0], id.rsplit(".", 3)[0])  # TASK.POLICY.SAMPLE, TASK.POLICY.greedy.SAMPLE
    for name in dict.fromkeys(names):
        for path, verb in ((Paths.rejected, "refused"), (Paths.dropped, "dropped")):
            row = find(path, Rejected, name)
            if row is not None:
                whose = "it" if name == id else f"its task {name}"
                said = f"{whose} was {verb} by the stage {row.stage}: {_reason(row)} ({path})"
                return InputError(visible(f"{id}: no such id; {said}"))
    return None


def _reason(row: Rejected) -> str:
    """The reason on one line."""
    return textwrap.shorten(f"{row.reason}: {row.detail}", 500)


def _task_parts(task: Task, rubric: Rubric | None, dropped: Rejected | None) -> Sequence[RenderableType]:
    head = f"{task.domain}, level {task.difficulty}, {task.split}, {task.world_kind}; persona {task.persona_id}"
    if task.twin_of:
        head += f"; twin {task.twin_of}"
    facts = [f"{fact.slot} = {fact.value}: {fact.phrase}" for fact in task.facts]
    proofs = {name: {True: "holds", False: "FAILS", None: "not known"}[getattr(task, name)] for name in PROOFS}
    return [
        Panel(safe(task.instruction), title=safe(task.id, "bold"), subtitle=safe(head), title_align="left"),
        section("Constraints", [f"{constraint.id}: {constraint.text}" for constraint in task.constraints]),
        section("Tools", [signature(tool, task.distractors) for tool in task.tools]),
        section("Facts, which only the user knows", facts),
        section("Workflow, which the agent never sees", [f"{n}. {line}" for n, line in enumerate(task.workflow, 1)]),
        *([] if rubric is None else [_criteria_table(rubric)]),
        *([] if dropped is None else [section(f"Dropped by the stage {dropped.stage}", [_reason(dropped)])]),
        section("Proofs", [f"{name}: {outcome}" for name, outcome in proofs.items()]),
    ]


def _trajectory_parts(trajectory: Trajectory, reward: Reward | None, rubric: Rubric | None) -> Sequence[RenderableType]:
    t = trajectory
    counts = f"{t.n_turns} turns, {t.n_tool_calls} tool calls, {t.n_questions} questions"
    head = f"{t.policy}, sample {t.sample}, on {t.task_id}: {counts}; ended by {t.end}"
    parts: list[RenderableType] = [Panel(safe(head), title=safe(t.id, "bold"), title_align="left")]
    parts += [shown_message(message) for message in t.messages]
    if t.error:
        parts.append(safe(f"error: {t.error}", "red"))
    if reward is not None and reward.status == "ok":
        criteria = () if rubric is None else rubric.criteria
        parts.append(verdict_table(reward.verdicts, criteria, {name: getattr(reward, name) for name in VALUES}))
    elif reward is not None:
        parts.append(safe("no reward: it could not be run again or judged", "red"))
    return parts


def shown_message(message: Mapping[str, Any]) -> RenderableType:
    """A chat message, its role in front."""
    role, lines = str(message.get("role")), str(message.get("content") or "").splitlines()
    for call in message.get("tool_calls", ()):
        lines.append(f"calls {call['function']['name']} {call['function']['arguments']}")
    style = {"assistant": "cyan", "user": "green", "tool": "yellow"}.get(role, "dim")
    return Text.assemble(safe(f"{role:>9}  ", f"bold {style}"), safe("\n           ".join(lines)))


def section(title: str, lines: Sequence[str]) -> RenderableType:
    """A title with lines below it."""
    return Group(safe(title, "bold"), *(Text.assemble("  ", safe(line)) for line in lines or ("none",)))


def signature(tool: Tool, distractors: Iterable[str] = ()) -> str:
    """`renew_loan(loan_id: string) -> status: a distractor`."""
    required = tool.parameters.get("required", ())
    args = ", ".join(
        f"{name}{'' if name in required else '?'}: {type_of(schema)}"
        for name, schema in tool.parameters.get("properties", {}).items()
    )
    kind = " (a distractor)" if tool.name in distractors else ""
    outputs = ", ".join(tool.outputs) or "?"
    return f"{tool.name}({args}) -> {outputs}: {tool.description}{kind}"


def type_of(schema: Any) -> str:
    """The type that a JSON schema asks for."""
    return str(schema.get("type", "any")) if isinstance(schema, dict) else "any"


def _criteria_table(rubric: Rubric) -> RenderableType:
    table = Table(title=f"Rubric; demonstrations cover {rubric.coverage:.0%}", title_justify="left", title_style="bold")
    for column in ("id", "kind", "criterion", "decided by"):
        table.add_column(column)
    for c in rubric.criteria:
        table.add_row(safe(c.id), c.kind, safe(c.text), "judge" if c.check is None else f"check: {c.check.kind}")
    return table


def verdict_table(
    verdicts: Sequence[Verdict], criteria: Sequence[Criterion], values: Mapping[str, float]
) -> RenderableType:
    """The verdicts with their evidence, and what they come to."""
    texts = {c.id: f"{c.kind}: {c.text}" for c in criteria}
    table = Table(title="Verdicts", title_justify="left", title_style="bold")
    for column in ("criterion", "", "by", "evidence"):
        table.add_column(column)
    for v in verdicts:
        mark = Text("passed", "green") if v.passed else Text("failed", "red")
        table.add_row(safe(f"{v.criterion} {texts.get(v.criterion, '')}"), mark, v.by, safe(v.evidence))
    line = ", ".join(f"{name} {value:.3f}" for name, value in values.items())
    return Group(table, safe(line, "bold"))


def safe(text: str, style: str = "") -> Text:
    """A text of a dataset, without any character that could steer the terminal."""
    return Text(visible(text), style)
