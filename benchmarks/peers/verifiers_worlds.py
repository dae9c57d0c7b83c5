"""Episodes through the environment package of verifiers -> a line of JSON each. Runs in `.venv-verifiers`.

The model is a server here that says, message by message, what the episodes in a file say; verifiers runs its rollouts
against it, through its interception server, and has the package's reward score its traces. The name of the model tells
which episode is meant.

    PYTHONPATH=INSTALLED .venv-verifiers/bin/python -m benchmarks.peers.verifiers_worlds EPISODES.jsonl
"""

# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import verifiers.v1 as vf
from aiohttp import web
from synthagent_verifiers import load_environment

AT_ONCE = 8


@asynccontextmanager
async def scripted_model(episodes: Sequence[Any]) -> AsyncIterator[str]:
    """The URL of a server whose model `N` says what episode N says."""

    async def answer(request: web.Request) -> web.Response:
        body = await request.json()
        said = episodes[int(body["model"])]["messages"]
        message = said[sum(message["role"] == "assistant" for message in body["messages"])]
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if "tool_calls" in message else "stop"}
        return web.json_response(
            {
                "id": "reply",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [choice],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
        )

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


async def act(episodes: Sequence[Any], options: dict[str, Any]) -> list[dict[str, Any]]:
    """What each episode earned, who spoke in it, and the errors that verifiers tells."""
    env = load_environment(**options)
    tasks = {task.data.id: task for task in env.taskset}
    semaphore = asyncio.Semaphore(AT_ONCE)
    async with scripted_model(episodes) as url, env.serving():

        async def run(number: int) -> dict[str, Any]:
            client = vf.EvalClientConfig(base_url=url)
            ctx = vf.ModelContext(client=client, model=str(number), sampling=vf.SamplingConfig())
            (slot,) = env.slots(tasks[episodes[number]["task_id"]])
            done = await env.run_slot(slot, ctx, semaphore)
            errors = [str(error) for error in done.errors]
            errors += [str(error) for trace in done.traces for error in trace.errors]
            (trace,) = done.traces
            return {
                "reward": trace.reward,
                "metrics": trace.metrics,
                "roles": [message.role for message in trace.messages],
                "errors": errors,
            }

        return list(await asyncio.gather(*(run(number) for number in range(len(episodes)))))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("episodes", type=Path)
    parser.add_argument("--options", type=json.loads, default={}, help="of load_environment, as JSON")
    given = parser.parse_args()
    lines = [json.loads(line) for line in given.episodes.read_text(encoding="utf-8").splitlines()]
    for row in asyncio.run(act(lines, given.options)):
        print(json.dumps(row))
