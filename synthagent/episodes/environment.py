"""Who answers a policy where models take part: per tool the world or a model, and code or a model as the user.

`ModelEnvironment` answers in an event loop; `LoopThread` is a loop for code that has none, such as the sampler.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from synthagent.episodes.episode import EMBEDDED, Episode, Response
from synthagent.episodes.mapping import Mappings
from synthagent.episodes.simulated_tools import SimulatedTools
from synthagent.episodes.simulated_user import SimulatedUser
from synthagent.episodes.turn import Question, ToolCall
from synthagent.episodes.world import answered_by, is_simulated
from synthagent.errors import BadReplyError
from synthagent.llm.client import Llm
from synthagent.llm.usage import Usage
from synthagent.params import Params
from synthagent.records import Task

R = TypeVar("R")
USER_FAULT = "user_fault"


def needs_models(params: Params, tasks: Iterable[Task]) -> bool:
    """Whether episodes of these tasks need a `ModelEnvironment`: a model plays the user, or answers for a tool."""
    return params.roles.user.backend == "openai" or any(map(is_simulated, tasks))


class ModelEnvironment:
    """Answers in the episodes of a stage as the roles `tools` and `user` of params say.

    A reply of a simulated user that is at fault ends its episode, with the error `user_fault`: nothing that
    follows can be trained on.
    """

    def __init__(self, params: Params, llm: Llm, mappings: Mappings) -> None:
        def of(role: str) -> Llm | None:
            return llm if role in llm.roles else None

        self.mappings = mappings
        self._tools = SimulatedTools(of("tools"), mappings)
        user = of("user")
        self._user = SimulatedUser(user) if user else None

    async def answer(self, episode: Episode, asked: ToolCall | Question) -> Response:
        """As `Environment`; the `reason` of a BadReplyError names the role.

        Raises:
            SynthAgentError: a model is wanted, and its role has none; or as `Llm.chat`.
        """
        match asked:
            case Question():
                return await self._reply(episode, asked)
            case ToolCall() if answered_by(episode.task, asked.name) == "world":
                return await EMBEDDED.answer(episode, asked)
            case ToolCall():
                with _naming("tools"):
                    event = await self._tools.call(episode, asked.name, asked.arguments)
                episode.world.events.append(event)
                return event

    def metrics(self) -> dict[str, Any]:
        """`mapping`, and `user_faults` where a model plays the user."""
        return {
            "mapping": self.mappings.metrics(),
            "user_faults": self._user.metrics() if self._user else None,
        }

    async def _reply(self, episode: Episode, question: Question) -> Response:
        if self._user is None:
            return await EMBEDDED.answer(episode, question)
        with _naming("user"):
            reply, faults = await self._user.reply(episode, question.text)
        if faults:
            episode.error = USER_FAULT
        return reply


@contextmanager
def _naming(role: str) -> Iterator[None]:
    """Say whose answer it was that cannot be used."""
    try:
        yield
    except BadReplyError as fault:
        raise BadReplyError(f"{role}: {fault.reason}", fault.detail, fault.tokens) from None


class LoopThread:
    """An event loop in a thread of its own. One caller at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def gather(self, coroutines: Iterable[Coroutine[Any, Any, R]]) -> list[R]:
        """The results of coroutines that run at once in the loop; all have ended when the first error goes up."""

        async def together() -> list[R]:
            tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
            await asyncio.gather(*tasks, return_exceptions=True)  # takes every error, lest asyncio print the others
            return [task.result() for task in tasks]

        return asyncio.run_coroutine_threadsafe(together(), self._loop).result()

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `last` in the loop, which closes what was used in it, and end the thread."""
        asyncio.run_coroutine_threadsafe(last(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@dataclass(frozen=True, slots=True)
class LiveModels:
    """The models that take part in episodes of code without an event loop, and the loop in which they answer."""

    llm: Llm
    environment: ModelEnvironment
    loop: LoopThread


@contextmanager
def live_models(params: Params, mappings: Mappings, usage: Usage | None = None) -> Iterator[LiveModels]:
    """Models for synchronous code; their connections are closed at the end."""
    llm, loop = Llm(params, usage=usage), LoopThread()
    try:
        yield LiveModels(llm, ModelEnvironment(params, llm, mappings), loop)
    finally:
        loop.close(llm.close)
