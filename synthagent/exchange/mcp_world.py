"""A task's world over MCP: its tools, the user and the answer are tools of an MCP server; rubrics judge the episode.

An agent client of any make acts in it. Each call is a turn, with the limits of our own episodes; the call that ends the
episode returns score and verdicts. An episode belongs to a session; where the protocol has none (2026-07-28 over HTTP),
to the URL.

Launch: `synthagent serve-world TASK`, or with `--http PORT`.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Sequence
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

from synthagent import __version__
from synthagent.episodes.environment import ModelEnvironment, needs_models
from synthagent.episodes.episode import EMBEDDED, Environment, Episode, opening
from synthagent.episodes.mapping import Mappings
from synthagent.episodes.turn import Turn, call_of
from synthagent.episodes.world import fresh_world
from synthagent.errors import InputError, SynthAgentError
from synthagent.exchange.playable import outcome_of
from synthagent.exchange.recorded import RecordFile
from synthagent.judging.criteria import extract
from synthagent.judging.scoring import needs_judge, score_episode, undecided
from synthagent.llm.client import Llm
from synthagent.params import Params
from synthagent.records import Message, Rubric, Task
from synthagent.store import find_record
from synthagent.text import clean, clean_value

PATH = "/mcp"
POLICY = "mcp"  # what acts, in the records
MOST_OPEN = 1_000  # episodes that a server keeps; beyond them the oldest is closed
_HOST = "127.0.0.1"
RequestContext = ServerRequestContext[Any, Any]


@dataclass(frozen=True, slots=True)
class ServedTask:
    """A task to act in, what judges it, and who answers."""

    task: Task
    rubric: Rubric
    params: Params
    environment: Environment = EMBEDDED
    llm: Llm | None = None


@dataclass(frozen=True, slots=True)
class Names:
    """What the two tools are called that are not the task's own."""

    ask: str
    answer: str

    @staticmethod
    def beside(task: Task) -> Names:
        """Names that no tool of the task has."""
        taken = {tool.name for tool in task.tools}

        def free(name: str) -> str:
            return name if name not in taken else free(f"{name}_")

        return Names(free("ask_user"), free("final_answer"))


def served_task(task: Task, rubric: Rubric, params: Params) -> ServedTask:
    """The task with the models that params name, where its world, its user or its rubric needs them.

    Raises:
        InputError: only a judge can decide some criteria, and there is none.
    """
    judged = needs_judge(params, [rubric])
    if undecided(rubric) and not judged:
        open_ones = len(undecided(rubric))
        raise InputError(
            f"{task.id}: only a judge can decide {open_ones} of its criteria; set roles.judge in params.yaml"
        )
    if not judged and not needs_models(params, [task]):
        return ServedTask(task, rubric, params)
    llm = Llm(params)
    environment = ModelEnvironment(params, llm, Mappings(params.episode.mapping))
    return ServedTask(task, rubric, params, environment, llm)


class Sitting:
    """One episode, played by calls. What an agent writes is data: it becomes the turn that the call stands for."""

    def __init__(self, served: ServedTask, sample: int, keep: Callable[[Episode], None]) -> None:
        most = served.params.episode.max_turns
        self._served, self._keep = served, keep
        self._episode = Episode(served.task, served.environment, max_turns=most, sample=sample)
        self._one_at_a_time = anyio.Lock()

    async def take(self, turn: Turn) -> mcp.CallToolResult:
        """Take a turn: what the world or the user answers; at the end of the episode the outcome."""
        async with self._one_at_a_time:
            if self._over():
                return _told("The episode has ended. Start a new session for another.", error=True)
            try:
                answers = await self._episode.astep(turn)
                return await self._outcome() if self._over() else _answered(answers)
            except SynthAgentError as error:
                self._episode.fail("a model does not answer")
                return _told(f"The episode cannot go on: {error}", error=True)
            except BaseException:
                self._episode.fail("cancelled in a turn")
                raise
            finally:
                if self._over():
                    self._keep(self._episode)

    def _over(self) -> bool:
        return self._episode.end is not None

    def leave(self) -> None:
        """End an episode that its agent left."""
        if not self._over():
            self._episode.fail("left before its end")
            self._keep(self._episode)

    async def _outcome(self) -> mcp.CallToolResult:
        served = self._served
        reward = (await score_episode(self._episode, served.rubric, served.params, served.llm)).reward
        texts = {criterion.id: f"{criterion.kind}: {criterion.text}" for criterion in served.rubric.criteria}
        lines = [f"The episode has ended: {self._episode.end}."]
        lines.append("It could not be judged." if reward.reward is None else f"Reward {reward.reward:.3f}")
        for verdict in reward.verdicts:
            mark = "passed" if verdict.passed else "failed"
            lines.append(f"{mark}  {verdict.criterion}  {texts.get(verdict.criterion, '')} ({verdict.evidence})")
        return _told("\n".join(lines), outcome_of(reward, self._episode))


