"""Rollouts of verifiers 0.4 against the lean server -> one line of JSON: calls a second. Runs in `.venv-verifiers`.

    .venv-verifiers/bin/python -m benchmarks.peers.verifiers_rollouts --base-url URL --concurrency 16 --episodes 64

verifiers runs an agent as a program beside the engine. Its requests pass through an interception server, which
records them and forwards them to the endpoint. Its own harnesses start the program as a process a rollout, by `uv run`
from PyPI, which needs a network; here it is a coroutine in the engine's process (`Loop`), which can only be faster. It
makes the same calls as our side and answers tool calls from a table; verifiers builds its traces, nothing is written.
"""

# mypy: disable-error-code="import-not-found,misc,no-any-return,import-untyped"

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import aiohttp
import verifiers.v1 as vf
from verifiers.v1.clients import EvalClientConfig, ModelContext
from verifiers.v1.configs.agent import AgentConfig
from verifiers.v1.configs.harness import HarnessConfig
from verifiers.v1.configs.taskset import TasksetConfig
from verifiers.v1.envs.single_agent.env import SingleAgentEnv, SingleAgentEnvConfig
from verifiers.v1.harness import Harness
from verifiers.v1.runtimes import ProgramResult
from verifiers.v1.task import Task, TaskData
from verifiers.v1.taskset import Taskset

__all__ = ["Loop", "Records"]

TOOL = {
    "name": "lookup",
    "description": "Look a record up.",
    "parameters": {"type": "object", "properties": {"record_id": {"type": "string"}}, "required": ["record_id"]},
}
KNOWN = {f"R-{turn}": {"status": "open", "owner": f"owner {turn}"} for turn in range(3)}
_SESSION: list[aiohttp.ClientSession] = []


class Records(Taskset[Task, TasksetConfig]):
    """One task."""

    def load(self) -> Iterable[Task]:
        yield Task(TaskData(prompt="Please see whether my record is in order. " * 4))


class Loop(Harness[HarnessConfig]):
    """Calls the model and the tool in turns until there is an answer."""

    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(self, ctx: Any, trace: Any, runtime: Any, endpoint: str, secret: str, *_: Any) -> ProgramResult:
        body: dict[str, Any] = {"model": ctx.model, "tools": [{"type": "function", "function": TOOL}]}
        body["messages"] = [{"role": "user", "content": "Please see whether my record is in order. " * 4}]
        headers = {"Authorization": f"Bearer {secret}"}
        while True:
            async with _SESSION[0].post(f"{endpoint}/chat/completions", json=body, headers=headers) as response:
                response.raise_for_status()
                message = (await response.json())["choices"][0]["message"]
            body["messages"].append(message)
            if not message.get("tool_calls"):
                return ProgramResult(exit_code=0, stdout="", stderr="")
            for call in message["tool_calls"]:
                known = KNOWN[json.loads(call["function"]["arguments"])["record_id"]]
                body["messages"].append({"role": "tool", "tool_call_id": call["id"], "content": json.dumps(known)})


async def main(base_url: str, concurrency: int, episodes: int) -> float:
    """Calls a second."""
    name = "verifiers_rollouts"
    agent = AgentConfig(harness={"id": name}, runtime={"type": "subprocess"})
    env = SingleAgentEnv(SingleAgentEnvConfig(taskset={"id": name}, agent=agent))
    (task,) = list(env.taskset)
    ctx = ModelContext(client=EvalClientConfig(base_url=base_url), model="m", sampling=vf.SamplingConfig())
    semaphore = asyncio.Semaphore(concurrency)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session, env.serving():
        sys.modules[name]._SESSION.append(session)
        start = time.perf_counter()
        done = await asyncio.gather(*(env.run_slot(slot, ctx, semaphore) for slot in env.slots(task, episodes)))
        spent = time.perf_counter() - start
    turns = sum(trace.num_turns for episode in done for trace in episode.traces)
    errors = [error for episode in done for error in (*episode.errors, *(e for t in episode.traces for e in t.errors))]
    if errors or turns != 4 * episodes:
        raise RuntimeError(f"{turns} turns, {errors[:1]}")
    return turns / spent


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--episodes", type=int, required=True)
    arguments = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))  # where verifiers looks for the task set and the harness by name
    rate = asyncio.run(main(arguments.base_url, arguments.concurrency, arguments.episodes))
    print(json.dumps({"calls_per_s": rate}))
