"""Who acts in a suite's problems: nobody, the suite's own answers, a model at an endpoint. Messages -> a message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from synthagent.episodes.endpoint import turn_of_reply, well_formed
from synthagent.episodes.policy import Decoding
from synthagent.episodes.turn import message_of
from synthagent.errors import BadReplyError
from synthagent.llm.client import Llm, Request
from synthagent.records import Message, Tool
from synthagent.suites.worker import FailedError, Worker


@dataclass(slots=True)
class Situation:
    """A problem as its policy sees it: all messages so far, the tools there are now, how many messages it has given."""

    id: str
    style: str
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


@dataclass(frozen=True, slots=True)
class Scripted:
    """Says the same in every problem of a number: nothing (`noop`), or what the suite's own answers come to (`gold`).

    `answers`: the suite's messages to a problem, in their order.
    """

    name: str
    worker: Worker | None = None
    answers: dict[str, list[Message]] = field(default_factory=dict)
    decoding: Decoding = "scripted"
    concurrency: int = 8

    @property
    def identity(self) -> Mapping[str, Any]:
        """As `SuitePolicy`."""
        return {}

    async def act(self, situation: Situation) -> Message:
        """As `SuitePolicy`."""
        if self.worker is None:
            return {"role": "assistant", "content": ""}
        if situation.steps == 0:
            self.answers[situation.id] = await self.worker.gold(situation.id, situation.style)
        left = self.answers[situation.id]
        if not left:
            raise FailedError("the suite's own answers have ended")
        return left.pop(0)

    def begin(self) -> None:
        """As `SuitePolicy`."""

    def end(self) -> None:
        """As `SuitePolicy`."""

    async def close(self) -> None:
        """As `SuitePolicy`."""


@dataclass(frozen=True, slots=True)
class ServedPolicy:
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
        role = self.llm.roles["policy"]
        asked = {"model": role.model, "temperature": role.temperature, "top_p": role.top_p}
        return {**asked, "max_tokens": self.max_tokens, "template": "the server's"}

    async def act(self, situation: Situation) -> Message:
        """As `SuitePolicy`.

        Raises:
            SynthAgentError: no problem can go on: endpoint, budget or replay.
        """
        messages = tuple(map(well_formed, situation.messages))
        version = f"{self.suite}-{situation.style}"
        request = Request(messages, version, tools=tuple(situation.tools), max_tokens=self.max_tokens)
        try:
            reply = await self.llm.chat("policy", request)
        except BadReplyError as fault:
            raise FailedError(f"policy: {fault}") from None
        if situation.style == "prompt":
            return {"role": "assistant", "content": reply.text}
        return message_of(turn_of_reply(reply), situation.steps)

    def begin(self) -> None:
        """As `SuitePolicy`."""

    def end(self) -> None:
        """As `SuitePolicy`."""

    async def close(self) -> None:
        """As `SuitePolicy`."""
        await self.llm.close()


async def user_says(llm: Llm, suite: str, ask: Sequence[Message]) -> Message:
    """What the model that plays the user says to `ask`, chat messages in which it is the assistant.

    Raises:
        FailedError: it says nothing.
    """
    try:
        reply = await llm.chat("user", Request(tuple(ask), f"{suite}-user"))
    except BadReplyError as fault:
        raise FailedError(f"user: {fault}") from None
    return {"role": "user", "content": reply.text}
