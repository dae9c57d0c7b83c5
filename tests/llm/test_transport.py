"""The way to an endpoint: how long it is waited for, who waits no more, and where the key does not go."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import anyio
import pytest
from helpers.faults import chat

from benchmarks.llm_faults import FAULTS, KEY, Fault, FaultServer, http, params_for, refusing
from synthagent.errors import EndpointError
from synthagent.llm.client import Llm, Request
from synthagent.llm.ordered import ordered
from synthagent.llm.store import Reply

pytestmark = pytest.mark.usefixtures("fault_key")


def test_back_off_waits_as_long_as_retry_after_says(tmp_path: Path, no_waiting: list[float]) -> None:
    fault = Fault("x", lambda item: refusing(429, "retry-after: 37"), bad=None, times=1)
    with FaultServer(fault).running() as server:
        (reply,) = chat(params_for(server, {}), tmp_path)
    assert json.loads(reply.text) == {"item": 0}
    assert no_waiting == [37.0]


def test_back_off_without_retry_after_grows_and_is_bounded(tmp_path: Path, no_waiting: list[float]) -> None:
    fault = Fault("x", lambda item: refusing(503), bad=None)
    with FaultServer(fault).running() as server:
        params = params_for(server, {})
        params = params.model_copy(update={"llm": params.llm.model_copy(update={"max_retries": 6})})
        with pytest.raises(EndpointError, match="http_503"):
            chat(params, tmp_path)
        assert len(server.calls) == 7
    assert len(no_waiting) == 6
    assert no_waiting[0] < no_waiting[2] < no_waiting[4]
    assert sum(no_waiting) < 30


def test_a_server_that_wants_an_hour_of_patience_is_not_waited_for(tmp_path: Path, no_waiting: list[float]) -> None:
    with (
        FaultServer(Fault("x", lambda item: refusing(429, "retry-after: 3600"), bad=None)).running() as server,
        pytest.raises(EndpointError, match="asked again in 3600 s"),
    ):
        chat(params_for(server, {}), tmp_path)
    assert no_waiting == []


def test_who_waits_to_repeat_a_call_is_ended_when_the_run_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, ended = asyncio.Event(), []

    async def sleep(delay: float) -> None:
        waiting.set()
        try:
            await asyncio.get_running_loop().create_future()  # for ever
        except asyncio.CancelledError:
            ended.append(delay)
            raise

    monkeypatch.setattr(anyio, "sleep", sleep)
    answers = {0: refusing(429, "retry-after: 99"), 1: refusing(401)}
    with FaultServer(Fault("x", answers.__getitem__, bad=None)).running() as server:
        llm = Llm(params_for(server, {}), tmp_path)

        async def work(item: int) -> Reply:
            if item == 1:
                await waiting.wait()
            messages = ({"role": "system", "content": "s"}, {"role": "user", "content": f"Item {item}."})
            return await llm.chat("teacher", Request(messages, "v"))

        with pytest.raises(EndpointError, match="401"):
            list(ordered(work, range(2), 4, llm.close))
    assert ended == [99.0]


def test_a_redirect_does_not_carry_the_key_to_another_server(tmp_path: Path, no_waiting: list[float]) -> None:
    heads: list[bytes] = []

    class Elsewhere(FaultServer):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(http(404, {}))
            writer.close()

    with Elsewhere(FAULTS[0]).running() as other:
        place = other.base_url.replace("127.0.0.1", "localhost")
        fault = Fault("x", lambda item: http(307, {}, f"location: {place}/chat/completions"), bad=None)
        with FaultServer(fault).running() as server, pytest.raises(EndpointError):
            chat(params_for(server, {}), tmp_path)
    assert heads
    assert all(KEY.encode() not in head for head in heads)
