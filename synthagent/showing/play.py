"""A person as the policy: lines typed in the terminal -> turns of an episode, then verdicts and reward.

Launch: `synthagent play TASK_ID`, `synthagent play TASK_ID --tasks FILE`.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

from synthagent.episodes.episode import Episode, at_once, play
from synthagent.episodes.turn import ToolCall, Turn
from synthagent.episodes.world import fresh_world, is_simulated
from synthagent.errors import MissingBackendError
from synthagent.judging.criteria import extract
from synthagent.judging.scoring import score_episode
from synthagent.params import Params
from synthagent.params_file import load_params
from synthagent.records import Rubric, Task
from synthagent.showing.show import (
    VALUES,
    find,
    no_such_id,
    safe,
    section,
    shown_message,
    signature,
    task_of_file,
    type_of,
    verdict_table,
)
from synthagent.stage import Paths

_ARGUMENT = re.compile(r'\s*(\w+)\s*=\s*("(?:[^"\\]|\\.)*"|[^,"]*?)\s*(?:,|$)')
_CALL = re.compile(r"(\w+)\s*([({].*|\w+\s*=.*)?$", re.DOTALL)  # a name alone, or with what looks like arguments
_HELP = (
    'To call a tool: its name and arguments, `name(argument=value, ..)` or `name {"argument": "value"}`. '
    "To end: `answer: ..`. Anything else is said to the user; `say: ..` says what looks like a call. Ctrl-D leaves."
)


def play_in_terminal(task_id: str, tasks: Path | None = None) -> None:
    """Let a person act in a task, then print the verdicts and the reward.

    `tasks`: a file to take it from, instead of `data/`; rubrics are then those of `rubrics.parquet` beside it.

    Raises:
        InputError: no such task, or the task cannot be run.
        MissingBackendError: the task's world needs an LLM.
        ParamsError, StoreError: params or tasks cannot be read.
    """
    params = load_params()
    task = find(Paths.tasks, Task, task_id) if tasks is None else task_of_file(task_id, tasks)
    if task is None:
        raise no_such_id(task_id, (Paths.tasks,))
    rubrics = Paths.rubrics if tasks is None else tasks.with_name(Paths.rubrics.name)
    if is_simulated(task):
        raise MissingBackendError(f"{task_id}: an LLM simulates its world; choose a task with an executable world")
    console = Console(highlight=False)
    episode = Episode(task, max_turns=params.episode.max_turns)
    for message in episode.messages:
        console.print(shown_message(message))
    console.print(section("Tools", [signature(tool) for tool in task.tools]), safe(_HELP, "dim"))
    play(episode, _person(episode, console))
    if episode.end is None:
        console.print("\nYou left before the end: no reward.")
    else:
        rubric = find(rubrics, Rubric, task_id)
        console.print(f"The episode has ended: {episode.end}.", _outcome(episode, rubric, params))


def _person(episode: Episode, console: Console) -> Iterator[Turn]:
    """The turns that a person types; what answers each is printed before the next."""
    while episode.end is None:
        try:
            turn = _read_turn(input("> "), episode.task)
        except (EOFError, KeyboardInterrupt):
            return
        if isinstance(turn, str):
            console.print(safe(turn, "red"))
            continue
        start = len(episode.messages) + 1
        yield turn
        for message in episode.messages[start:]:
            console.print(shown_message(message))


def _read_turn(line: str, task: Task) -> Turn | str:
    """What a person means by a line; or, where it cannot be read, what to do about it."""
    line = line.strip()
    if not line:
        return _HELP
    head, _, answer = line.partition(":")
    if head.lower() == "answer":
        return Turn(f"<answer>{answer.strip()}</answer>")
    if head.lower() == "say":
        return Turn(answer.strip()) if answer.strip() else _HELP
    schemas = {tool.name: tool.parameters for tool in task.tools}
    called = _CALL.match(line)
    if called is None:
        return Turn(line)
    name = called.group(1)
    if name not in schemas:
        return _no_tool(name, list(schemas)) if called.group(2) or _near(name, list(schemas)) else Turn(line)
    args = _read_args(line[len(name) :].strip(), schemas[name])
    return Turn(calls=(ToolCall(name, args),)) if args is not None else f"These arguments cannot be read. {_HELP}"


def _no_tool(name: str, tools: Sequence[str]) -> str:
    """What to tell a person who seems to have mistyped a tool: said to the user, it would cost a turn, or a fact."""
    near = _near(name, tools)
    meant = f"did you mean {near}?" if near else f"the tools are {', '.join(tools)}."
    return f"Nothing was done: there is no tool {name}; {meant} To say it to the user, write `say: ..`."


def _near(name: str, tools: Sequence[str]) -> str:
    """The tool whose name is most like a word; empty if none is."""
    return next(iter(difflib.get_close_matches(name.lower(), tools, 1, 0.8)), "")


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
    if type_of(schema) == "string" and not value.startswith('"'):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _outcome(episode: Episode, rubric: Rubric | None, params: Params) -> RenderableType:
    task = episode.task
    if rubric is None:
        rubric = Rubric(task_id=task.id, criteria=extract(task, fresh_world(task)).criteria, coverage=1.0)
    reward = at_once(score_episode(episode, rubric, params)).reward
    if reward.status == "error":
        return safe("no reward: the rubric has criteria that only a judge can decide", "red")
    return verdict_table(reward.verdicts, rubric.criteria, {name: getattr(reward, name) for name in VALUES})
