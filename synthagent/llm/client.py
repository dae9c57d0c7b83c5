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
from synthagent.llm.commits import Commits
from synthagent.llm.endpoint import Completion, Endpoint
from synthagent.llm.prompts import Prompt
from synthagent.llm.store import FOLDER, NewReply, Reply, ResponseStore, canonical, key_of
from synthagent.llm.structured import complaint, json_schema_of, parse
from synthagent.llm.usage import Budget, Usage
from synthagent.params import Params, Role, Roles
from synthagent.records import Message
from synthagent.worlds import Tool

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. `version` names the prompt file; `sample` tells repetitions of one request apart.

    `decided_by`: what identifies the answer in place of the messages, where something else does (the mapping M).
    """

    messages: tuple[Message, ...]
    version: str
    sample: int = 0
    tools: tuple[Tool, ...] = ()
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

    def __init__(self, params: Params, folder: Path = FOLDER, usage: Usage | None = None) -> None:
        self._params, self._llm = params, params.llm
        self.roles: dict[str, Role] = {
            name: role for name in Roles.model_fields if (role := getattr(params.roles, name)).backend == "openai"
        }
        self._store = ResponseStore(folder)
        self._commits = Commits(self._store)
        self._usage = usage or Usage(self._llm.prices)
        self._budget = Budget(self._llm, self._store.paid(), {role.model or "" for role in self.roles.values()})
        self._endpoints: dict[str, Endpoint] = {}
        self._places = asyncio.Semaphore(self._llm.max_concurrency)
        self._under_way: dict[str, asyncio.Future[Reply]] = {}
        self._stopped: SynthAgentError | None = None

    async def chat(self, name: str, request: Request) -> Reply:
        """The answer of role `name`. Equal requests under way at once are one call.

        Raises:
            BadReplyError: this request failed; another may not.
            SynthAgentError: no further request makes sense: endpoint, budget, replay or store.
        """
        role = self.roles[name]
        seed = (self._params.seed * 1_000_003 + request.sample) % 2**31
        identity = canonical(_identity(role, request, seed))
        key = key_of(identity)
        while (pending := self._under_way.get(key)) is not None:
            try:
                known = await asyncio.shield(pending)
            except asyncio.CancelledError:
                if not pending.cancelled():
                    raise
                continue  # who asked was interrupted, we were not
            self._usage.add(name, role.model or "", known, hit=True)
            return known
        if (kept := self._kept(name, role, request, key)) is not None:
            self._usage.add(name, role.model or "", kept, hit=True)
            return kept
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._under_way[key] = future
        try:
            reply = await self._call(name, role, request, key, identity, _body(role, request, seed))
        except BaseException as error:
            if isinstance(error, Exception):
                future.set_exception(error)
                future.exception()  # it may be that nobody else waits
            else:
                future.cancel()
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
            try:
                again = await self.chat(name, _again(request, reply, fault))
                return Given(parse(again, shape), reply.tokens + again.tokens)
            except BadReplyError as second:
                raise BadReplyError(second.reason, second.detail, reply.tokens + second.tokens) from None

    def settle(self, name: str, about: Mapping[str, Any], text: str) -> str:
        """What an answer came to, kept in the store: the first text given under `about`, which may now be `text`."""
        role = self.roles[name]
        identity = canonical({"model": role.model, "settled": about})
        known = self._store.get(key_of(identity))
        return (known or self._store.put(name, role.model or "", identity, None, Reply(text=text))).text

    @property
    def tokens(self) -> int:
        """What was used of all models so far."""
        return self._usage.tokens

    def metrics(self) -> dict[str, Any]:
        """Usage by role and model."""
        return self._usage.metrics()

    async def close(self) -> None:
        """Close the connections and the store."""
        self._commits.flush()
        try:
            for endpoint in self._endpoints.values():
                await endpoint.close()
        finally:
            self._store.close()

    def _kept(self, name: str, role: Role, request: Request, key: str) -> Reply | None:
        """What the store has. With `llm.replay: only` it must have something, if only that the request failed."""
        try:
            reply = self._store.get(key)
            failure = self._store.failure(key) if reply is None and self._llm.replay == "only" else None
        except SynthAgentError as error:
            raise self._stop(error) from None
        if failure is not None:
            raise BadReplyError(*failure)
        if reply is None and self._llm.replay == "only":
            raise self._stop(
                ReplayError(
                    f"llm.replay: the store {self._store.path.parent} has no answer of {role.model!r} as {name} to "
                    f"this request ({request.version}); import the store it was made with (`synthagent cache import`), "
                    'with the same params, or set llm.replay to "off"'
                )
            )
        return reply

    async def _call(
        self, name: str, role: Role, request: Request, key: str, identity: str, body: Mapping[str, Any]
    ) -> Reply:
        tally, model = self._usage.of(name, role.model or ""), role.model or ""
        sent = list(request.messages) if request.decided_by is not None else None
        async with self._places:
            if self._stopped:
                raise self._stopped
            try:
                self._budget.begin()
                reply: Reply | None = None
                try:
                    answered = await self._answered(name, role, body, key)
                    reply = answered.reply
                finally:
                    self._budget.end(model, reply)
                tally.retries += answered.retries
                reply = await self._commits.put(NewReply(key, name, model, identity, sent, reply))
            except SynthAgentError as error:
                tally.failures += 1
                raise self._stop(error) from None
            except BadReplyError as fault:
                tally.failures += 1
                if self._stopped:
                    raise self._stopped from None  # it was told to hurry, and was not given its time
                self._store.put_failure(name, model, identity, sent, fault.reason, fault.detail)
                raise
        self._usage.add(name, model, reply, hit=False)
        return reply

    async def _answered(self, name: str, role: Role, body: Mapping[str, Any], key: str) -> Completion:
        if name not in self._endpoints:
            self._endpoints[name] = Endpoint(name, role, self._llm)
        return await self._endpoints[name].complete(body, failed_before=self._store.failure(key) is not None)

    def _stop(self, error: SynthAgentError) -> SynthAgentError:
        """From now on nobody is asked: what is being answered is waited for, what waits gets the same error."""
        if self._stopped is None:
            self._stopped = error
            for endpoint in self._endpoints.values():
                endpoint.hurry()
        return self._stopped


def _identity(role: Role, request: Request, seed: int) -> dict[str, Any]:
    """Everything that decides an answer, and nothing else: not where the server stands, nor who pays."""
    asked = {"messages": request.messages} if request.decided_by is None else {"decided_by": request.decided_by}
    return {
        "model": role.model,
        **asked,
        "tools": [tool.stored() for tool in request.tools],
        "schema": request.schema,
        "prompt": request.version,
        "temperature": role.temperature,
        "top_p": role.top_p,
        "max_tokens": request.max_tokens or role.max_tokens,
        "seed": seed,
        "sample": request.sample,
    }


def _body(role: Role, request: Request, seed: int) -> dict[str, Any]:
    body: dict[str, Any] = {"model": role.model, "messages": list(request.messages), "seed": seed}
    optional = {
        "temperature": role.temperature,
        "top_p": role.top_p,
        "max_tokens": request.max_tokens or role.max_tokens,
        "tools": [tool.schema_of_openai for tool in request.tools] or None,
        "response_format": request.schema
        and {"type": "json_schema", "json_schema": {"name": "answer", "schema": request.schema, "strict": True}},
    }
    return body | {key: value for key, value in optional.items() if value is not None}


def _again(request: Request, reply: Reply, fault: BadReplyError) -> Request:
    said = {"role": "assistant", "content": reply.text[:4_000]}
    # What identifies the first answer must not identify the second.
    decided_by = None if request.decided_by is None else {"again": request.decided_by}
    messages = (*request.messages, said, {"role": "user", "content": complaint(fault)})
    return dataclasses.replace(request, messages=messages, decided_by=decided_by)
