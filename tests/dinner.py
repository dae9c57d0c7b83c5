"""A small simulated task, written by hand, and episodes in it: what tests of demonstrations and judges share."""

from __future__ import annotations

from typing import Any

from synthagent.episode import Episode, Question, ToolCall, Turn
from synthagent.records import Constraint, Fact, Never, Said, Task, Told, WorldSpec
from synthagent.world import ToolEvent, fresh_world

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


def _answered(episode: Episode, asked: ToolCall | Question) -> ToolEvent | str:
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
    of = of or task()
    run = Episode(of, fresh_world(of), answer=_answered, sample=sample)
    for turn in turns:
        run.step(turn)
    return run
