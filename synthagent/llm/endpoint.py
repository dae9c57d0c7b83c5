"""One OpenAI-compatible endpoint: request body -> reply. What it sends back is untrusted.

What failed in passing was repeated below (`transport`). What that gave up on, and answers that make no sense, are told
apart here: a fault of one item (BadReplyError), or of the endpoint (EndpointError).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from synthagent.errors import BadReplyError, EndpointError, ParamsError
from synthagent.llm.store import Reply
from synthagent.params import LlmParams, Role
from synthagent.text import MOST_CHARACTERS, clean, clean_value

_MALFORMED_RETRIES = 2
_FAILURES_IN_A_ROW = 5
_TOO_LONG = re.compile(r"context.{0,20}(length|size|window)|(prompt|input).{0,20}too long", re.IGNORECASE)
_OF_THE_ITEM = frozenset({"bad_request", "malformed", "too_large"})
_FINISHES = frozenset({"stop", "length", "tool_calls", "content_filter"})
_MOST_CALLS = 32
_MOST_TOKENS = 10**9
_SHORTEST_SECRET, _NO_KEY = 8, "none"
_NAME = re.compile(r"[\w.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Completion:
    """A reply, and how many attempts failed before it came."""

    reply: Reply
    retries: int


class _MalformedError(Exception):
    """A body that is no chat completion."""


class Endpoint:
    """The server of one role. Knows whether it has ever answered, and how often it has failed since.

    Raises:
        ParamsError: the variable that should hold the key is not set or holds no key; base_url is no URL.
    """

    def __init__(self, name: str, role: Role, llm: LlmParams) -> None:
        from synthagent.llm.transport import Transport

        self.name, self.role = name, role
        base_url = "https://api.openai.com/v1" if role.base_url is None else role.base_url
        self.place = place_of(name, base_url)
        self._key = key_of_role(name, role)
        self._transport = Transport(base_url, self._key, llm.timeout_s, llm.max_retries)
        self._has_answered = False
        self._failures = 0
        self._takes_schema = True

    async def complete(self, body: Mapping[str, Any], failed_before: bool = False) -> Completion:
        """Send a chat completion request and read the answer. `failed_before`: in an earlier run.

        Raises:
            BadReplyError: this request failed; another may not.
            EndpointError: the endpoint fails for all.
        """
        try:
            answered = await self._schema_or_not(body)
        except BadReplyError as fault:
            if fault.reason == "too_long" or (failed_before and fault.reason in _OF_THE_ITEM):
                raise  # a resumed run asks all that failed one after another; that says nothing about the endpoint
            self._failures += 1
            never = not self._has_answered and fault.reason not in _OF_THE_ITEM
            if never or self._failures >= _FAILURES_IN_A_ROW:
                raise self._fatal(f"fails ({fault})") from None
            raise
        self._has_answered, self._failures = True, 0
        return answered

    def hurry(self) -> None:
        """Repeat nothing from now on."""
        self._transport.hurry()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def _schema_or_not(self, body: Mapping[str, Any]) -> Completion:
        if "response_format" not in body:
            return await self._sent(body)
        if self._takes_schema:
            try:
                return await self._sent(body)
            except BadReplyError as fault:
                if fault.reason != "bad_request":
                    raise
        # A server that does not know json_schema says 400. Then the schema goes into the prompt instead.
        answered = await self._sent(_without_schema(body))
        self._takes_schema = False
        return answered

    async def _sent(self, body: Mapping[str, Any]) -> Completion:
        import openai

        from synthagent.llm.transport import TooLargeError

        content, fault, attempts = _bytes(body), "", 0
        try:
            for _ in range(1 + _MALFORMED_RETRIES):
                sent = await self._transport.post(content)
                attempts += sent.retries
                try:
                    return Completion(_read(sent.content, content, self._key), attempts)
                except _MalformedError as error:
                    fault, attempts = str(error), attempts + 1
        except openai.APIStatusError as error:
            raise self._refused(error) from None
        except openai.APITimeoutError:
            raise BadReplyError("timeout", "no answer within llm.timeout_s, after all retries") from None
        except openai.APIConnectionError as error:
            raise self._unreached(error.__cause__) from None
        except TimeoutError:
            raise BadReplyError("timeout", "no answer, however often it was repeated") from None
        except TooLargeError as error:
            raise BadReplyError("too_large", str(error)) from None
        raise BadReplyError("malformed", fault)

    def _refused(self, error: Any) -> Exception:
        """What an answer other than 200 means. `error`: openai.APIStatusError."""
        status, said = error.status_code, self._safe(error.message)
        match status:
            case 401 | 403:
                variable = self.role.api_key_env
                remedy = (
                    f"check the key in ${variable}"
                    if variable
                    else f"set roles.{self.name}.api_key_env to the NAME of the variable that holds the key"
                )
                return self._fatal(f"answers {status}, it does not accept the key", remedy)
            case 402:
                return self._fatal(f"wants to be paid ({said})", "settle the account")
            case 404 | 405:
                return self._fatal(
                    f"answers {status}: it does not serve {self.role.model!r}, or base_url is wrong",
                    "base_url should end in /v1, and `synthagent doctor` lists what is served; mend params.yaml",
                )
            case 429:
                wait = str(error.response.headers.get("retry-after", "") or "")
                until = f", to be asked again in {clean(wait)[:40]} s" if wait else ""
                return self._fatal(f"takes no more requests{until} ({said})", "wait, or lower llm.max_concurrency")
            case _ if status == 408 or status >= 500:
                return BadReplyError(f"http_{status}", f"{said}, after all retries")
        return BadReplyError("too_long" if _TOO_LONG.search(said) else "bad_request", said)

    def _unreached(self, cause: BaseException | None) -> Exception:
        import httpx2

        if isinstance(cause, httpx2.ConnectError):
            return self._fatal(f"cannot be reached ({self._safe(str(cause))})")
        return BadReplyError("connection", f"{self._safe(str(cause))}, after all retries")

    def _fatal(self, what: str, remedy: str = "check that it runs and that base_url and model are right") -> Exception:
        return EndpointError(
            f"roles.{self.name}: {self.place} {self._safe(what)}; {remedy}, then run again: what was answered is kept"
        )

    def _safe(self, text: str) -> str:
        """A server's own words, short, on one line and without the key, which some servers echo."""
        return " ".join(_hidden(clean(text), self._key).split())[:300]


