"""One vLLM server that writes the student's turns: token ids in, token ids and log-probabilities out.

It is given the weights of each step as a folder on a disk that both see: an adapter, or all weights. When it is gone,
whoever asks waits until it is back and has the weights again, and asks anew; when it stays away, all get one error.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from synthagent.errors import EndpointError
from synthagent.llm.endpoint import key_of_role, place_of
from synthagent.params import Params
from synthagent.policy_server import LOAD, digest_of, started_on
from synthagent.stage import say
from synthagent.text import clean

_BETWEEN_PROBES_S = 0.5
_PROBE_S = 5.0  # longest wait for one answer to a probe
_ENDED = ("stop", "length")
_START = "start it with `synthagent serve policy`"


@dataclass(frozen=True, slots=True)
class WrittenTokens:
    """Tokens as they were sampled, and the log-probability of each."""

    tokens: list[int]
    logprobs: list[float]


@dataclass(frozen=True, slots=True)
class Weights:
    """What the server is to write with: a folder, by its absolute path. `adapter`: its name; None: all weights."""

    folder: Path
    adapter: str | None


class _GoneError(Exception):
    """The server did not answer, or answers that it is ending."""


class PolicyServer:
    """The server at `roles.policy.base_url`. Use it in one event loop, and close it there.

    `base`: the folder of the weights on which adapters are trained, which the server has to have been started on.
    """

    def __init__(self, params: Params, base: Path) -> None:
        role = params.roles.policy
        self._model, self._url = role.model or "", (role.base_url or "").rstrip("/")
        self._root = self._url.removesuffix("/v1")
        self._place = f"roles.policy: {place_of('policy', self._url)}"
        self._headers = {"Authorization": f"Bearer {key_of_role('policy', role)}"} if role.api_key_env else {}
        self._answer_s, self._start_s = params.llm.timeout_s, params.serve.start_timeout_s
        self._tries = 1 + params.llm.max_retries
        self._places = asyncio.Semaphore(params.llm.max_concurrency)
        self._one_at_a_time = asyncio.Lock()
        self._base, self._digest = base, ""
        self._weights: Weights | None = None
        self._fingerprint, self._loads = "", 0
        self._lost = ""
        self._session: aiohttp.ClientSession | None = None

    async def write(self, prompt: Sequence[int], most: int, ends: Sequence[int], seed: int) -> WrittenTokens:
        """Up to `most` tokens that follow a prompt, to the first of `ends`, sampled at temperature 1.

        Raises:
            EndpointError: the server refuses, or went away and did not come back.
        """
        body = _sampling(prompt, most, ends, seed)
        why = ""
        for _ in range(self._tries):
            loads = self._loads
            try:
                async with self._places:
                    answer = await self._ask("/v1/completions", body | {"model": self._asked_for}, self._answer_s)
                if _fingerprint(answer) != self._fingerprint:
                    raise _GoneError("it was started again, without the weights of this step")
                return self._read(answer, most, ends)
            except _GoneError as gone:
                why = str(gone)
                await self._bring_back(loads, why)
        raise self._error(f"fails each time ({why})", "see its log")

    async def load(self, weights: Weights, first: bool = True) -> None:
        """Have the server write with these weights from now on. `first`: no other process has given it them yet.

        Raises:
            EndpointError: as `write`; or the server does not take them, or was started on another student.
        """
        before, self._weights = self._weights, weights
        loads = self._loads
        try:
            await self._load(first)
        except _GoneError as gone:
            await self._bring_back(loads, str(gone))
        if before and first:
            await self._unload(before)

    async def close(self) -> None:
        """Have the server forget the last adapter, if it is still there, and close the connections."""
        if self._weights and not self._lost:
            await self._unload(self._weights)
        if self._session:
            await self._session.close()

    @property
    def _asked_for(self) -> str:
        return (self._weights and self._weights.adapter) or self._model

    async def _bring_back(self, loads: int, why: str) -> None:
        """Wait until the server has the weights again. `loads`: how many loads there had been when it was asked."""
        async with self._one_at_a_time:
            if self._loads > loads:
                return  # somebody else has waited
            if self._lost:
                raise EndpointError(self._lost)
            say(f"grpo: {self._place}: {why}; waiting up to {self._start_s:g} s for it ({_START})")
            began = time.monotonic()
            while True:
                try:
                    await self._ask("/health", None, _PROBE_S)
                    await self._load()
                    break
                except _GoneError:
                    if time.monotonic() - began > self._start_s:
                        error = self._error(f"is not back after serve.start_timeout_s ({why})", _START)
                        self._lost = str(error)
                        raise error from None
                except EndpointError as error:
                    self._lost = str(error)
                    raise
                await asyncio.sleep(_BETWEEN_PROBES_S)
            say(f"grpo: {self._place}: there after {time.monotonic() - began:.0f} s, with the weights of this step")

    async def _load(self, give: bool = True) -> None:
        """Give the server the weights, and see with whom we speak."""
        assert self._weights
        folder, adapter = str(self._weights.folder), self._weights.adapter
        if not give:
            pass
        elif adapter:
            await self._command("/v1/load_lora_adapter", {"lora_name": adapter, "lora_path": folder}, "already been")
        else:
            await self._command("/collective_rpc", {"method": LOAD, "kwargs": {"folder": folder}})
            await self._command("/reset_prefix_cache", {})
        answer = await self._ask(
            "/v1/completions", _sampling([0], 1, [], 0) | {"model": self._asked_for}, self._answer_s
        )
        self._fingerprint = _fingerprint(answer)
        if adapter:
            self._check_base()
        self._loads += 1

    async def _unload(self, weights: Weights) -> None:
        """Have the server forget an adapter. If that fails, it is forgotten when others come."""
        if weights.adapter:
            with suppress(_GoneError, EndpointError):
                await self._ask("/v1/unload_lora_adapter", {"lora_name": weights.adapter}, _PROBE_S)

    def _check_base(self) -> None:
        started = started_on(self._fingerprint)
        self._digest = self._digest or digest_of(self._base)
        if started not in (None, self._digest):
            raise self._error(f"was started on another student than {self._base}", f"end it and {_START}")

    async def _command(self, path: str, body: dict[str, Any], fine: str = "") -> None:
        """What changes the server. `fine`: words of a refusal that says that it is so already."""
        try:
            await self._ask(path, body, self._start_s)
        except EndpointError as error:
            if not fine or fine not in str(error):
                raise

    async def _ask(self, path: str, body: dict[str, Any] | None, timeout_s: float) -> dict[str, Any]:
        """Post a body, or get where there is none.

        Raises:
            _GoneError: no answer, or one that says that the server cannot go on.
            EndpointError: a refusal.
        """
        self._session = self._session or aiohttp.ClientSession(
            headers=self._headers, connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
        )
        limit = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(timeout_s, _PROBE_S))
        method = "GET" if body is None else "POST"
        try:
            async with self._session.request(method, f"{self._root}{path}", json=body, timeout=limit) as response:
                if response.status == 200:
                    content = await response.read()
                    return _object(content) if path == "/v1/completions" else {}
                said = " ".join(clean(await response.text(errors="replace")).split())[:300]
        except TimeoutError:
            raise _GoneError(f"no answer to {path} within {timeout_s:g} s") from None
        except aiohttp.ClientConnectorError:
            raise _GoneError("cannot be reached") from None
        except (aiohttp.ClientError, OSError):
            raise _GoneError("broke off the connection") from None
        if response.status >= 500:
            raise _GoneError(f"answers {response.status} to {path} ({said})")
        if response.status == 404 and path == "/v1/completions":
            raise _GoneError(f"does not serve {body and body['model']}: it was started again, or under another name")
        remedy = f"end it and {_START}, on this machine or one with the same disk, which sets it up for this"
        raise self._error(f"answers {response.status} to {path} ({said})", remedy)

    def _read(self, answer: dict[str, Any], most: int, ends: Sequence[int]) -> WrittenTokens:
        try:
            (choice,) = answer["choices"]
            tokens, said = [int(token) for token in choice["token_ids"]], choice["logprobs"]["token_logprobs"]
            logprobs = [math.nan if value is None else float(value) for value in said]
            reason = choice["finish_reason"]
        except (KeyError, TypeError, ValueError) as error:
            remedy = "it must be a vLLM that returns token ids (0.10 or later)"
            raise self._error(f"does not answer with tokens ({type(error).__name__})", remedy) from None
        if reason not in _ENDED:
            raise _GoneError(f"ended an answer early ({reason})")
        whole = bool(tokens) and len(tokens) == len(logprobs) and (tokens[-1] in ends or len(tokens) == most)
        if not whole:
            raise self._error(
                f"stopped after {len(tokens)} of {most} tokens", "raise --max-model-len in serve.policy_args"
            )
        return WrittenTokens(tokens, logprobs)

    def _error(self, what: str, remedy: str) -> EndpointError:
        kept = "nothing is trained on an unfinished step, and grpo goes on from its last checkpoint when it runs again"
        return EndpointError(f"grpo: {self._place} {what}; {remedy}; {kept}")


def _sampling(prompt: Sequence[int], most: int, ends: Sequence[int], seed: int) -> dict[str, Any]:
    """A request. Each setting is said: a server takes what is not from the model's own generation_config."""
    return {
        "prompt": list(prompt),
        "max_tokens": most,
        "stop_token_ids": sorted(ends),
        "ignore_eos": True,  # `ends` has all that ends a turn
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "seed": seed,
        "logprobs": 0,
        "return_token_ids": True,
    }


def _fingerprint(answer: dict[str, Any]) -> str:
    return str(answer.get("system_fingerprint") or "")


def _object(content: bytes) -> dict[str, Any]:
    import orjson

    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise _GoneError("broke off an answer") from None
    return found if isinstance(found, dict) else {}
