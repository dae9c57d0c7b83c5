"""One OpenAI-compatible endpoint: request body -> reply, over `openai.AsyncOpenAI`. What it sends back is untrusted.

The library repeats what failed in passing (429, 5xx, timeouts, broken connections), honouring Retry-After. What it
gives up on, and answers that make no sense, are told apart here: a fault of one item, or of the endpoint.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synthagent.errors import BadReplyError, EndpointError, ParamsError
from synthagent.llm.store import Reply
from synthagent.params import LlmParams, Role

_MOST_BYTES = 8_000_000
_MOST_CHARACTERS = 1_000_000
_MALFORMED_RETRIES = 2
_FAILURES_IN_A_ROW = 5
_NO_KEY = "none"


@dataclass(frozen=True, slots=True)
class Answered:
    """A reply, and how many calls failed before it came."""

    reply: Reply
    retries: int


class _MalformedError(Exception):
    """A body that is no chat completion."""


class Endpoint:
    """The server of one role. Knows whether it has ever answered, and how often it has failed since.

    Raises:
        ParamsError: the variable that should hold the key is not set.
    """

    def __init__(self, name: str, role: Role, llm: LlmParams) -> None:
        import httpx2
        from openai import AsyncOpenAI, DefaultAioHttpClient

        self.name, self.role = name, role
        self.place = role.base_url or "https://api.openai.com/v1"
        self._key = _key(name, role)
        many = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        self._client = AsyncOpenAI(
            base_url=self.place,
            api_key=self._key,
            timeout=llm.timeout_s,
            max_retries=llm.max_retries,
            http_client=DefaultAioHttpClient(limits=many, timeout=llm.timeout_s),
        )
        self._raw = httpx2.Response
        self._has_answered = False
        self._failures = 0
        self._takes_schema = True

    async def complete(self, body: Mapping[str, Any]) -> Answered:
        """Send a chat completion request and read the answer.

        Raises:
            BadReplyError: this request failed; another may not.
            EndpointError: the endpoint fails for all.
        """
        schema = body.get("response_format")
        if schema and not self._takes_schema:
            return await self._counted(_without_schema(body))
        try:
            return await self._counted(body)
        except BadReplyError as fault:
            if not schema or fault.reason != "bad_request":
                raise
            # A server that does not know json_schema says 400. Then the schema goes into the prompt instead.
            answered = await self._counted(_without_schema(body))
            self._takes_schema = False
            return answered

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _counted(self, body: Mapping[str, Any]) -> Answered:
        try:
            answered = await self._sent(body)
        except BadReplyError:
            self._failures += 1
            raise
        self._has_answered, self._failures = True, 0
        return answered

    async def _sent(self, body: Mapping[str, Any]) -> Answered:
        import openai

        fault = ""
        for attempt in range(1 + _MALFORMED_RETRIES):
            try:
                response = await self._client.post("/chat/completions", body=dict(body), cast_to=self._raw)
                retries = int(response.request.headers.get("x-stainless-retry-count", 0))
                return Answered(_read(response.content), attempt + retries)
            except _MalformedError as error:
                fault = str(error)
            except openai.APIStatusError as error:
                raise self._refused(error.status_code, error.message) from None
            except openai.APIConnectionError as error:
                kind = "timeout" if isinstance(error, openai.APITimeoutError) else "connection"
                raise self._failed(kind, f"{type(error.__cause__ or error).__name__} after all retries") from None
        raise self._failed("malformed", fault)

    def _refused(self, status: int, text: str) -> Exception:
        where = f"roles.{self.name}: {self.place}"
        if status in (401, 403):
            variable = self.role.api_key_env
            hint = (
                f"check the key in ${variable}"
                if variable
                else "set roles.{self.name}.api_key_env to the NAME of the variable that holds the key"
            )
            return EndpointError(f"{where} answers {status}, it does not accept the key; {hint.format(self=self)}")
        if status == 404:
            return EndpointError(
                f"{where} answers 404: it does not serve {self.role.model!r}, or base_url is wrong (it should end "
                "in /v1); `synthagent doctor` lists what it serves"
            )
        if status == 429 or status >= 500 or status == 408:
            return self._failed(f"http_{status}", f"{status} after all retries")
        return self._failed("bad_request", f"{status} {self._safe(text)}")

    def _failed(self, reason: str, detail: str) -> Exception:
        """An item's fault, unless the endpoint has never answered or has failed too often in a row."""
        never = not self._has_answered and reason not in {"bad_request", "malformed"}
        if never or self._failures + 1 >= _FAILURES_IN_A_ROW:
            return EndpointError(
                f"roles.{self.name}: {self.place} fails ({reason}: {detail}); check that the server runs and that "
                "base_url and model are right (`synthagent doctor`), then run again: what was answered is kept"
            )
        return BadReplyError(reason, detail)

    def _safe(self, text: str) -> str:
        """A server's own words, short, on one line and without the key, which some servers echo."""
        said = " ".join(text.split())
        return (said if self._key == _NO_KEY else said.replace(self._key, "***"))[:200]


def _key(name: str, role: Role) -> str:
    if role.api_key_env is None:
        return _NO_KEY
    key = os.environ.get(role.api_key_env, "").strip()
    if not key:
        raise ParamsError(
            f"roles.{name}.api_key_env: the variable {role.api_key_env} is not set; export it, then run again"
        )
    return key


def _without_schema(body: Mapping[str, Any]) -> dict[str, Any]:
    schema = body["response_format"]["json_schema"]["schema"]
    *before, last = body["messages"]
    wish = "Answer with one JSON object, and nothing else, that fits this JSON schema:"
    text = f"{last['content']}\n\n{wish}\n{json.dumps(schema)}"
    rest = {key: value for key, value in body.items() if key != "response_format"}
    return {**rest, "messages": [*before, {**last, "content": text}]}


def _read(content: bytes) -> Reply:
    """The reply in a body."""
    if len(content) > _MOST_BYTES:
        raise _MalformedError(f"a body of {len(content):,} bytes")
    try:
        body = json.loads(content.decode("utf-8"))
        choice = body["choices"][0]
        message, usage = choice["message"], body.get("usage") or {}
        text, refusal = message.get("content") or "", message.get("refusal")
        calls = tuple(_call(call) for call in message.get("tool_calls") or ())
        if not isinstance(text, str):
            raise TypeError("content is no text")
        text = _clean(text)
        return Reply(
            text=_clean(str(refusal)) if refusal else text,
            tool_calls=calls,
            finish="refusal" if refusal else str(choice.get("finish_reason") or "stop"),
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            completion_tokens=int(usage.get("completion_tokens") or _estimate(text)),
        )
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise _MalformedError(f"the body is no chat completion ({type(error).__name__})") from None


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    return {
        "id": _clean(str(call.get("id") or "")),
        "type": "function",
        "function": {
            "name": _clean(str(function["name"])),
            "arguments": _clean(str(function.get("arguments") or "{}")),
        },
    }


def _clean(text: str) -> str:
    """Text that every store can hold: no halves of characters, no NUL, not endless."""
    return text[:_MOST_CHARACTERS].encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


def _estimate(text: str) -> int:
    return len(text) // 4  # of a server that does not say
