"""Tasks and trajectories for human eyes, and a seat in the agent's place. Reads `data/`, writes to the terminal.

Whatever comes out of a dataset was written by someone else: control characters are shown as escapes, so that no text
can steer the terminal.

Launch: `synthagent show ID`, `synthagent play TASK_ID`.
"""

from __future__ import annotations

import difflib
import heapq
import io
import json
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from synthagent.episodes.episode import Episode, at_once
from synthagent.episodes.turn import ToolCall, Turn
from synthagent.episodes.world import fresh_world, is_simulated
from synthagent.errors import InputError, MissingBackendError
from synthagent.judging.criteria import extract
from synthagent.judging.proofs import PROOFS
from synthagent.judging.scoring import score_episode
from synthagent.params import Params, load_params
from synthagent.records import Criterion, Record, Reward, Rubric, Task, Tool, Trajectory, Verdict
from synthagent.stage import Paths
from synthagent.store import find_record, read_keys
from synthagent.text import visible

R = TypeVar("R", bound=Record)
_TRAJECTORIES = (Paths.demos, Paths.rollouts)
_VALUES = ("gate", "subgoals", "interactions", "reward", "reward_paper")
_ARGUMENT = re.compile(r'\s*(\w+)\s*=\s*("(?:[^"\\]|\\.)*"|[^,"]*?)\s*(?:,|$)')
_HELP = (
    'To call a tool: its name and arguments, `name(argument=value, ..)` or `name {"argument": "value"}`. '
    "To end: `answer: ..`. Anything else is said to the user. Ctrl-D leaves."
)


# --- show -----------------------------------------------------------------------------------------------------------


def show_text(id: str) -> str:
    """A task or a trajectory as text, coloured where standard output is a terminal.

    Raises:
        InputError: no such id; names the nearest.
        StoreError: a dataset cannot be read.
    """
    parts = _parts(id)
    width = min(shutil.get_terminal_size((100, 0)).columns, 120)
    console = Console(
        file=io.StringIO(), width=width, force_terminal=sys.stdout.isatty(), highlight=False, force_jupyter=False
    )
    console.print(Group(*parts))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().rstrip("\n")


def _parts(id: str) -> Sequence[RenderableType]:
    task = _find(Paths.tasks, Task, id)
    if task is not None:
        return _task_parts(task, _find(Paths.rubrics, Rubric, id))
    for path in _TRAJECTORIES:
        trajectory = _find(path, Trajectory, id)
        if trajectory is not None:
            reward = _find(Paths.rewards, Reward, id) if path == Paths.rollouts else None
            rubric = _find(Paths.rubrics, Rubric, trajectory.task_id)
            return _trajectory_parts(trajectory, reward, rubric)
    raise _no_such_id(id, (Paths.tasks, *_TRAJECTORIES))


def _find(path: Path, record: type[R], key: str) -> R | None:
    return find_record(path, record, key) if path.exists() else None


def _no_such_id(id: str, paths: Sequence[Path]) -> InputError:
    here = [path for path in paths if path.exists()]
    keys = [key for path in here for key in read_keys(path, Task if path == Paths.tasks else Trajectory)]
    shown, places = visible(id), ", ".join(map(str, here or paths))
    if not keys:
        return InputError(f"{shown}: no rows in {places}; run `dvc repro`, from the project's root")
    matcher = difflib.SequenceMatcher(b=id)

    def distance(key: str) -> tuple[float, str]:
        matcher.set_seq1(key)
        return -matcher.ratio(), key

    near = ", ".join(heapq.nsmallest(3, keys, distance))
    return InputError(f"{shown}: no such id in {places}; the nearest are {visible(near)}")


