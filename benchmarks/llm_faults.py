"""What becomes of every fault an endpoint can have -> a table; exit 1 if an item is lost or a finished call repeated.

    python -m benchmarks.llm_faults

A real HTTP server (below) answers well, but for some items, or for all, in one faulty way. The real client asks it for
`ITEMS` items, twice: the second time the server is well, as after a repair. An item is lost if neither an answer nor a
rejected row nor an end with an error that keeps the paid answers accounts for it. A call is repeated if it was answered
with a whole chat completion in the first run and made again in the second.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from synthagent.errors import BadReplyError, SynthAgentError
from synthagent.frozen import Record
from synthagent.llm.client import Llm, Request
from synthagent.llm.ordered import ordered
from synthagent.params import Params
from synthagent.params_file import load_params

ROOT = Path(__file__).resolve().parents[1]
ITEMS = 12
BAD_ITEMS = frozenset({3, 7})
KEY = "sk-of-the-fault-server"
MODEL = "m"


class Shape(Record):
    """What is asked of the model."""

    item: int


def completion(content: str | None, **changes: Any) -> dict[str, Any]:
    """A chat completion; `changes` go into its choice."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}} | changes
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return {"id": "x", "object": "chat.completion", "created": 1, "model": MODEL, "choices": [choice], "usage": usage}


def http(status: int, body: bytes | Mapping[str, Any], *headers: str) -> bytes:
    """A whole HTTP response."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", "content-type: application/json", f"content-length: {len(content)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + content


def refusing(status: int, *headers: str) -> bytes:
    """An error as OpenAI words it; it echoes the key."""
    return http(status, {"error": {"message": f"no, {KEY}\nnot now", "type": "x"}}, *headers)


CLOSE, HANG = b"", None
Answer = bytes | None
"""A response as it goes over the wire; `CLOSE` ends the connection without one, `HANG` never answers."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `bad`: the items that meet it (null: all). `times`: how often each does; null: always."""

    name: str
    answer: Callable[[int], Answer]
    bad: frozenset[int] | None = BAD_ITEMS
    times: int | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)


def good(item: int) -> bytes:
    return http(200, completion(json.dumps({"item": item})))


def cut(item: int) -> bytes:
    return good(item)[:-40]


def chosen(content: str | None, **changes: Any) -> Callable[[int], Answer]:
    return lambda item: http(200, completion(content, **changes))


def fixed(answer: Answer) -> Callable[[int], Answer]:
    return lambda item: answer


def message(**fields: Any) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": None} | fields}


def utf16(item: int) -> bytes:
    return http(200, json.dumps(completion(json.dumps({"item": item}))).encode("utf-16"))


def invalid_utf8(item: int) -> bytes:
    """The answer is whole, with bytes that are no UTF-8 beside it."""
    return http(200, json.dumps(completion(json.dumps({"item": item}) + " @")).encode().replace(b"@", b"\xff\xfe"))


def surrogates(item: int) -> bytes:
    return http(200, completion(json.dumps({"item": item}) + " \ud83d \x00"))


