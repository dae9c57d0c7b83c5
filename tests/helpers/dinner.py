"""A small simulated task, written by hand, and episodes in it: what tests of demonstrations and judges share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from helpers.projects import write_params
from synthagent.episodes.episode import Episode, Response
from synthagent.episodes.turn import Question, ToolCall, Turn
from synthagent.episodes.world import ToolEvent
from synthagent.records import Task
from synthagent.stage import Paths
from synthagent.store import write_records
from synthagent.teacher.llm.rubrics import Extraction
from synthagent.worlds import Constraint, Fact, Never, Said, Told, WorldSpec

DATE = "2026-03-04"
ASK = Turn("For which date?")
FIND = Turn("I look for a place.", (ToolCall("find_restaurant", {"city": "Lyon"}),))
RESERVE = Turn("", (ToolCall("reserve_table", {"restaurant_id": "R-7", "date": DATE}),))
ANSWER = Turn("<answer>Your table at Chez Ana is booked, number B-77.</answer>")
GOOD = (ASK, FIND, RESERVE, ANSWER)
CARELESS = (FIND, RESERVE, ANSWER)
LAZY = (Turn("<answer>Sorry.</answer>"),)

_TEXT = {"type": "string"}
_RESPONSES = {
    "find_restaurant": ({"city": "Lyon"}, {"restaurant_id": "R-7", "name": "Chez Ana"}),
    "reserve_table": ({"restaurant_id": "R-7", "date": DATE}, {"reservation": "B-77"}),
}


def _tool(name: str, arguments: list[str], outputs: list[str], **more: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": dict.fromkeys(arguments, _TEXT), "required": arguments}
    function = {"name": name, "description": name.replace("_", " "), "parameters": parameters}
    return {"type": "function", "function": function, "outputs": dict.fromkeys(outputs, _TEXT), **more}


def task(name: str = "task-1", **changes: Any) -> Task:
    """The task. Rule c1 has a check, c2 has none."""
    world = WorldSpec(
        tables={},
        effects={},
        background="Chez Ana is in Lyon.",
        said=tuple(Said(tool=tool, args=args, response=said) for tool, (args, said) in _RESPONSES.items()),
        rules={"c1": Never(tool="reserve_table", told=Told(slot="date"))},
    )
    fields: dict[str, Any] = {
        "id": name,
        "persona_id": "p",
        "domain": "dinner",
        "difficulty": 1,
        "split": "train",
        "instruction": "Get me a table at a place in Lyon.",
        "workflow": ("Ask for the date", "Find a restaurant", "Reserve a table"),
        "facts": (Fact(slot="date", value=DATE, phrase=f"it is for {DATE}"),),
        "tools": (
            _tool("find_restaurant", ["city"], ["restaurant_id", "name"]),
            _tool("reserve_table", ["restaurant_id", "date"], ["reservation"], changes_state=True),
            _tool("cancel_table", ["reservation"], ["status"]),
        ),
        "distractors": ("cancel_table",),
        "constraints": (
            Constraint(id="c1", text="Never reserve a table before the user has told the date."),
            Constraint(id="c2", text="Never be rude."),
        ),
        "world_kind": "simulated",
        "world": world,
        "reference": (),
    }
    return Task.model_validate(fields | changes)


class _Restaurant:
    """The environment of the task, without a model."""

    async def answer(self, episode: Episode, asked: ToolCall | Question) -> Response:
        if isinstance(asked, Question):
            return f"It is for {DATE}." if "date" in asked.text else "I don't know that."
        event = episode.world.refusal(asked.name, asked.arguments)
        if event is None:
            args, said = _RESPONSES.get(asked.name, (None, {}))
            result = said if args == asked.arguments else {"error": "no such thing"}
            event = ToolEvent(asked.name, asked.arguments, "error" not in result, result)
        episode.world.events.append(event)
        return event


def episode(turns: tuple[Turn, ...] = GOOD, of: Task | None = None, sample: int = 0) -> Episode:
    """An episode of these turns."""
    run = Episode(of or task(), _Restaurant(), sample=sample)
    for turn in turns:
        run.step(turn)
    return run


# --- a teacher behind an endpoint, and a project -----

DONE = [{"milestone": n, "executed": True} for n in (1, 2, 3)]


def call(tool: str = "reserve_table", **args: str) -> dict[str, Any]:
    return {"tool": tool, "args": [{"name": name, "value": value} for name, value in args.items()]}


def goal(*calls: dict[str, Any], reached: Any = (1, 2), text: str = "A table is reserved") -> dict[str, Any]:
    return {"text": text, "reached_in": reached, "calls": calls}


def extraction(*goals: Any, asks: Any = (), workflow: Any = DONE) -> Extraction:
    return Extraction.model_validate({"workflow": workflow, "subgoals": goals, "interactions": asks})


EXTRACTED = extraction(
    goal(call(date=DATE), text="A table is reserved", reached=[1, 2]),
    goal(text="The user knows the number", reached=[1, 2]),
    asks=[{"text": "The date is known", "slot": "date", "reached_in": [1, 2]}],
).model_dump_json()
NOTHING_DONE = extraction(goal(), workflow=[{"milestone": 1, "executed": False}]).model_dump_json()


def acts(body: dict[str, Any], turns: tuple[Turn, ...]) -> dict[str, Any] | str:
    """What a teacher says who takes these turns."""
    turn = turns[sum(message["role"] == "assistant" for message in body["messages"])]
    calls = [
        {"id": "x", "type": "function", "function": {"name": c.name, "arguments": json.dumps(c.arguments)}}
        for c in turn.calls
    ]
    return {"content": turn.text, "tool_calls": calls} if calls else turn.text


def teacher(body: dict[str, Any]) -> dict[str, Any] | str:
    """Plays the teacher: demonstrates, and extracts."""
    text = json.dumps(body["messages"])
    if body.get("tools"):
        return acts(body, LAZY if "hopeless" in text else GOOD)
    assert "You turn demonstrations of a task" in text
    if "garbled" in text:
        return "I would rather not."
    return NOTHING_DONE if "hopeless" in text else EXTRACTED


def openai_role(url: str) -> dict[str, Any]:
    return {"backend": "openai", "base_url": url, "model": "m"}


def make_project(folder: Path, url: str, tasks: list[Task], **changes: Any) -> Path:
    """A project with these tasks, whose teacher and judge are at `url`."""
    roles = {"roles.teacher": openai_role(url), "roles.judge": openai_role(url)}
    write_params(folder, {**roles, "rubrics.trajectories": 2, "llm.max_retries": 0, **changes})
    write_records(folder / Paths.tasks, Task, tasks)
    return folder


TASKS = [
    task("task-1"),
    task("task-2", split="heldout"),
    task("task-3", instruction="A hopeless table in Lyon."),
    task("task-4", instruction="A garbled table in Lyon."),
]
