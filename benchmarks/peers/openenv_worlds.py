"""Episodes through the OpenEnv package -> a line of JSON each. Runs in `.venv-openenv`.

Starts the package's own server, as its image does, and acts by the package's client over a websocket, several sessions
at once.

    PYTHONPATH=INSTALLED .venv-openenv/bin/python -m benchmarks.peers.openenv_worlds EPISODES.jsonl
"""

# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from synthagent_openenv import WorldAction, WorldClient

AT_ONCE = 8
START_S = 600


@contextmanager
def server() -> Iterator[str]:
    """The URL of the package's server, once it is healthy."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    url = f"http://127.0.0.1:{port}"
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "synthagent_openenv.server.app:app",
        "--port",
        port,
        "--log-level",
        "warning",
    ]
    with subprocess.Popen(command, env=os.environ) as running:
        try:
            _wait(f"{url}/health", running)
            yield url
        finally:
            running.terminate()


def _wait(url: str, running: subprocess.Popen[bytes]) -> None:
    for _ in range(START_S * 5):
        if running.poll() is not None:
            raise RuntimeError(f"the server ended with exit code {running.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"{url} does not answer")


async def act(episodes: Sequence[Any], url: str) -> list[dict[str, Any]]:
    """What each episode earned, who spoke in it, and where its session stood before and after."""
    places = asyncio.Semaphore(AT_ONCE)

    async def run(episode: Any) -> dict[str, Any]:
        async with places, WorldClient(base_url=url) as world:
            told = await world.reset(task_id=episode["task_id"])
            roles = [message["role"] for message in told.observation.messages]
            for message in episode["messages"]:
                action = WorldAction(content=message["content"] or "", tool_calls=message.get("tool_calls", []))
                told = await world.step(action)
                roles += ["assistant", *(answer["role"] for answer in told.observation.messages)]
            state = await world.state()
            outcome = told.observation.outcome
            return {"reward": told.reward, "done": told.done, "roles": roles, "outcome": outcome, "state": dict(state)}

    return list(await asyncio.gather(*map(run, episodes)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("episodes", type=Path)
    lines = [json.loads(line) for line in parser.parse_args().episodes.read_text(encoding="utf-8").splitlines()]
    with server() as address:
        for row in asyncio.run(act(lines, address)):
            print(json.dumps(row))
