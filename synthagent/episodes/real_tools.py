"""Problems as episodes, with tools that really run: Python in a sandbox, and a search.

`task_of` makes of a problem the task that a policy sees; `RealEnvironment` answers its calls. What a tool gave back is
in the trajectory, so that an episode is scored, and run again, without running any code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Condition
from typing import Any, TypeVar

from synthagent.episodes.episode import EMBEDDED, Episode, Response
from synthagent.episodes.turn import Question, ToolCall
from synthagent.episodes.world import ToolEvent
from synthagent.errors import BadReplyError, EndpointError, ParamsError
from synthagent.params import ReasoningParams
from synthagent.records import REASONING, Problem, Task
from synthagent.sandbox import FAULTS, PACKAGES, Ran, SandboxPool, Session, sandboxes
from synthagent.search import Search, open_search
from synthagent.worlds import Tool, WorldSpec

R = TypeVar("R")
PYTHON, SEARCH = "python", "search"
_LONGEST = 2_000  # characters of a passage that the policy sees; of an output, the sandbox's limit counts
_LONGEST_CODE = 20_000
_SANDBOXES = 4  # of one process: more would wait for each other's CPU


def _tool(name: str, description: str, argument: str, meaning: str, output: str) -> Tool:
    text = {"type": "string", "description": meaning, "minLength": 1, "maxLength": _LONGEST_CODE}
    parameters = {
        "type": "object",
        "properties": {argument: text},
        "required": [argument],
        "additionalProperties": False,
    }
    return Tool(name=name, description=description, parameters=parameters, outputs={output: {}})


TOOLS = {
    PYTHON: _tool(
        PYTHON,
        "Run Python code and see what it prints. Variables stay from one call to the next.",
        "code",
        "The code.",
        "output",
    ),
    SEARCH: _tool(SEARCH, "Find passages about something.", "query", "What to look for.", "passages"),
}


def task_of(problem: Problem) -> Task:
    """The task that a problem is to a policy: an instruction and tools, and nothing hidden, forbidden or simulated."""
    return Task(
        id=problem.id,
        persona_id=problem.persona_id,
        domain=REASONING,
        difficulty=1,
        split=problem.split,
        instruction=problem.instruction,
        workflow=(),
        facts=(),
        tools=tuple(TOOLS[name] for name in problem.tools),
        distractors=(),
        constraints=(),
        world_kind="real",
        world=WorldSpec(tables={}, effects={}),
        reference=(),
    )


def tools_of(problems: Iterable[Problem]) -> frozenset[str]:
    """The names of all tools that problems have."""
    return frozenset(name for problem in problems for name in problem.tools)


@contextmanager
def real_environment(
    params: ReasoningParams, names: Collection[str], at_once: int, preloaded: tuple[str, ...] = PACKAGES
) -> Iterator[RealEnvironment]:
    """What answers calls of the tools of these names, in so many episodes at once; its processes end with it.

    `preloaded`: packages that code imports in no time; each sandbox takes longer to start for them.

    Raises:
        SynthAgentError: the isolation that params name is not there, or the corpus of the search is not.
    """
    with ExitStack() as stack:
        sessions = None
        if PYTHON in names:
            count = min(at_once, _SANDBOXES)
            sessions = EpisodeSessions(stack.enter_context(sandboxes(params.python, count, preloaded)), count)
            stack.callback(sessions.close)
        search = open_search(params.search) if SEARCH in names else None
        if SEARCH in names and search is None:
            raise ParamsError(
                "params.yaml: reasoning.search: some problems have the tool `search`, but neither corpus nor url is "
                "set; set one of them"
            )
        yield RealEnvironment(sessions, search, params.search.top)


class RealEnvironment:
    """Answers the calls of episodes of problems. A question is answered as by a user who knows nothing more.

    `top`: passages that a search gives. In an event loop a call is waited for in a thread, so that a slow one does not
    hold the others.
    """

    def __init__(self, sessions: EpisodeSessions | None, search: Search | None, top: int = 3) -> None:
        self._sessions, self._search, self._top = sessions, search, top

    async def answer(self, episode: Episode, asked: ToolCall | Question) -> Response:
        """As `Environment`."""
        if isinstance(asked, Question):
            return await EMBEDDED.answer(episode, asked)
        event = episode.world.refusal(asked.name, asked.arguments)
        if event is None:
            result = await _waited_for(lambda: self._result(episode, asked))
            event = ToolEvent(asked.name, asked.arguments, "error" not in result, result)
        episode.world.events.append(event)
        return event

    def _result(self, episode: Episode, call: ToolCall) -> dict[str, Any]:
        if call.name == PYTHON:
            assert self._sessions is not None, "a problem has a tool that the environment lacks"
            ran = self._sessions.run(episode, call.arguments["code"])
            output = {"output": ran.output.rstrip()}
            return {**output, "error": f"{ran.error}: {FAULTS[ran.error]}"} if ran.error else output
        assert self._search is not None, "a problem has a tool that the environment lacks"
        try:
            found = self._search.find(call.arguments["query"], self._top)
        except EndpointError as error:  # of a web API: it costs the episode, not the run
            raise BadReplyError("search: no answer", str(error)) from None
        return {"passages": [{"title": _bounded(each.title), "text": _bounded(each.text)} for each in found]}


class EpisodeSessions:
    """Python for more episodes than there are sandboxes: each has a session of its own while it is not in the way.

    A session is kept from call to call. Where another episode needs its sandbox, that of an episode that has ended is
    given up, or else the one that was longest without a call: at that episode's next call its earlier ones run again
    first, so that its variables are there. `count`: sandboxes of the pool.
    """

    def __init__(self, pool: SandboxPool, count: int) -> None:
        self._pool, self._left = pool, count
        self._idle: dict[Episode, _Opened] = {}  # the longest idle first
        self._change = Condition()

    def run(self, episode: Episode, code: str) -> Ran:
        """Run code in the episode's session; waits while all sandboxes run code of others."""
        with self._change:
            self._change.wait_for(lambda: self._left or self._idle)
            opened = self._idle.pop(episode, None)
            given_up = None
            if opened is None and not self._left:
                given_up = self._idle.pop(next((e for e in self._idle if e.end), next(iter(self._idle))))
            elif opened is None:
                self._left -= 1
        try:
            if given_up is not None:
                given_up.close()
            if opened is None:
                opened = _Opened(self._pool)
                for earlier in _with_effect(episode):
                    opened.session.run(earlier)
            return opened.session.run(code)
        finally:
            with self._change:
                if opened is None:
                    self._left += 1
                else:
                    self._idle[episode] = opened
                self._change.notify()

    def close(self) -> None:
        """Give all sandboxes back."""
        for opened in self._idle.values():
            opened.close()
        self._idle.clear()


class _Opened:
    """A session that is entered, until it is closed."""

    def __init__(self, pool: SandboxPool) -> None:
        self._stack = ExitStack()
        self.session: Session = self._stack.enter_context(pool.session())

    def close(self) -> None:
        self._stack.close()


def _with_effect(episode: Episode) -> list[str]:
    """The code that an episode ran, from where its state was lost last."""
    found: list[str] = []
    for event in episode.world.events:
        if isinstance(event, ToolEvent) and event.tool == PYTHON and event.valid:
            found.append(event.args["code"])
            if not event.ok and not str(event.result["error"]).startswith("memory"):
                found.clear()
    return found


async def _waited_for(work: Callable[[], R]) -> R:
    """The result of work that blocks: of a thread where there is an event loop, whose others go on meanwhile."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    return await asyncio.to_thread(work)


def _bounded(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} .. ({len(text) - _LONGEST:,} characters more)"
