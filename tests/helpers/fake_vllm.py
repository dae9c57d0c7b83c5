"""A server with vLLM's API for a student that is trained: real HTTP, real weights from the folders it is given.

It runs the model in this process, one request at a time, without a cache. `stop` ends it as a crash would: connections
break, and what was loaded is gone when it is started again.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from helpers.processes import free_port
from synthagent.policy_server import fingerprint_of

# transformers changes torch for all threads while it loads a model: two that load at once spoil it for the process
_LOADING = threading.Lock()


def _loaded(folder: Path | str) -> Any:
    with _LOADING:
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


class FakeVllm:
    """What a test sees of the server, and does to it."""

    def __init__(self, weights: Path, likeliest: bool) -> None:
        self.weights, self.likeliest, self.port = weights, likeliest, free_port()
        self.base_url = f"http://127.0.0.1:{self.port}/v1"
        self.told = list[tuple[str, dict[str, Any]]]()  # path and body of each request
        self.before: Callable[[str, dict[str, Any]], None] = lambda path, body: None
        self.asking = self.most_asking = 0
        self._one_at_a_time = threading.Lock()
        self._http: _Http | None = None

    def start(self) -> None:
        """Begin to serve, with what is in the folder and nothing else."""
        self.fingerprint = fingerprint_of(self.weights)
        self.model = _loaded(self.weights).eval()
        self.adapters = dict[str, Path]()
        self._http = _Http(self)
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Die: whoever waits for an answer gets none."""
        http, self._http = self._http, None
        if http:
            http.dead = True
            http.shutdown()
            http.server_close()

    def asked(self, path: str) -> list[dict[str, Any]]:
        return [body for there, body in self.told if there == path]

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        self.asking += 1
        self.most_asking = max(self.most_asking, self.asking)
        try:
            return self._answer(path, body)
        finally:
            self.asking -= 1

    def _answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        self.told.append((path, body))
        self.before(path, body)
        with self._one_at_a_time, torch.no_grad():
            match path:
                case "/v1/completions":
                    if body["model"] != "student" and body["model"] not in self.adapters:
                        return 404, {"error": {"message": f"The model {body['model']} does not exist."}}
                    return 200, self._completion(body)
                case "/v1/load_lora_adapter":
                    if body["lora_name"] in self.adapters:
                        return 400, {"error": {"message": "The lora adapter has already been loaded."}}
                    self.adapters[body["lora_name"]] = Path(body["lora_path"])
                    return 200, "Success"
                case "/v1/unload_lora_adapter":
                    return (200, "Success") if self.adapters.pop(body["lora_name"], None) else (404, "cannot be found")
                case "/collective_rpc" if body["method"] == "load_student":
                    folder = body["kwargs"]["folder"]
                    self.model = _loaded(folder).eval()
                    return 200, {"results": [None]}
                case "/reset_prefix_cache" | "/health":
                    return 200, {"success": True}
        return 404, {"detail": "Not Found"}

    def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
        """One answer. `likeliest`: the likeliest tokens, with the log-probabilities that they have all the same."""
        model = self.model
        if body["model"] in self.adapters:
            base = _loaded(self.weights)
            with _LOADING:
                model = PeftModel.from_pretrained(base, self.adapters[body["model"]]).eval()
        generator = torch.Generator().manual_seed(body["seed"])
        tokens, logprobs, ids = list[int](), list[float](), list(body["prompt"])
        while len(tokens) < body["max_tokens"] and not (tokens and tokens[-1] in body["stop_token_ids"]):
            odds = torch.log_softmax(model(torch.tensor([ids + tokens])).logits[0, -1].float(), -1)
            token = int(odds.argmax() if self.likeliest else torch.multinomial(odds.exp(), 1, generator=generator))
            tokens.append(token)
            logprobs.append(float(odds[token]))
        ended = tokens[-1] in body["stop_token_ids"]
        choice = {
            "token_ids": tokens,
            "logprobs": {"token_logprobs": logprobs},
            "finish_reason": "stop" if ended else "length",
        }
        return {"choices": [choice], "system_fingerprint": self.fingerprint}


@contextmanager
def fake_vllm(weights: Path, likeliest: bool = False) -> Iterator[FakeVllm]:
    """A student served from a folder until the block ends."""
    server = FakeVllm(weights, likeliest)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        while server.asking:  # an answer that nobody waits for may be loading a model
            time.sleep(0.05)


def restart_in(server: FakeVllm, seconds: float) -> None:
    """Kill the server, and start it again after a while."""
    server.stop()
    threading.Thread(target=lambda: (time.sleep(seconds), server.start()), daemon=True).start()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024
    allow_reuse_address = True
    dead = False

    def __init__(self, fake: FakeVllm) -> None:
        self.fake = fake
        super().__init__(("127.0.0.1", fake.port), _Handler)

    def handle_error(self, *_: Any) -> None:
        pass  # a connection that broke


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Http

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def _answer(self, body: dict[str, Any]) -> None:
        status, value = self.server.fake.answer(self.path, body)
        if self.server.dead:
            self.close_connection = True
            self.connection.close()
            return
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass
