"""Who acts in a suite's problems, and who plays their user: nobody, the suite's own answers, a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from synthagent.episodes.endpoint import turn_of_reply, well_formed
from synthagent.episodes.turn import message_of
from synthagent.errors import BadReplyError
from synthagent.llm.client import Llm, Request
from synthagent.llm.store import Reply
from synthagent.records import Decoding, Message
from synthagent.suites.suite import Suite
from synthagent.suites.worker import FailedError, Worker
from synthagent.worlds import Tool

_MOST_OF_USER = 100_000  # characters of a message, of a server that heeds no `max_tokens`


@dataclass(slots=True)
class Situation:
    """A problem as its policy sees it: all messages so far, the tools there are now, how many messages it has given.

    `trial`: how often the problem has been begun before.
    """

    id: str
    category: str
    style: str
    trial: int = 0
    messages: list[Message] = field(default_factory=list)
    tools: Sequence[Tool] = ()
    steps: int = 0


class SuitePolicy(Protocol):
    """Whoever acts. `identity`: what decides its messages, and so, which results are still its own."""

    @property
    def name(self) -> str: ...

    @property
    def decoding(self) -> Decoding: ...

    @property
    def identity(self) -> Mapping[str, Any]: ...

    @property
    def concurrency(self) -> int: ...

    async def act(self, situation: Situation) -> Message:
        """Its next message.

        Raises:
            FailedError: it has none in this problem.
        """
        ...

    def begin(self) -> None:
        """A problem begins: from now on there is one more that will ask."""
        ...

    def end(self) -> None:
        """One has ended."""
        ...

    async def close(self) -> None:
        """Nothing more will be asked."""
        ...


class SuiteUser(Protocol):
    """Whoever plays the user of a problem. `identity`: as `SuitePolicy`."""

    @property
    def identity(self) -> Mapping[str, Any]: ...

    async def answer(self, situation: Situation, ask: Sequence[Message], tools: Sequence[Tool]) -> Message:
        """The user's next message. `ask`: chat messages in which the user is the assistant.

        Raises:
            FailedError: there is none in this problem.
        """
        ...

    async def close(self) -> None:
        """Nothing more will be asked."""
        ...


class _Alone:
    """A policy to which it is all the same how many problems are under way, and which holds nothing."""

    __slots__ = ()

    def begin(self) -> None:
        """As `SuitePolicy`."""

    def end(self) -> None:
        """As `SuitePolicy`."""

    async def close(self) -> None:
        """As `SuitePolicy`."""


@dataclass(frozen=True, slots=True)
class Silent(_Alone):
    """Does nothing (`noop`): says nothing, or what that is where that cannot be. Its user gives up at once."""

    suite: Suite
    name: str = "noop"
    decoding: Decoding = "scripted"
    concurrency: int = 8

    @property
    def identity(self) -> Mapping[str, Any]:
        """As `SuitePolicy`."""
        return {}

    async def act(self, situation: Situation) -> Message:
        """As `SuitePolicy`."""
        return self.suite.silence.get(situation.category, {"role": "assistant", "content": ""})

    async def answer(self, situation: Situation, ask: Sequence[Message], tools: Sequence[Tool]) -> Message:
        """As `SuiteUser`."""
        return {"role": "user", "content": self.suite.farewell}


@dataclass(frozen=True, slots=True)
class Gold(_Alone):
    """Says what the suite's own answers come to, and plays their user. `left`: problem and role -> messages to come."""

    worker: Worker
    left: dict[tuple[str, int, str], list[Message]] = field(default_factory=dict)
    name: str = "gold"
    decoding: Decoding = "scripted"
    concurrency: int = 8

    @property
    def identity(self) -> Mapping[str, Any]:
        """As `SuitePolicy`."""
        return {}

    async def act(self, situation: Situation) -> Message:
        """As `SuitePolicy`."""
        return await self._next(situation, "assistant")

    async def answer(self, situation: Situation, ask: Sequence[Message], tools: Sequence[Tool]) -> Message:
        """As `SuiteUser`."""
        return await self._next(situation, "user")

    async def _next(self, situation: Situation, role: str) -> Message:
        problem = situation.id, situation.trial
        if (*problem, role) not in self.left:
            said = await self.worker.gold(situation.id, situation.style)
            for each in ("assistant", "user"):
                self.left[(*problem, each)] = [message for message in said if message["role"] == each]
        left = self.left[(*problem, role)]
        if not left:
            raise FailedError("the suite's own answers have ended")
        return left.pop(0)


@dataclass(frozen=True, slots=True)
class ServedPolicy(_Alone):
    """The model of `roles.policy`. Its answers are kept in `.cache/llm`, and asked for once."""

    llm: Llm
    suite: str
    max_tokens: int
    concurrency: int
    name: str = "endpoint"

    @property
    def decoding(self) -> Decoding:
        """As `SuitePolicy`."""
        return "sampled" if self.llm.roles["policy"].temperature else "greedy"

    @property
    def identity(self) -> Mapping[str, Any]:
        """As `SuitePolicy`; the template is the server's, and not known here."""
        return {**_identity(self.llm, "policy", self.max_tokens), "template": "the server's"}

    async def act(self, situation: Situation) -> Message:
        """As `SuitePolicy`.

        Raises:
            SynthAgentError: no problem can go on: endpoint, budget or replay.
        """
        messages = tuple(map(well_formed, situation.messages))
        version = f"{self.suite}-{situation.style}"
        tools, trial = tuple(situation.tools), situation.trial
        request = Request(messages, version, sample=trial, tools=tools, max_tokens=self.max_tokens)
        reply = await _reply(self.llm, "policy", request)
        if situation.style == "prompt":
            return {"role": "assistant", "content": reply.text}
        return message_of(turn_of_reply(reply), situation.steps)

    async def close(self) -> None:
        """As `SuitePolicy`."""
        await self.llm.close()


@dataclass(frozen=True, slots=True)
class ServedUser:
    """The model of `roles.user`. Its answers are kept in `.cache/llm`, and asked for once."""

    llm: Llm
    suite: str
    max_tokens: int

    @property
    def identity(self) -> Mapping[str, Any]:
        """As `SuiteUser`."""
        return _identity(self.llm, "user", self.max_tokens)

    async def answer(self, situation: Situation, ask: Sequence[Message], tools: Sequence[Tool]) -> Message:
        """As `SuiteUser`.

        Raises:
            SynthAgentError: no problem can go on: endpoint, budget or replay.
        """
        messages, version = tuple(map(well_formed, ask)), f"{self.suite}-user"
        request = Request(messages, version, sample=situation.trial, tools=tuple(tools), max_tokens=self.max_tokens)
        reply = await _reply(self.llm, "user", request)
        if len(reply.text) > _MOST_OF_USER:
            raise FailedError(f"user: too_long: a message of {len(reply.text):,} characters")
        return {**message_of(turn_of_reply(reply), len(ask)), "role": "user"}

    async def close(self) -> None:
        """As `SuiteUser`."""
        await self.llm.close()


def _identity(llm: Llm, name: str, max_tokens: int) -> dict[str, Any]:
    role = llm.roles[name]
    return {"model": role.model, "temperature": role.temperature, "top_p": role.top_p, "max_tokens": max_tokens}


async def _reply(llm: Llm, name: str, request: Request) -> Reply:
    try:
        return await llm.chat(name, request)
    except BadReplyError as fault:
        raise FailedError(f"{name}: {fault}") from None
