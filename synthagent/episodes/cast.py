"""Who answers a policy: the world or a model in place of its tools, the facts or a model in place of the user.

`Cast` answers in an event loop; `SyncCast` answers code that has none, such as the local student's sampler.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from synthagent.episodes import user as embedded_user
from synthagent.episodes.episode import Asked, Episode, Question, Response
from synthagent.episodes.mapping import Mappings
from synthagent.episodes.simulated_tools import SimulatedTools
from synthagent.episodes.simulated_user import SimulatedUser
from synthagent.errors import BadReplyError
from synthagent.llm.client import Llm
from synthagent.params import Params
from synthagent.records import Task

R = TypeVar("R")
USER_FAULT = "user_fault"


class Cast:
    """Answers tool calls and questions in the episodes of a stage, as the roles `tools` and `user` of params say.

    An executable world answers for itself. A reply of a simulated user that is at fault ends its episode, with the
    error `user_fault`: what follows could not be trained on.
    """

    def __init__(self, params: Params, llm: Llm, mappings: Mappings) -> None:
        def of(role: str) -> Llm | None:
            return llm if role in llm.roles else None

        self.mappings = mappings
        self._tools = SimulatedTools(of("tools"), mappings)
        user = of("user")
        self._user = SimulatedUser(user) if user else None

    async def answer(self, episode: Episode, asked: Asked) -> Response:
        """The tool's event, which is logged in the episode's world, or the user's reply.

        Raises:
            BadReplyError: a model's answer cannot be used; `reason` names the role. Ends the episode, nothing else.
            SynthAgentError: the world is simulated and `tools` has no model; or as `Llm.chat`.
        """
        if isinstance(asked, Question):
            return await self._reply(episode, asked.text)
        if episode.task.world_kind == "executable":
            return episode.world.call(asked.name, asked.arguments)
        try:
            event = await self._tools.call(episode, asked.name, asked.arguments)
        except BadReplyError as fault:
            raise BadReplyError(f"tools: {fault.reason}", fault.detail, fault.tokens) from None
        episode.world.events.append(event)
        return event

    def metrics(self) -> dict[str, Any]:
        """`mapping`, and `user_faults` where a model plays the user."""
        return {
            "mapping": self.mappings.metrics(),
            "user_faults": self._user.metrics() if self._user else None,
        }

    async def _reply(self, episode: Episode, question: str) -> str:
        if self._user is None:
            return embedded_user.reply(episode.task.facts, question)
        try:
            reply, faults = await self._user.reply(episode, question)
        except BadReplyError as fault:
            raise BadReplyError(f"user: {fault.reason}", fault.detail, fault.tokens) from None
        if faults:
            episode.error = USER_FAULT
        return reply


class SyncCast:
    """A cast for synchronous code: an event loop in a thread of its own. One call at a time and caller.

    `answer_all` is what the sampler takes.
    """

    def __init__(self, cast: Cast) -> None:
        self._cast = cast
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def answer_all(self, asked: Sequence[tuple[Episode, Asked]]) -> list[Response | BadReplyError]:
        """As `Cast.answer`, many at once; what could not be answered is an error in its place."""

        async def answered(episode: Episode, question: Asked) -> Response | BadReplyError:
            try:
                return await self._cast.answer(episode, question)
            except BadReplyError as fault:
                return fault

        return self.gather(answered(*pair) for pair in asked)

    def gather(self, coroutines: Iterable[Coroutine[Any, Any, R]]) -> list[R]:
        """The results of coroutines that run at once in the loop; all have ended when the first error goes up."""

        async def together() -> list[R]:
            tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
            if tasks:
                await asyncio.wait(tasks)
            return [task.result() for task in tasks]

        return asyncio.run_coroutine_threadsafe(together(), self._loop).result()

    def close(self, llm: Llm) -> None:
        """Close the models' connections, in the loop in which they were used, and end the thread."""
        asyncio.run_coroutine_threadsafe(llm.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def is_live(params: Params, tasks: Iterable[Task]) -> bool:
    """Whether episodes of these tasks need a cast: a model plays the user, or a world is simulated."""
    return params.roles.user.backend == "openai" or any(task.world_kind == "simulated" for task in tasks)
