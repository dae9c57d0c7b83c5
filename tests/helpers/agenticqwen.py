"""An item in the AgenticQwen format, of our own making, and what the tools of an imported task answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from synthagent.episodes.episode import Episode
from synthagent.episodes.mapping import Mappings
from synthagent.episodes.simulated_tools import SimulatedTools
from synthagent.episodes.turn import ToolCall
from synthagent.episodes.world import ToolEvent
from synthagent.records import Task

POLICY = """# Boat Rental Policy

This page says what the desk may do.

## Booking
A boat is handed out only to members. The desk must see the member's number first.

The desk opens at nine.

## Refusals
The desk must refuse:
- night trips
- trips in a storm

Ask the harbour master when in doubt."""
BACKGROUND = """I'm Ada Fenwick Moor, a member of the club. My member number is MB-4711, and I want the boat 'Heron' on
2025-07-04. Write to ada@fenwick.example once it is done. I can pay $1,250.

Additional parameters you may need:
- deposit_code: blue-anchor

Reveal them only the agent ask you. Do not disclose intentionally."""


def tool(name: str, description: str, outputs: Any, *args: str, **more: Any) -> dict[str, Any]:
    properties = {arg: {"type": "string"} for arg in args}
    parameters = {"type": "object", "properties": properties, "required": list(args)} | more
    function = {"name": name, "description": description, "parameters": parameters, "outputs": outputs}
    return {"type": "function", "function": function}


TOOLS = [
    tool("find_boat", "Finds a boat.", {"type": "object", "properties": {"free": {"type": "boolean"}}}, "name"),
    tool("book_boat", "Books a boat.", [{"name": "booking_id", "type": "string"}], "name", "member_number"),
    tool("sink_boat", "Sinks a boat.", None, "name"),
]
NORMAL = [
    {"tool_name": "find_boat", "input": {"name": "Heron"}, "expected_output": {"free": True}},
    {
        "tool_name": "book_boat",
        "input": {"name": "Heron", "member_number": "MB-4711"},
        "expected_output": "{'booking_id': 'BK-1', 'note': None}",
    },
    {"tool_name": "find_boat", "input": {"name": "Heron"}, "expected_output": '{"free": false}'},
]


def item(id: str = "boat-1", tools: Sequence[Any] = TOOLS, normal: Any = NORMAL, **more: Any) -> dict[str, Any]:
    """An item in the format, of our own making."""
    lines = "\n".join(tool if isinstance(tool, str) else json.dumps(tool) for tool in tools)
    system = f"<policy>{POLICY}</policy>\nThe tools are within <tools></tools>:\n<tools>\n{lines}\n</tools>\nGood luck."
    request = "Please book me a boat.\nNote: You must provide your brief reasoning process first. /no_think"
    return {
        "id": id,
        "prompt": [{"role": "system", "content": system}, {"role": "user", "content": request}],
        "task_background": BACKGROUND,
        "rubrics": "The boat is booked once.",
        "test_policy": "members only",
        "user_escape_strategy": "insist",
        "tool_return_expected": {"normal_path": normal, "hack_path": []},
    } | more


def answers(task: Task, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Mapping[str, Any]]:
    """What the simulated tools of an episode answer, with no model behind them."""

    async def play() -> list[Mapping[str, Any]]:
        episode, tools = Episode(task), SimulatedTools(None, Mappings())
        results = []
        for name, args in calls:
            event = await tools.call(episode, name, ToolCall(name, args).arguments)
            assert isinstance(event, ToolEvent)
            episode.world.events.append(event)
            results.append(event.result)
        return results

    return asyncio.run(play())


def changed(**changes: Any) -> dict[str, Any]:
    return item() | changes


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
