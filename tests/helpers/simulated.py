"""A small task in a simulated world, and params whose roles are played by a fake server, for several test modules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from helpers.projects import write_params
from synthagent.params import Params
from synthagent.params_file import load_params
from synthagent.records import Task
from synthagent.worlds import Constraint, Fact, WorldSpec


def a_tool(name: str, outputs: dict[str, Any], changes: bool = False, **parameters: Any) -> dict[str, Any]:
    """A tool whose arguments are all required."""
    schema = {
        "type": "object",
        "properties": parameters,
        "required": list(parameters),
        "additionalProperties": False,
    }
    function = {"name": name, "description": f"{name} it", "parameters": schema}
    tool = {"type": "function", "function": function, "outputs": outputs}
    return tool | ({"changes_state": True} if changes else {})


TEXT = {"type": "string"}
TOOLS = (
    a_tool("look", {"status": TEXT}, id=TEXT),
    a_tool("count", {"n": {"type": "integer"}, "open": {"type": "boolean"}}, id=TEXT, weight={"type": "number"}),
    a_tool("move", {"status": TEXT}, changes=True, id=TEXT, day=TEXT),
)
FACTS = (
    Fact(slot="order_id", value="A17", phrase="the order is A17"),
    Fact(slot="day", value="Friday", phrase="Friday suits me best"),
)


def simulated_task(name: str = "task-s1", said: tuple[Any, ...] = (), facts: tuple[Fact, ...] = FACTS) -> Task:
    """Move an order to another day."""
    return Task(
        id=name,
        persona_id="p",
        domain="orders",
        difficulty=1,
        split="train",
        instruction="Please have my order moved.",
        workflow=("look it up", "move it"),
        facts=facts,
        tools=TOOLS,
        distractors=(),
        constraints=(Constraint(id="c1", text="Never move an order that was not looked up."),),
        world_kind="simulated",
        world=WorldSpec(tables={}, effects={}, background="A shop with orders A1 to A99.", said=said),
        reference=(),
    )


def params_for(folder: Path, base_url: str, *roles: str, **changes: Any) -> Params:
    """The project's params with some roles played by the server at `base_url`; also written to `folder`."""
    openai = {"backend": "openai", "base_url": base_url, "model": "m"}
    limits = {"episode.max_tokens": 10_000, "episode.max_turn_tokens": 200, "llm.max_retries": 0}
    given = {name.replace("__", "."): value for name, value in changes.items()}
    return load_params(write_params(folder, {f"roles.{role}": openai for role in roles} | limits | given))


def native(name: str, text: str = "", **args: Any) -> dict[str, Any]:
    """The message of a policy that calls a tool natively."""
    call = {"id": "1", "type": "function", "function": {"name": name, "arguments": json.dumps(args)}}
    return {"content": text, "tool_calls": [call]}


def response(equal: int | None = None, **outputs: Any) -> str:
    """What a model of the tools answers."""
    return json.dumps({"equal_to": equal, "ok": "error" not in outputs, "response": outputs})


def role_asked(body: dict[str, Any]) -> str:
    """Which role a request was made for."""
    opening = body["messages"][0]["content"]
    return "tools" if "stand in for the tools" in opening else "user" if "You play a person" in opening else "policy"
