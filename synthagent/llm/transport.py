"""JSON posted to one endpoint, fast: request body -> response body, by the rules of `openai.AsyncOpenAI`.

The library spends a millisecond of CPU on a call, half of it on requests and responses as objects. So a first attempt
goes straight to the aiohttp session below it. Unless that is answered 200, the library takes over as if it had sent it:
its decision whether to repeat, its back-off, which honours Retry-After up to two minutes, its errors.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

if TYPE_CHECKING:
    import aiohttp

PATH = "/chat/completions"
_MOST_BYTES = 8_000_000
_CONNECT_S = 15.0
_ABOUT_THE_BODY = frozenset({"content-encoding", "content-length", "transfer-encoding", "connection"})


class TooLargeError(Exception):
    """A body of more than `_MOST_BYTES`."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The body of a 200, and how many attempts failed before it."""

    content: bytes
    retries: int


@dataclass(frozen=True, slots=True)
class _Outcome:
    status: int
    headers: tuple[tuple[str, str], ...]
    content: bytes


class Transport:
    """Connections to one endpoint; make it in the event loop that uses it.

    timeout_s: longest wait for the answer to one attempt. patience_s: for the answer to a call, all attempts and the
    waits between them included.
    """

    def __init__(self, base_url: str, key: str, timeout_s: float, max_retries: int, patience_s: float = 600.0) -> None:
        import aiohttp
        from openai import AsyncOpenAI

        nowhere = httpx2.AsyncClient(transport=httpx2.AsyncBaseTransport())  # each call brings a way of its own, below
        self._client = AsyncOpenAI(
            base_url=base_url, api_key=key, timeout=timeout_s, max_retries=max_retries, http_client=nowhere
        )
        own = self._client.default_headers | self._client.auth_headers
        said = {name: value for name, value in own.items() if isinstance(value, str)}
        self._headers = {name: value for name, value in said.items() if not name.lower().startswith("x-stainless-")}
        self._url = str(self._client.base_url).rstrip("/") + PATH
        secure = self._url.startswith("https:")
        tls: dict[str, Any] = (
            {"ssl": httpx2.create_ssl_context()} if secure else {}
        )  # the authorities that httpx2 trusts
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, **tls),
            timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(timeout_s, _CONNECT_S)),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._proxy = _proxy_of(self._url)
        self._patience_s = patience_s
        self._repeating: set[_Repeats] = set()
        self.hurried = False

    async def post(self, content: bytes) -> Sent:
        """Post a JSON body.

        Raises:
            openai.APIStatusError, openai.APIConnectionError: as the library, after all retries.
            TooLargeError: an answer beyond all measure.
            TimeoutError: out of patience, or told to hurry.
        """
        try:
            first: _Outcome | Exception = await self.attempt("POST", self._url, self._headers, content)
        except httpx2.TransportError as error:
            first = error
        if isinstance(first, _Outcome) and first.status == 200:
            return Sent(first.content, 0)
        repeats = _Repeats(self, first)
        http = httpx2.AsyncClient(transport=repeats, follow_redirects=True, trust_env=False)
        client = self._client.with_options(http_client=http)
        options: Any = {"headers": {"Content-Type": "application/json"}}
        async with asyncio.timeout(self._patience_s) as repeats.limit:
            self._repeating.add(repeats)
            try:
                response = await client.post(PATH, content=content, cast_to=httpx2.Response, options=options)
            finally:
                self._repeating.discard(repeats)
        return Sent(response.content, repeats.count)

    def hurry(self) -> None:
        """From now on nothing is repeated: what is being answered is waited for, who waits for a repeat is ended."""
        self.hurried = True
        for repeats in self._repeating:
            repeats.hurry()

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()
        await self._client.close()

    async def attempt(self, method: str, url: str, headers: Any, content: bytes) -> _Outcome:
        """One request.

        Raises:
            httpx2.TransportError: as httpx2 names what aiohttp reports.
            TooLargeError: an answer beyond all measure.
        """
        import aiohttp

        try:
            async with self._session.request(
                method, url, data=content, headers=headers, proxy=self._proxy, allow_redirects=False
            ) as response:
                body = await _body(response)
                if response.status == 200:
                    return _Outcome(200, (), body)
                return _Outcome(response.status, tuple(response.headers.items()), body)
        except TimeoutError as error:
            raise httpx2.ReadTimeout("no answer in time") from error
        except aiohttp.ClientConnectorError as error:
            raise httpx2.ConnectError(_why(error)) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise httpx2.RemoteProtocolError("the connection broke, or what came was no HTTP") from error


class _Repeats(httpx2.AsyncBaseTransport):
    """What the library sends one call through: its first request is told the outcome that is known already."""

    def __init__(self, transport: Transport, first: _Outcome | Exception) -> None:
        self._transport, self._first = transport, first
        self.limit = asyncio.timeout(None)
        self.count = -1
        self._in_flight = self._ended = False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.count += 1
        answered = False
        try:
            outcome = await self._outcome(request)
            answered = outcome.status == 200
        finally:
            if not answered and self._transport.hurried:
                self.hurry()
        headers = [(name, value) for name, value in outcome.headers if name.lower() not in _ABOUT_THE_BODY]
        return httpx2.Response(outcome.status, headers=headers, content=outcome.content, request=request)

    async def _outcome(self, request: httpx2.Request) -> _Outcome:
        if self.count == 0:
            if isinstance(self._first, Exception):
                raise self._first
            return self._first
        self._in_flight = True
        try:
            names = [(name, value) for name, value in request.headers.items() if name not in ("host", "content-length")]
            return await self._transport.attempt(request.method, str(request.url), names, await request.aread())
        finally:
            self._in_flight = False

    def hurry(self) -> None:
        if not self._in_flight and not self._ended:
            self._ended = True
            self.limit.reschedule(0)


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """The whole body, which a hostile server may make endless, or small only while it is compressed."""
    if 0 <= (response.content_length or -1) <= _MOST_BYTES and "Content-Encoding" not in response.headers:
        return await response.read()
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > _MOST_BYTES:
            raise TooLargeError(f"a body of more than {_MOST_BYTES:,} bytes")
    return b"".join(parts)


def _proxy_of(url: str) -> str | None:
    """The proxy that the environment wants for a URL; aiohttp would look it up for every request."""
    place = urlsplit(url)
    return None if proxy_bypass(place.hostname or "") else getproxies().get(place.scheme)


def _why(error: OSError) -> str:
    return error.strerror or "it cannot be reached"