class WorldServer:
    """The MCP server of one task: an episode for each session, each written to `record` when it ends or is left."""

    def __init__(self, served: ServedTask, record: RecordFile | None = None) -> None:
        self._served, self._record = served, record
        self._names = Names.beside(served.task)
        self._open: dict[str, Sitting] = {}
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
            await self._close()

    async def serve_http(self, port: int) -> None:
        """Serve this machine over HTTP, until a signal.

        Raises:
            InputError: the port is taken.
        """
        app = self.mcp.streamable_http_app(streamable_http_path=f"{PATH}{{name:path}}", json_response=True)
        with socket.socket() as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listening.bind((_HOST, port))
            except OSError as error:
                raise InputError(f"--http {port}: {error.strerror}; give another port, or 0 for any") from None
            print(f"http://{_HOST}:{listening.getsockname()[1]}{PATH}", flush=True)
            try:
                await uvicorn.Server(uvicorn.Config(app, log_level="warning")).serve(sockets=[listening])
            finally:
                await self._close()

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
            return _told(turn, error=True)
        return await self._sitting(_session_of(context)).take(turn)

    def _turn(self, name: str, arguments: dict[str, Any]) -> Turn | str:
        """The turn that a call stands for; or what is wrong with it."""
        slot = {self._names.ask: "message", self._names.answer: "answer"}.get(name)
        if slot is None:
            return Turn(calls=(call_of({"name": clean(name), "arguments": clean_value(arguments)}),))
        text = arguments.get(slot)
        if arguments.keys() != {slot} or not isinstance(text, str):
            return f"{name} takes one argument, the text `{slot}`"
        return Turn(clean(text) if name == self._names.ask else f"<answer>{clean(text)}</answer>")

    def _sitting(self, session: str) -> Sitting:
        if session not in self._open:
            while len(self._open) >= MOST_OPEN:
                self._open.pop(next(iter(self._open))).leave()
            self._open[session] = Sitting(self._served, self._samples, self._keep)
            self._samples += 1
        return self._open[session]

    def _keep(self, episode: Episode) -> None:
        if self._record is not None:
            self._record.add(episode.trajectory(POLICY))

    async def _close(self) -> None:
        for sitting in self._open.values():
            sitting.leave()
        if self._served.llm is not None:
            await self._served.llm.close()

    async def _prompts(self, _: RequestContext, __: Any) -> mcp.ListPromptsResult:
        return mcp.ListPromptsResult(prompts=[mcp.Prompt(name="task", description="Policy and request of the task")])

    async def _prompt(self, _: RequestContext, params: mcp.GetPromptRequestParams) -> mcp.GetPromptResult:
        if params.name != "task":
            raise ValueError("there is one prompt: task")
        text = mcp.TextContent(text=told_to_agent(self._served, self._names))
        return mcp.GetPromptResult(messages=[mcp.PromptMessage(role="user", content=text)])


def told_to_agent(served: ServedTask, names: Names) -> str:
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


def _answered(messages: Sequence[Message]) -> mcp.CallToolResult:
    """What the world or the user answered to the one call, or text, of a turn."""
    (message,) = messages
    failed = message["role"] == "tool" and "error" in json.loads(message["content"])
    return _told(message["content"], error=failed)


def _told(text: str, content: Any = None, error: bool = False) -> mcp.CallToolResult:
    return mcp.CallToolResult(content=[mcp.TextContent(text=text)], structured_content=content, is_error=error)


def rubric_for(task: Task, rubrics: Path | None) -> Rubric:
    """The rubric of a file; where that has none for the task, what the path of its reference gives."""
    found = find_record(rubrics, Rubric, task.id) if rubrics is not None and rubrics.exists() else None
    return found or Rubric(task_id=task.id, criteria=extract(task, fresh_world(task)).criteria, coverage=1.0)


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