def chunked(item: int) -> bytes:
    """Closes in the middle of a chunked body."""
    return b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n20\r\n{"


FAULTS = (
    Fault("none", good),
    Fault("400, some items", fixed(refusing(400))),
    Fault("400, all", fixed(refusing(400)), bad=None),
    Fault("401, all", fixed(refusing(401)), bad=None),
    Fault("404, all (model not served)", fixed(refusing(404)), bad=None),
    Fault("429 with Retry-After, passing", fixed(refusing(429, "retry-after: 0.01")), bad=None, times=1),
    Fault("429 without Retry-After, passing", fixed(refusing(429)), times=1),
    Fault("429, all, for an hour", fixed(refusing(429, "retry-after: 3600")), bad=None),
    Fault("500, passing", fixed(refusing(500)), times=1),
    Fault("500, some items", fixed(refusing(500))),
    Fault("503, all", fixed(refusing(503, "retry-after: 0.01")), bad=None),
    Fault("closes without an answer, passing", fixed(CLOSE), times=1),
    Fault("closes mid-body, some items", cut),
    Fault("closes mid-chunk, passing", chunked, times=1),
    Fault("hangs, passing", fixed(HANG), times=1),
    Fault("hangs, some items", fixed(HANG)),
    Fault("hangs, all", fixed(HANG), bad=None),
    Fault("no HTTP at all, some items", fixed(b"hello\r\n\r\n")),
    Fault("invalid JSON, some items", fixed(http(200, b"{no"))),
    Fault("a web page, all", fixed(http(200, b"<html>hello</html>")), bad=None),
    Fault("JSON of the wrong shape", fixed(http(200, {"a": [1]}))),
    Fault("JSON that is null", fixed(http(200, b"null"))),
    Fault("JSON nested 100,000 deep", fixed(http(200, b"[" * 100_000))),
    Fault("empty choices", fixed(http(200, {"choices": []}))),
    Fault("usage that cannot be", lambda item: http(200, completion(json.dumps({"item": item})) | {"usage": 10**40})),
    Fault("a refusal", chosen(None, **message(refusal=f"no, {KEY}"))),
    Fault("finish_reason length", chosen('{"item": ', finish_reason="length")),
    Fault("text without JSON", chosen("hello")),
    Fault("JSON of another shape in the text", chosen('{"item": "x", "more": 1}')),
    Fault("2 MB of text", chosen("x{" * 1_000_000)),
    Fault("a body of 20 MB", chosen("x" * 20_000_000)),
    Fault("invalid UTF-8", invalid_utf8),
    Fault("UTF-16", utf16),
    Fault("a lone surrogate and NUL", surrogates),
    Fault("echoes the key in an answer", lambda item: http(200, completion(json.dumps({"item": item}) + KEY))),
    Fault("no json_schema: 400 with one", good),
    Fault("key variable is not set", good, changes={"api_key_env": "SYNTHAGENT_NO_SUCH_KEY"}),
    Fault("base_url: refused connection", good, changes={"base_url": "http://127.0.0.1:9/v1"}),
    Fault("base_url: wrong path", good, changes={"path": "/v2"}),
    Fault("base_url: no URL", good, changes={"base_url": "localhost:8000/v1"}),
    Fault("base_url: no such host", good, changes={"base_url": "http://no-such-host.invalid/v1"}),
)


class FaultServer:
    """Serves chat completions on a free port, in a thread, with one fault. The item's number ends the prompt."""

    def __init__(self, fault: Fault) -> None:
        self._fault, self._met = fault, Counter[int]()
        self.well = False
        self.hangs = fault.name.startswith("hangs")
        self.calls: list[tuple[int, bool]] = []
        """(item, whether it was answered with a whole chat completion), a call."""
        self.base_url = ""

    def answer(self, path: str, body: Mapping[str, Any]) -> tuple[int, Answer]:
        item = int(body["messages"][1]["content"].split()[1].rstrip("."))
        if path != "/v1/chat/completions":
            return item, http(404, b"<html>not here</html>")
        if self.well:
            return item, good(item)
        if self._fault.name.startswith("no json_schema") and "response_format" in body:
            return item, refusing(400)
        self._met[item] += 1
        hit = self._fault.bad is None or item in self._fault.bad
        if hit and (self._fault.times is None or self._met[item] <= self._fault.times):
            return item, self._fault.answer(item)
        return item, good(item)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                item, answer = self.answer(head.split()[1].decode(), json.loads(await reader.readexactly(length)))
                if answer is None:
                    await asyncio.sleep(3600)
                    return
                finished = is_completion(answer)
                self.calls.append((item, finished))
                writer.write(answer)
                await writer.drain()
                if not is_whole(answer):
                    break
        writer.close()

    @contextmanager
    def running(self) -> Iterator[FaultServer]:
        """Serve until the block ends."""
        ready, loops = threading.Event(), list[tuple[asyncio.AbstractEventLoop, asyncio.Event]]()

        async def main() -> None:
            server = await asyncio.start_server(self.serve, "127.0.0.1", 0, limit=2**22)
            self.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            loops.append((asyncio.get_running_loop(), stop := asyncio.Event()))
            ready.set()
            await stop.wait()
            server.close()

        thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
        thread.start()
        ready.wait()
        try:
            yield self
        finally:
            for loop, stop in loops:
                loop.call_soon_threadsafe(stop.set)
            thread.join()


def is_whole(response: bytes) -> bool:
    """Whether a response ends where its head says, so that the connection can serve the next."""
    head, _, body = response.partition(b"\r\n\r\n")
    return f"content-length: {len(body)}".encode() in head


def is_completion(response: bytes) -> bool:
    """Whether a response is a whole chat completion, such as is paid for (and is not beyond all measure)."""
    head, _, body = response.partition(b"\r\n\r\n")
    try:
        whole = head.startswith(b"HTTP/1.1 200") and len(body) < 8_000_000
        return whole and "message" in json.loads(body.decode(json.detect_encoding(body), "replace"))["choices"][0]
    except (ValueError, LookupError, TypeError, RecursionError):
        return False


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of the items came to. `error`: the message it ended with."""

    values: Mapping[int, int]
    rejected: Mapping[int, str]
    error: str


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the matrix."""

    fault: str
    first: Run
    second: Run
    lost: int
    repeated: int


def params_for(server: FaultServer, changes: Mapping[str, Any]) -> Params:
    """The project's params, with a teacher at the server, and little patience with one that hangs."""
    raw = load_params(ROOT / "params.yaml").model_dump()
    base_url = server.base_url.replace("/v1", changes.get("path", "/v1"))
    role = {"backend": "openai", "base_url": base_url, "model": MODEL, "api_key_env": "SYNTHAGENT_FAULT_KEY"}
    raw["roles"]["teacher"] = role | {key: value for key, value in changes.items() if key != "path"}
    raw["llm"] |= {"timeout_s": 1.5 if server.hangs else 60, "max_retries": 1, "max_concurrency": 4}
    return Params.model_validate(raw)


def run_items(params: Params, folder: Path) -> Run:
    """Ask for every item, as a stage does."""
    values: dict[int, int] = {}
    rejected: dict[int, str] = {}
    try:
        llm = Llm(params, folder)

        async def work(item: int) -> tuple[int, int | str]:
            messages = ({"role": "system", "content": "count"}, {"role": "user", "content": f"Item {item}."})
            try:
                return item, (await llm.ask("teacher", Request(messages, "v"), Shape)).value.item
            except BadReplyError as fault:
                return item, f"{fault.reason}: {fault.detail}"

        for item, came in ordered(work, range(ITEMS), params.llm.max_concurrency, llm.close):
            if isinstance(came, int):
                values[item] = came
            else:
                rejected[item] = came
    except SynthAgentError as error:
        return Run(values, rejected, str(error))
    return Run(values, rejected, "")


def row_of(fault: Fault, folder: Path) -> Row:
    """Meet one fault, then ask again without it."""
    os.environ["SYNTHAGENT_FAULT_KEY"] = KEY
    with FaultServer(fault).running() as server:
        first = run_items(params_for(server, fault.changes), folder)
        answered = {item for item, finished in server.calls if finished}
        server.well, before = True, len(server.calls)
        second = run_items(params_for(server, {}), folder)
        repeated = [item for item, _ in server.calls[before:] if item in answered]
    accounted = first.values.keys() | first.rejected.keys()
    # An end with an error accounts for the rest, if the second run then has them.
    lost = set(range(ITEMS)) - accounted - (second.values.keys() if first.error else set())
    lost |= {item for item, value in {**first.values, **second.values}.items() if value != item}
    return Row(fault.name, first, second, len(lost), len(repeated))


def main() -> bool:
    """Print the matrix; whether nothing is lost or repeated."""
    table = Table("fault", "outcome", "lost", "repeated", "then", title="12 items, 2 of them faulty unless it says all")
    fine = True
    for fault in FAULTS:
        with tempfile.TemporaryDirectory() as folder:
            row = row_of(fault, Path(folder))
        fine &= row.lost == 0 and row.repeated == 0
        table.add_row(row.fault, told(row.first), str(row.lost), str(row.repeated), told(row.second))
    Console(width=200).print(table)
    return fine


def told(run: Run) -> str:
    """What a run came to, in a line."""
    reasons = Counter(reason.partition(":")[0] for reason in run.rejected.values())
    parts = [f"{len(run.values)} answered", *(f"{count} rejected ({reason})" for reason, count in reasons.items())]
    return "; ".join(parts) + (f"; ends: {run.error}" if run.error else "")


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
