"""Episodes through `synthagent serve-world`, with the MCP SDK's own client: in memory, on stdio, over HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters

from benchmarks.worlds_for_others.episodes import Acted, one_call_a_turn, rules_of, turns_of
from benchmarks.worlds_for_others.episodes import of_turns as acted_of_turns
from synthagent.episodes.turn import Turn, turn_of
from synthagent.exchange.mcp_world import ToolNames, WorldServer
from synthagent.exchange.playable import Playable
from synthagent.exchange.served import ServedTask
from synthagent.params import Params

COMMAND = ("-m", "synthagent", "serve-world")


def acted_one_by_one(playable: Playable, params: Params, script: str) -> Acted:
    """The episode of a script that makes one call a turn."""
    rules = rules_of(params)
    return acted_of_turns(playable, rules, script, one_call_a_turn(turns_of(playable, rules, script)))


async def act(client: Client, turns: Sequence[Turn], names: ToolNames) -> float | None:
    """Act an episode by an agent's calls; the reward that the last of them tells."""
    told: Any = None
    for turn in turns:
        if turn.calls:
            (call,) = turn.calls
            told = await client.call_tool(call.name, call.arguments or {})
        elif turn.answer is not None:
            told = await client.call_tool(names.answer, {"answer": turn.answer})
        else:
            told = await client.call_tool(names.ask, {"message": turn.text})
    return None if told is None or told.structured_content is None else float(told.structured_content["reward"])


async def in_memory(playable: Playable, params: Params, acted: Acted) -> float | None:
    """An episode through a server in this process."""
    server = WorldServer(ServedTask(playable.task, playable.rubric, params))
    async with Client(server.mcp) as client:
        return await act(client, turns_in(acted), ToolNames.beside(playable.task))


async def on_stdio(playable: Playable, acted: Acted, project: Path) -> float | None:
    """An episode through a process that the client starts."""
    command = StdioServerParameters(
        command=sys.executable, args=[*COMMAND, playable.task.id], cwd=project, env=dict(os.environ)
    )
    async with Client(command) as client:
        return await act(client, turns_in(acted), ToolNames.beside(playable.task))


async def over_http(url: str, playable: Playable, acted: Acted, mode: str) -> float | None:
    """An episode of a server's; `mode`: of the client, `auto` or `legacy`."""
    async with Client(url, mode=mode) as client:
        return await act(client, turns_in(acted), ToolNames.beside(playable.task))


@contextmanager
def http_server(task_id: str, project: Path, *options: str) -> Iterator[str]:
    """The URL of a server of a task, which ends with the block."""
    command = [sys.executable, *COMMAND, task_id, "--http", "0", *options]
    with subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def turns_in(acted: Acted) -> list[Turn]:
    """The turns of an episode."""
    return [turn_of(message) for message in acted.messages]
