"""A person as the policy: lines typed in the terminal -> turns of an episode, then verdicts and reward.

Launch: `synthagent play TASK_ID`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
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
    type_of,
    verdict_table,
)
from synthagent.stage import Paths

_ARGUMENT = re.compile(r'\s*(\w+)\s*=\s*("(?:[^"\\]|\\.)*"|[^,"]*?)\s*(?:,|$)')
_HELP = (
    'To call a tool: its name and arguments, `name(argument=value, ..)` or `name {"argument": "value"}`. '
    "To end: `answer: ..`. Anything else is said to the user. Ctrl-D leaves."
)


def play_in_terminal(task_id: str) -> None:
    """Let a person act in a task, then print the verdicts and the reward.

    Raises:
        InputError: no such task, or the task cannot be run.
        MissingBackendError: the task's world needs an LLM.
        ParamsError, StoreError: params or tasks cannot be read.
    """
    params = load_params()
    task = find(Paths.tasks, Task, task_id)
    if task is None:
        raise no_such_id(task_id, (Paths.tasks,))
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
        console.print(f"The episode has ended: {episode.end}.", _outcome(episode, params))


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
    if type_of(schema) == "string" and not value.startswith('"'):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _outcome(episode: Episode, params: Params) -> RenderableType:
    task = episode.task
    rubric = find(Paths.rubrics, Rubric, task.id)
    if rubric is None:
        rubric = Rubric(task_id=task.id, criteria=extract(task, fresh_world(task)).criteria, coverage=1.0)
    reward = at_once(score_episode(episode, rubric, params)).reward
    if reward.status == "error":
        return safe("no reward: the rubric has criteria that only a judge can decide", "red")
    return verdict_table(reward.verdicts, rubric.criteria, {name: getattr(reward, name) for name in VALUES})
