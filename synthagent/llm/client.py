"""One client for all roles: a request -> a reply, from the store or from the role's endpoint, counted and budgeted.

A stage makes one `Llm`, asks through it in the name of a role, and writes `metrics()` with its own.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from synthagent.errors import BadReplyError, ReplayError, SynthAgentError
from synthagent.llm.endpoint import Answered, Endpoint
from synthagent.llm.prompts import Message, Prompt
from synthagent.llm.store import FOLDER, Reply, ResponseStore, key_of
from synthagent.llm.structured import complaint, json_schema_of, parse
from synthagent.llm.usage import Budget, Usage
from synthagent.params import Params, Role, Roles

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. `version` names the prompt file; `sample` tells repetitions of one request apart.

    `decided_by`: what identifies the answer in place of the messages, where something else does (the mapping M).
    """

    messages: tuple[Message, ...]
    version: str
    sample: int = 0
    tools: tuple[Mapping[str, Any], ...] = ()
    schema: Mapping[str, Any] | None = None
    max_tokens: int | None = None
    decided_by: Mapping[str, Any] | None = None

    @staticmethod
    def of(prompt: Prompt, sample: int = 0) -> Request:
        """The request that a rendered prompt makes."""
        return Request(prompt.messages, prompt.version, sample)


@dataclass(frozen=True, slots=True)
class Given(Generic[T]):
    """A validated answer, and the tokens it took, re-asking included."""

    value: T
    tokens: int


class Llm:
    """The models behind the roles of `params`. Close it in the event loop in which it was used."""

    def __init__(self, params: Params, folder: Path = FOLDER) -> None:
        self._params, self._llm = params, params.llm
        self.roles: dict[str, Role] = {
            name: role for name in Roles.model_fields if (role := getattr(params.roles, name)).backend == "openai"
        }
        self._store = ResponseStore(folder)
        self._usage = Usage(self._llm.prices)
        self._budget = Budget(self._llm, self._store.paid(), {role.model or "" for role in self.roles.values()})
        self._endpoints: dict[str, Endpoint] = {}
        self._places = asyncio.Semaphore(self._llm.max_concurrency)
        self._under_way: dict[str, asyncio.Future[Reply]] = {}
        self._stopped: SynthAgentError | None = None

    async def chat(self, name: str, request: Request) -> Reply:
        """The answer of role `name`. Equal requests under way at once are one call.

        Raises:
            BadReplyError: this request failed; another may not.
            SynthAgentError: no further request makes sense: endpoint, budget or replay.
        """
        role = self.roles[name]
        identity = _identity(role, request, self._params.seed)
        key = key_of(identity)
        if (known := self._store.get(key)) is not None:
            self._usage.add(name, role.model or "", known, hit=True)
            return known
        if (pending := self._under_way.get(key)) is not None:
            return await asyncio.shield(pending)
        if self._llm.replay == "only":
            raise self._stop(
                ReplayError(
                    f"llm.replay: the store .cache/llm has no answer of {role.model!r} as {name} to this request "
                    f"({request.version}); import the store it was made with (`synthagent cache import`), with the "
                    'same params, or set llm.replay to "off"'
                )
            )
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._under_way[key] = future
        try:
            reply = await self._call(name, role, request, identity)
        except BaseException as error:
            future.set_exception(error if isinstance(error, Exception) else BadReplyError("interrupted", "stopped"))
            future.exception()  # it may be that nobody else waits
            raise
        finally:
            del self._under_way[key]
        future.set_result(reply)
        return reply

    async def ask(self, name: str, request: Request, shape: type[T]) -> Given[T]:
        """A structured answer: json_schema where the server has it; one re-ask that quotes what is wrong.

        Raises:
            BadReplyError: refused, cut off or of the wrong shape, twice; `tokens` says what it cost.
            SynthAgentError: as `chat`.
        """
        request = dataclasses.replace(request, schema=json_schema_of(shape))
        reply = await self.chat(name, request)
        try:
            return Given(parse(reply, shape), reply.tokens)
        except BadReplyError as fault:
            if fault.reason == "refusal":
                raise
            again = await self.chat(name, _again(request, reply, fault))
            tokens = reply.tokens + again.tokens
            try:
                return Given(parse(again, shape), tokens)
            except BadReplyError as second:
                raise BadReplyError(second.reason, second.detail, tokens) from None

    def metrics(self) -> dict[str, Any]:
        """Usage by role and model."""
        return self._usage.metrics()

    async def close(self) -> None:
        """Close the connections and the store."""
        for endpoint in self._endpoints.values():
            await endpoint.close()
        self._store.close()

    async def _call(self, name: str, role: Role, request: Request, identity: Mapping[str, Any]) -> Reply:
        tally = self._usage.of(name, role.model or "")
        async with self._places:
            if self._stopped:
                raise self._stopped
            try:
                self._budget.begin()
                answered: Answered | None = None
                try:
                    answered = await self._endpoint(name, role).complete(_body(role, request, identity["seed"]))
                finally:
                    self._budget.end(role.model or "", answered.reply if answered else None)
            except SynthAgentError as error:
                tally.failures += 1
                raise self._stop(error) from None
            except BadReplyError:
                tally.failures += 1
                raise
        tally.retries += answered.retries
        sent = list(request.messages) if request.decided_by is not None else None
        reply = self._store.put(name, role.model or "", identity, sent, answered.reply)
        self._usage.add(name, role.model or "", reply, hit=False)
        return reply

    def _stop(self, error: SynthAgentError) -> SynthAgentError:
        """From now on nobody is asked: what is under way ends, what waits gets the same error."""
        self._stopped = self._stopped or error
        return self._stopped

    def _endpoint(self, name: str, role: Role) -> Endpoint:
        if name not in self._endpoints:
            self._endpoints[name] = Endpoint(name, role, self._llm)
        return self._endpoints[name]


def _identity(role: Role, request: Request, seed: int) -> dict[str, Any]:
    """Everything that decides an answer, and nothing else: not where the server stands, nor who pays."""
    asked = {"messages": request.messages} if request.decided_by is None else {"decided_by": request.decided_by}
    return {
        "model": role.model,
        **asked,
        "tools": request.tools,
        "schema": request.schema,
        "prompt": request.version,
        "temperature": role.temperature,
        "top_p": role.top_p,
        "max_tokens": request.max_tokens or role.max_tokens,
        "seed": (seed * 1_000_003 + request.sample) % 2**31,
        "sample": request.sample,
    }


def _body(role: Role, request: Request, seed: int) -> dict[str, Any]:
    body: dict[str, Any] = {"model": role.model, "messages": list(request.messages), "seed": seed}
    optional = {
        "temperature": role.temperature,
        "top_p": role.top_p,
        "max_tokens": request.max_tokens or role.max_tokens,
        "tools": [{"type": "function", "function": tool["function"]} for tool in request.tools] or None,
        "response_format": request.schema
        and {"type": "json_schema", "json_schema": {"name": "answer", "schema": request.schema, "strict": True}},
    }
    return body | {key: value for key, value in optional.items() if value is not None}


def _again(request: Request, reply: Reply, fault: BadReplyError) -> Request:
    said = {"role": "assistant", "content": reply.text[:4_000]}
    return dataclasses.replace(
        request, messages=(*request.messages, said, {"role": "user", "content": complaint(fault)})
    )