def place_of(name: str, base_url: str) -> str:
    """An endpoint's URL as messages name it: without user, password and query.

    Raises:
        ParamsError: it is no URL.
    """
    try:
        url = urlsplit(base_url)
        port = f":{url.port}" if url.port else ""
        (url.hostname or "").encode("idna")
        if url.scheme not in ("http", "https") or not url.hostname or re.search(r"[\s\x00-\x1f]", base_url):
            raise ValueError
    except ValueError:
        raise ParamsError(
            f"params.yaml: roles.{name}.base_url: {base_url[:80]!r} is no URL of an endpoint; write it like "
            "http://127.0.0.1:8000/v1"
        ) from None
    return f"{url.scheme}://{url.hostname}{port}{url.path}"


def key_of_role(name: str, role: Role) -> str:
    """As `key_in`, of a role."""
    return key_in(role.api_key_env, f"roles.{name}")


def key_in(variable: str | None, place: str) -> str:
    """The key that a variable holds; a word that is no key where there is none. `place`: the params that name it.

    Raises:
        ParamsError: the variable is not set, or holds no key.
    """
    if variable is None:
        return _NO_KEY
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ParamsError(f"{place}.api_key_env: the variable {variable} is not set; export it, then run again")
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise ParamsError(
            f"{place}.api_key_env: what the variable {variable} holds is no key: it has blanks or "
            "characters that are not ASCII; export the key alone"
        )
    return key


def _bytes(body: Mapping[str, Any]) -> bytes:
    """The body as JSON. What orjson is too strict for (whole numbers beyond 64 bits) the standard library writes."""
    import orjson

    try:
        return orjson.dumps(body)
    except TypeError:
        return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def _form_of(schema: Any) -> Any:
    """A JSON schema without lists of texts to choose from: these may be data, and a prompt is no place for them."""
    if isinstance(schema, list):
        return [_form_of(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: _form_of(part)
        for name, part in schema.items()
        if not (name == "enum" and isinstance(part, list) and not all(_NAME.fullmatch(str(one)) for one in part))
    }


def _without_schema(body: Mapping[str, Any]) -> dict[str, Any]:
    schema = body["response_format"]["json_schema"]["schema"]
    *before, last = body["messages"]
    wish = "Answer with one JSON object, and nothing else, that fits this JSON schema:"
    text = f"{last['content']}\n\n{wish}\n{json.dumps(_form_of(schema))}"
    rest = {key: value for key, value in body.items() if key != "response_format"}
    return {**rest, "messages": [*before, {**last, "content": text}]}


def _read(content: bytes, asked: bytes, key: str) -> Reply:
    """The reply in a body. `asked`: the request, of which the prompt's tokens are estimated if the server is silent."""
    try:
        # Bytes that are no text cost a few characters, not an answer that was paid for.
        body = json.loads(content.decode(json.detect_encoding(content), "replace"))
        choice = body["choices"][0]
        message, usage = choice["message"], body.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        text, refusal, finish = _text(message.get("content")), message.get("refusal"), choice.get("finish_reason")
        finish = "length" if len(text) > MOST_CHARACTERS else finish
        calls = tuple(_call(call, key) for call in (message.get("tool_calls") or ())[:_MOST_CALLS])
        text = _hidden(clean(_text(refusal) if refusal else text), key)
        return Reply(
            text=text,
            tool_calls=calls,
            finish="refusal" if refusal else finish if finish in _FINISHES else "stop",
            prompt_tokens=_tokens(usage.get("prompt_tokens"), len(asked)),
            completion_tokens=_tokens(usage.get("completion_tokens"), len(text) + len(str(calls)) * bool(calls)),
        )
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise _MalformedError(f"the body is no chat completion ({type(error).__name__})") from None


def _text(content: Any) -> str:
    """The text of a message; some servers send it in parts."""
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part.get("type") == "text")
    if not isinstance(content, str | None):
        raise TypeError
    return content or ""


def _call(call: Mapping[str, Any], key: str) -> dict[str, Any]:
    function = call["function"]
    arguments = function.get("arguments") or "{}"
    if isinstance(arguments, dict | list):
        arguments = json.dumps(clean_value(arguments), ensure_ascii=False)
    elif "\\u" in arguments:
        with suppress(ValueError, RecursionError):  # who reads the arguments will say so
            arguments = json.dumps(clean_value(json.loads(arguments)), ensure_ascii=False)
    known, name = str(call.get("id") or ""), str(function["name"])
    return {
        "id": _hidden(clean(known), key)[:200],
        "type": "function",
        "function": {"name": _hidden(clean(name), key)[:200], "arguments": _hidden(clean(arguments), key)},
    }


def _hidden(text: str, key: str) -> str:
    """The text without the key; a word too short to be a secret (EMPTY, as vLLM has it) is left alone."""
    return text.replace(key, "***") if len(key) >= _SHORTEST_SECRET else text


def _tokens(said: Any, characters: int) -> int:
    """The tokens a server says it used, if that can be; otherwise an estimate, so that a budget still holds."""
    return said if isinstance(said, int) and 0 <= said <= _MOST_TOKENS else characters // 4