def _task_parts(task: Task, rubric: Rubric | None) -> Sequence[RenderableType]:
    head = f"{task.domain}, level {task.difficulty}, {task.split}, {task.world_kind}; persona {task.persona_id}"
    facts = [f"{fact.slot} = {fact.value}: {fact.phrase}" for fact in task.facts]
    proofs = {name: {True: "holds", False: "FAILS", None: "not known"}[getattr(task, name)] for name in PROOFS}
    return [
        Panel(_text(task.instruction), title=_text(task.id, "bold"), subtitle=_text(head), title_align="left"),
        _section("Policy", [f"{line.id}: {line.text}" for line in task.constraints]),
        _section("Tools", [_signature(tool, task.distractors) for tool in task.tools]),
        _section("Facts, which only the user knows", facts),
        _section("Workflow, which the agent never sees", [f"{n}. {line}" for n, line in enumerate(task.workflow, 1)]),
        *([] if rubric is None else [_criteria_table(rubric)]),
        _section("Proofs", [f"{name}: {outcome}" for name, outcome in proofs.items()]),
    ]


def _trajectory_parts(trajectory: Trajectory, reward: Reward | None, rubric: Rubric | None) -> Sequence[RenderableType]:
    t = trajectory
    counts = f"{t.n_turns} turns, {t.n_tool_calls} tool calls, {t.n_questions} questions"
    head = f"{t.policy}, sample {t.sample}, on {t.task_id}: {counts}; ended by {t.end}"
    parts: list[RenderableType] = [Panel(_text(head), title=_text(t.id, "bold"), title_align="left")]
    parts += [_message(message) for message in t.messages]
    if t.error:
        parts.append(_text(f"error: {t.error}", "red"))
    if reward is not None and reward.status == "ok":
        criteria = () if rubric is None else rubric.criteria
        parts.append(_verdict_table(reward.verdicts, criteria, {name: getattr(reward, name) for name in _VALUES}))
    elif reward is not None:
        parts.append(_text("no reward: it could not be replayed or judged", "red"))
    return parts


def _message(message: Mapping[str, Any]) -> RenderableType:
    role, lines = str(message.get("role")), str(message.get("content") or "").splitlines()
    for call in message.get("tool_calls", ()):
        lines.append(f"calls {call['function']['name']} {call['function']['arguments']}")
    style = {"assistant": "cyan", "user": "green", "tool": "yellow"}.get(role, "dim")
    return Text.assemble(_text(f"{role:>9}  ", f"bold {style}"), _text("\n           ".join(lines)))


def _section(title: str, lines: Sequence[str]) -> RenderableType:
    return Group(_text(title, "bold"), *(Text.assemble("  ", _text(line)) for line in lines or ("none",)))


def _signature(tool: Tool, distractors: Iterable[str] = ()) -> str:
    """`renew_loan(loan_id: string) -> status: a distractor`."""
    required = tool.parameters.get("required", ())
    args = ", ".join(
        f"{name}{'' if name in required else '?'}: {_type(schema)}"
        for name, schema in tool.parameters.get("properties", {}).items()
    )
    kind = " (a distractor)" if tool.name in distractors else ""
    outputs = ", ".join(tool.outputs) or "?"
    return f"{tool.name}({args}) -> {outputs}: {tool.description}{kind}"


def _type(schema: Any) -> str:
    return str(schema.get("type", "any")) if isinstance(schema, dict) else "any"


def _criteria_table(rubric: Rubric) -> RenderableType:
    table = Table(title=f"Rubric; demonstrations cover {rubric.coverage:.0%}", title_justify="left", title_style="bold")
    for column in ("id", "kind", "criterion", "decided by"):
        table.add_column(column)
    for c in rubric.criteria:
        table.add_row(_text(c.id), c.kind, _text(c.text), "judge" if c.check is None else f"check: {c.check.kind}")
    return table


def _verdict_table(
    verdicts: Sequence[Verdict], criteria: Sequence[Criterion], values: Mapping[str, float]
) -> RenderableType:
    texts = {c.id: f"{c.kind}: {c.text}" for c in criteria}
    table = Table(title="Verdicts", title_justify="left", title_style="bold")
    for column in ("criterion", "", "by", "evidence"):
        table.add_column(column)
    for v in verdicts:
        mark = Text("passed", "green") if v.passed else Text("failed", "red")
        table.add_row(_text(f"{v.criterion} {texts.get(v.criterion, '')}"), mark, v.by, _text(v.evidence))
    line = ", ".join(f"{name} {value:.3f}" for name, value in values.items())
    return Group(table, _text(line, "bold"))


