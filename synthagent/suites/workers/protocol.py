"""How a worker talks: a JSON object a line on stdin, an answer a line on stdout; a process of its own for each problem.

    {"n": 1, "do": "problems", "category": C}            -> {"n": 1, "problems": [id, ..]}
    {"n": 1, "do": "texts", "category": C}               -> {"n": 1, "texts": [{id, instructions, tools, answers}, ..]}
    {"n": 2, "do": "gold", "id": ID, "style": S}         -> {"n": 2, "messages": [messages that are right]}
    {"n": 3, "do": "start", "id": ID, "style": S}        -> {"n": 3, **state}
    {"n": 4, "do": "step", "of": 3, "message": M}        -> {"n": 4, **state}
    {"n": 5, "do": "drop", "of": 3}                      -> {"n": 5}

A state says what is new: `messages` (OpenAI chat messages), `tools` (function schemas, where they are others now) and
`wants`: `policy` (its message is the next step), `user` (the answer of a model that plays the user to `ask`, chat
messages, with the tools of `ask_tools`, is), or `nothing`: the problem has ended, and `score` says `{"score": 0..1,
"called": whether it called anything, "detail": why not}`. Of the messages that are right those of the role `assistant`
are the policy's, those of the role `user` are the user's. Several problems may be under way at once; one that is given
up is dropped.
What goes wrong with one is its answer, `{"failed": reason}`, and its end; so is the death of its process.
The first line tells the version: `{"version": V}`.

A suite is a module with `VERSION` and the functions `problems`, `texts`, `gold`, `prepare` and `start` (`Package`).
"""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

ChatMessage = dict[str, Any]  # of OpenAI's chat
MOST_BYTES = 8_000_000  # of an answer
_CPU_S = 60  # of one problem


class ProblemError(Exception):
    """A problem that cannot be brought to an end; its text is all that is said of it: `who: what`, or `what`."""


class StartedProblem(Protocol):
    """A problem under way."""

    def state(self) -> dict[str, Any]:
        """What is new at its start."""
        ...

    def step(self, message: dict[str, Any]) -> dict[str, Any]:
        """Take what was wanted; say what is new."""
        ...


class Package(Protocol):
    """What a suite's module offers."""

    VERSION: str

    def problems(self, category: str) -> list[str]:
        """The ids of a category, in the suite's order."""
        ...

    def texts(self, category: str) -> list[dict[str, Any]]:
        """What a task may have been copied from: of each problem `id`, `instructions` (what its user says), `tools`
        (`name`, the names of its `parameters`, `takes`: their schema), `answers` (right calls: `name`, `arguments`)."""
        ...

    def gold(self, id: str, style: str) -> list[dict[str, Any]]:
        """The messages that the suite's own answers come to, of the policy and of who plays the user."""
        ...

    def prepare(self, id: str) -> dict[str, Any]:
        """Read what many problems need: once, before each has a process of its own. Says nothing."""
        ...

    def start(self, id: str, style: str) -> StartedProblem:
        """A fresh problem."""
        ...


def told(
    id: str, instructions: Iterable[str], functions: Iterable[Mapping[str, Any]], right: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """A problem as `Package.texts` tells it, from its functions' schemas and the messages that are right."""
    calls = [call["function"] for message in right for call in message.get("tool_calls") or ()]
    return {
        "id": id,
        "instructions": list(instructions),
        "tools": [
            {"name": f["name"], "parameters": list(f["parameters"].get("properties", ())), "takes": f["parameters"]}
            for f in functions
        ],
        "answers": [{"name": call["name"], "arguments": json.loads(call["arguments"])} for call in calls],
    }


def serve(suite: Package) -> None:
    """Answer until stdin ends."""
    asked, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)  # what a suite prints, or a model's text reads, is none of the protocol
    os.dup2(2, 1)
    _Worker(suite, asked, answers).run()


