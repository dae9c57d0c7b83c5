"""A task's world over MCP: its tools, the user and the answer are tools of an MCP server; rubrics judge the episode.

An agent client of any make acts in it. Each call is a turn, with the limits of our own episodes; the call that ends the
episode returns score and verdicts. An episode belongs to a session; where the protocol has none (2026-07-28 over HTTP),
to the URL.

Launch: `synthagent serve-world TASK`, or with `--http PORT`.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import mcp.types as mcp
import uvicorn
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.types.version import MODERN_PROTOCOL_VERSIONS
from starlette.applications import Starlette

from synthagent import __version__
from synthagent.episodes.episode import Episode, opening
from synthagent.episodes.turn import Turn, call_of
from synthagent.errors import InputError
from synthagent.exchange.recorded import RecordFile
from synthagent.exchange.served import CallAnswer, ServedEpisode, ServedTask, served_task
from synthagent.params import Params
from synthagent.records import Rubric, Task
from synthagent.text import clean, clean_value

PATH = "/mcp"
POLICY = "mcp"  # what acts, in the records
MOST_OPEN = 1_000  # episodes that a server keeps; beyond them the oldest is closed
_HOST = "127.0.0.1"
RequestContext = ServerRequestContext[Any, Any]


@dataclass(frozen=True, slots=True)
class ToolNames:
    """What the two tools are called that are not the task's own."""

    ask: str
    answer: str

    @staticmethod
    def beside(task: Task) -> ToolNames:
        """Names that no tool of the task has."""
        taken = {tool.name for tool in task.tools}

        def free(name: str) -> str:
            return name if name not in taken else free(f"{name}_")

        return ToolNames(free("ask_user"), free("final_answer"))


class WorldServer:
    """The MCP server of one task: an episode for each session, each written to `record` when it ends or is left."""

    def __init__(self, served: ServedTask, record: RecordFile | None = None) -> None:
        self._served, self._record = served, record
        self._names = ToolNames.beside(served.task)
        self._open: dict[str, ServedEpisode] = {}
        self._samples = record.next_sample(served.task.id, POLICY) if record else 0
        self.mcp: Server[Any] = Server(
            "synthagent",
            version=__version__,
            title=f"synthagent {served.task.id}",
            instructions=told_to_agent(served, self._names),
            on_list_tools=self._tools,
            on_call_tool=self._call,
            on_list_prompts=self._prompts,
            on_get_prompt=self._prompt,
        )

    async def serve_stdio(self) -> None:
        """Serve the process that started this one, until it leaves."""
        try:
            async with stdio_server() as (reading, writing):
                await self.mcp.run(reading, writing, self.mcp.create_initialization_options())
        finally:
            await self.close()

    async def serve_http(self, port: int) -> None:
        """Serve this machine over HTTP, until a signal.

        Raises:
            InputError: the port is taken.
        """
        app = self._app()
        with socket.socket() as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listening.bind((_HOST, port))
                listening.listen()  # who reads the address may connect at once, and waits
            except OSError as error:
                raise InputError(f"--http {port}: {error.strerror}; give another port, or 0 for any") from None
            print(f"http://{_HOST}:{listening.getsockname()[1]}{PATH}", flush=True)
            await uvicorn.Server(uvicorn.Config(app, log_level="warning")).serve(sockets=[listening])

    def _app(self) -> Starlette:
        """The application, which leaves no open episode unrecorded when it is shut down.

        That is done within its lifespan: after it uvicorn raises the signal again, which ends the process.
        """
        app = self.mcp.streamable_http_app(streamable_http_path=f"{PATH}{{name:path}}", json_response=True)
        of_sdk = app.router.lifespan_context

        @asynccontextmanager
        async def lifespan(within: Starlette) -> AsyncIterator[None]:
            async with of_sdk(within):
                try:
                    yield
                finally:
                    await self.close()

        app.router.lifespan_context = lifespan
        return app

    async def _tools(self, _: RequestContext, __: Any) -> mcp.ListToolsResult:
        names = self._names
        own = [
            mcp.Tool(name=tool.name, description=tool.description, input_schema={"type": "object", **tool.parameters})
            for tool in self._served.task.tools
        ]
        ask = _of_text(names.ask, "Say something to the user, such as a question; returns the reply.", "message")
        answer = _of_text(names.answer, "End the episode with your answer; returns score and verdicts.", "answer")
        return mcp.ListToolsResult(tools=[*own, ask, answer])

    async def _call(self, context: RequestContext, params: mcp.CallToolRequestParams) -> mcp.CallToolResult:
        turn = self._turn(params.name, params.arguments or {})
        if isinstance(turn, str):
            return _result(CallAnswer(turn, failed=True))
        return _result(await self._episode(_session_of(context)).take(turn))

    def _turn(self, name: str, arguments: dict[str, Any]) -> Turn | str:
        """The turn that a call stands for; or what is wrong with it."""
        slot = {self._names.ask: "message", self._names.answer: "answer"}.get(name)
        if slot is None:
            return Turn(calls=(call_of({"name": clean(name), "arguments": clean_value(arguments)}),))
        text = arguments.get(slot)
        if arguments.keys() != {slot} or not isinstance(text, str):
            return f"{name} takes one argument, the text `{slot}`"
        return Turn(clean(text) if name == self._names.ask else f"<answer>{clean(text)}</answer>")

    def _episode(self, session: str) -> ServedEpisode:
        if session not in self._open:
            while len(self._open) >= MOST_OPEN:
                self._open.pop(next(iter(self._open))).leave()
            self._open[session] = ServedEpisode(self._served, self._samples, self._keep)
            self._samples += 1
        return self._open[session]

    def _keep(self, episode: Episode) -> None:
        if self._record is not None:
            self._record.add(episode.trajectory(POLICY))

    async def close(self) -> None:
        """Leave the open episodes, and close what models were asked through."""
        for episode in self._open.values():
            episode.leave()
        if self._served.llm is not None:
            await self._served.llm.close()

    async def _prompts(self, _: RequestContext, __: Any) -> mcp.ListPromptsResult:
        return mcp.ListPromptsResult(prompts=[mcp.Prompt(name="task", description="Policy and request of the task")])

    async def _prompt(self, _: RequestContext, params: mcp.GetPromptRequestParams) -> mcp.GetPromptResult:
        if params.name != "task":
            raise ValueError("there is one prompt: task")
        text = mcp.TextContent(text=told_to_agent(self._served, self._names))
        return mcp.GetPromptResult(messages=[mcp.PromptMessage(role="user", content=text)])


