"""A lean OpenAI-compatible server for measuring clients: every answer is ready, and comes after a fixed delay.

    python -m benchmarks.llm_server --delay 0.05

It prints its port. The answer to a conversation with fewer than `TURNS - 1` tool results is a call of `lookup`; after
that, the final answer. Standard library only, so that it runs in any environment.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any

TURNS = 4
"""Model calls an episode takes."""


def completion(message: dict[str, Any], finish: str) -> bytes:
    """A whole HTTP response."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": None} | message}
    usage = {"prompt_tokens": 300, "completion_tokens": 20, "total_tokens": 320}
    body = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    return head.encode() + content


def call_of(turn: int) -> dict[str, Any]:
    """The tool call of a turn."""
    arguments = json.dumps({"record_id": f"R-{turn}"})
    return {"id": f"call_{turn}", "type": "function", "function": {"name": "lookup", "arguments": arguments}}


ANSWERS = [
    *(completion({"content": "I look it up.", "tool_calls": [call_of(n)]}, "tool_calls") for n in range(TURNS - 1)),
    completion({"content": "<answer>It is in order.</answer>"}, "stop"),
]


class Connection(asyncio.Protocol):
    """Reads requests, writes answers after the delay."""

    def __init__(self, delay: float) -> None:
        self._delay, self._loop, self._read = delay, asyncio.get_running_loop(), b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            head = self._read[:end].lower()
            length = int(head[head.find(b"content-length:") + 15 :].split(b"\r\n", 1)[0])
            if len(self._read) < end + 4 + length:
                return
            body, self._read = self._read[end + 4 : end + 4 + length], self._read[end + 4 + length :]
            answer = ANSWERS[min(body.count(b'"tool_call_id"'), TURNS - 1)]
            if self._delay:
                self._loop.call_later(self._delay, self._transport.write, answer)
            else:
                self._transport.write(answer)


async def main(delay: float) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(lambda: Connection(delay), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay", type=float, default=0.05, help="seconds")
    asyncio.run(main(parser.parse_args().delay))