class _Worker:
    def __init__(self, suite: Package, asked: int, answers: int) -> None:
        self.suite, self.asked, self.answers = suite, asked, answers
        self.children: dict[int, _Child] = {}

    def run(self) -> None:
        self._tell({"version": self.suite.VERSION})
        rest = b""
        while True:
            ready = wait([self.asked, *(child.pipe for child in self.children.values())])
            for child in [child for child in self.children.values() if child.pipe in ready]:
                self._hear(child)
            if self.asked in ready:
                chunk = os.read(self.asked, 1 << 20)
                if not chunk:
                    return
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._take(json.loads(line))

    def _take(self, request: dict[str, Any]) -> None:
        match request["do"]:
            case "problems":
                self._tell(_answer(request["n"], lambda: {"problems": self.suite.problems(request["category"])}))
            case "texts":
                self._tell(_answer(request["n"], lambda: {"texts": self.suite.texts(request["category"])}))
            case "gold":
                self._tell(
                    _answer(request["n"], lambda: {"messages": self.suite.gold(request["id"], request["style"])})
                )
            case "start":
                _answer(request["n"], lambda: self.suite.prepare(request["id"]))  # a fault is told by the start itself
                self.children[request["n"]] = child = self._begin()
                child.send(request)
            case "drop":
                self._end(request["of"])
                self._tell({"n": request["n"]})
            case _ if (known := self.children.get(request["of"])) is not None:
                known.send(request)
            case _:
                self._tell({"n": request["n"], "failed": "its process is gone"})

    def _begin(self) -> _Child:
        ours, theirs = Pipe()
        number = os.fork()
        if number == 0:
            try:
                for fd in (self.asked, self.answers, ours.fileno(), *(c.pipe.fileno() for c in self.children.values())):
                    os.close(fd)
                _live(self.suite, theirs)
            finally:
                os._exit(1)
        theirs.close()
        return _Child(number, ours)

    def _hear(self, child: _Child) -> None:
        first = next(first for first, known in self.children.items() if known is child)
        try:
            answer = json.loads(child.pipe.recv_bytes(MOST_BYTES))
        except (EOFError, OSError, ValueError):
            answer = {"n": child.waiting, "failed": f"its process died ({self._end(first)})"}
        if "failed" in answer or answer["wants"] == "nothing":
            self._end(first)
        self._tell(answer)

    def _end(self, first: int) -> str:
        child = self.children.pop(first, None)
        if child is None:
            return "gone"
        child.pipe.close()
        os.kill(child.number, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child.number, 0)[1])
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def _tell(self, answer: dict[str, Any]) -> None:
        line = json.dumps(answer).encode() + b"\n"
        while line:
            line = line[os.write(self.answers, line) :]


class _Child:
    """The process of a problem. `waiting`: the request that it has not answered."""

    def __init__(self, number: int, pipe: Connection[Any, Any]) -> None:
        self.number, self.pipe = number, pipe
        self.waiting: int | None = None

    def send(self, request: dict[str, Any]) -> None:
        self.waiting = request["n"]
        with suppress(OSError):  # it has died: its end of the pipe says so
            self.pipe.send_bytes(json.dumps(request).encode())


def _live(suite: Package, pipe: Connection[Any, Any]) -> None:
    """A problem's process: its requests, one after the other."""
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S))
    problem: list[StartedProblem] = []
    while True:
        request = json.loads(pipe.recv_bytes())
        answer = _answer(request["n"], lambda: _done(suite, problem, request))  # noqa: B023 (called at once)
        data = json.dumps(answer).encode()
        if len(data) > MOST_BYTES:
            data = json.dumps({"n": request["n"], "failed": f"an answer of {len(data):,} bytes"}).encode()
        pipe.send_bytes(data)


def _done(suite: Package, problem: list[StartedProblem], request: dict[str, Any]) -> dict[str, Any]:
    match request["do"]:
        case "start":
            problem.append(suite.start(request["id"], request["style"]))
            return problem[0].state()
        case _:
            return problem[0].step(request["message"])


def _answer(number: int, what: Any) -> dict[str, Any]:
    try:
        return {"n": number, **what()}
    except ProblemError as fault:
        return {"n": number, "failed": str(fault)[:300]}
    except Exception as error:
        return {"n": number, "failed": f"{type(error).__name__}: {str(error)[:300]}"}