def _text(text: str, style: str = "") -> Text:
    return Text(visible(text), style)


# --- play -----------------------------------------------------------------------------------------------------------


def play_in_terminal(task_id: str) -> None:
    """Let a person act in a task, then print the verdicts and the reward.

    Raises:
        InputError: no such task, or the task cannot be run.
        MissingBackendError: the task's world needs an LLM.
        ParamsError, StoreError: params or tasks cannot be read.
    """
    params = load_params()
    task = _find(Paths.tasks, Task, task_id)
    if task is None:
        raise _no_such_id(task_id, (Paths.tasks,))
    if is_simulated(task):
        raise MissingBackendError(f"{task_id}: an LLM simulates its world; choose a task with an executable world")
    console = Console(highlight=False)
    episode = Episode(task, max_turns=params.episode.max_turns)
    for message in episode.messages:
        console.print(_message(message))
    console.print(_section("Tools", [_signature(tool) for tool in task.tools]), _text(_HELP, "dim"))
    while episode.end is None:
        try:
            line = input("> ")
        except (EOFError, KeyboardInterrupt):
            console.print("\nYou left before the end: no reward.")
            return
        turn = _read_turn(line, task)
        if isinstance(turn, str):
            console.print(_text(turn, "red"))
            continue
        start = len(episode.messages) + 1
        episode.step(turn)
        for message in episode.messages[start:]:
            console.print(_message(message))
    console.print(f"The episode has ended: {episode.end}.", _outcome(episode, params))


def _read_turn(line: str, task: Task) -> Turn | str:
    """What a person means by a line; or, where it cannot be read, what to do about it."""
    line = line.strip()
    if not line:
        return _HELP
    head, _, answer = line.partition(":")
    if head.lower() == "answer":
        return Turn(f"<answer>{answer.strip()}</answer>")
    schemas = {tool.name: tool.parameters for tool in task.tools}
    called = re.match(r"\w+", line)
    if called is None or called.group() not in schemas or not re.match(r"\w+\s*([({].*)?$", line, re.DOTALL):
        return Turn(line)
    name = called.group()
    args = _read_args(line[len(name) :].strip(), schemas[name])
    return Turn(calls=(ToolCall(name, args),)) if args is not None else f"These arguments cannot be read. {_HELP}"


def _read_args(text: str, schema: Mapping[str, Any]) -> dict[str, Any] | None:
    if text.startswith("{"):
        try:
            read = json.loads(text)
        except (ValueError, RecursionError):
            return None
        return read if isinstance(read, dict) else None
    if not text:
        return {}
    if not text.endswith(")"):
        return None
    rest, args = text[1:-1].strip(), dict[str, Any]()
    while rest:
        match = _ARGUMENT.match(rest)
        if match is None:
            return None
        name, value = match.groups()
        args[name] = _read_value(value, schema.get("properties", {}).get(name, {}))
        rest = rest[match.end() :].strip()
    return args


def _read_value(value: str, schema: Any) -> Any:
    """A bare word is a text where the tool wants one; else JSON, if it is."""
    if _type(schema) == "string" and not value.startswith('"'):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _outcome(episode: Episode, params: Params) -> RenderableType:
    task = episode.task
    rubric = _find(Paths.rubrics, Rubric, task.id)
    if rubric is None:
        rubric = Rubric(task_id=task.id, criteria=extract(task, fresh_world(task)).criteria, coverage=1.0)
    reward = at_once(score_episode(episode, rubric, params)).reward
    if reward.status == "error":
        return _text("no reward: the rubric has criteria that only a judge can decide", "red")
    return _verdict_table(reward.verdicts, rubric.criteria, {name: getattr(reward, name) for name in _VALUES})