def told_to_agent(served: ServedTask, names: ToolNames) -> str:
    """The opening of the episode, and how user and answer are reached here."""
    system, request = opening(served.task)
    return (
        f"{system['content']}\n\n"
        f"Write to the user by the tool `{names.ask}`; give your answer to the tool `{names.answer}`, without tags. "
        f"Each call is a turn; the episode ends after {served.params.episode.max_turns}.\n\n"
        f"The user says: {request['content']}"
    )


def _session_of(context: RequestContext) -> str:
    """What tells sessions apart: the protocol's own id, the URL, or nothing on stdio."""
    if context.request is None:
        return "stdio"
    if context.protocol_version in MODERN_PROTOCOL_VERSIONS:
        return f"url {context.request.path_params['name']}"
    return f"session {context.request.headers.get('mcp-session-id')}"


def _of_text(name: str, description: str, argument: str) -> mcp.Tool:
    schema = {"type": "object", "properties": {argument: {"type": "string"}}, "required": [argument]}
    return mcp.Tool(name=name, description=description, input_schema={**schema, "additionalProperties": False})


def _result(answer: CallAnswer) -> mcp.CallToolResult:
    text = mcp.TextContent(text=answer.text)
    return mcp.CallToolResult(content=[text], structured_content=answer.outcome, is_error=answer.failed)


def serve_world(task: Task, rubric: Rubric, params: Params, port: int | None, record: Path | None) -> None:
    """Serve a task until the client leaves (stdio), or a signal (HTTP).

    Raises:
        InputError: the port is taken, the record holds something else, or a judge is needed.
    """
    server = WorldServer(served_task(task, rubric, params), None if record is None else RecordFile(record))
    if port is None:
        anyio.run(server.serve_stdio)
    else:
        anyio.run(server.serve_http, port)
