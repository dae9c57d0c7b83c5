"""A fake OpenAI-compatible server for the edge of tests: real HTTP, scripted answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from helpers.projects import default_params
from synthagent.params import Params

Answer = str | dict[str, Any]


@dataclass
class FakeServer:
    """What a test sees of the server: where it is, and the bodies it was sent (chat completions only)."""

    base_url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    refuses: Callable[[dict[str, Any]], bool] = lambda body: False
    """Whether a request is answered 400."""
    reason: str = "bad request"


def completion(answer: Answer) -> dict[str, Any]:
    """A chat completion: a text is the content; a dict is the message (`finish_reason` may be given beside it)."""
    message = {"content": answer} if isinstance(answer, str) else dict(answer)
    finish = message.pop("finish_reason", "tool_calls" if message.get("tool_calls") else "stop")
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": None} | message}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def params_of(base_url: str, llm: Mapping[str, Any] | None = None, role: str = "teacher", **fields: Any) -> Params:
    """The default params with one role at the server; `fields` go into the role, `llm` into that section."""
    raw = default_params().model_dump()
    raw["roles"][role] = {"backend": "openai", "base_url": base_url, "model": "m"} | fields
    raw["llm"] |= {"timeout_s": 30, "max_retries": 1} | dict(llm or {})
    return Params.model_validate(raw)


@contextmanager
def serving(reply: Callable[[dict[str, Any]], Answer]) -> Iterator[FakeServer]:
    """Serve `reply(body)` on a free port until the block ends."""
    server = FakeServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._send({"object": "list", "data": [{"id": "m", "object": "model"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            server.requests.append(body)
            if server.refuses(body):
                self._send({"error": {"message": server.reason}}, 400)
            else:
                self._send(completion(reply(body)))

        def _send(self, value: Any, status: int = 200) -> None:
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 1024  # else connections that come at once wait for a second to be tried again

        def handle_error(self, *_: Any) -> None:
            pass  # a client that was killed

    http = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    server.base_url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
