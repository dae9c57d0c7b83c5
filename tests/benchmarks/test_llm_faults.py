"""Every fault of an endpoint: an item's is a rejected row, the endpoint's ends the run; nothing paid for is lost."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import anyio
import pytest

from benchmarks.llm_faults import BAD_ITEMS, FAULTS, ITEMS, KEY, Fault, FaultServer, http, params_for, refusing, row_of
from synthagent.errors import BadReplyError, EndpointError, ParamsError, SynthAgentError
from synthagent.llm.client import Llm, Request
from synthagent.llm.ordered import ordered
from synthagent.llm.store import Reply

REJECTED = {
    "400, some items": "bad_request",
    "500, some items": "http_500",
    "closes mid-body, some items": "connection",
    "hangs, some items": "timeout",
    "no HTTP at all, some items": "connection",
    "invalid JSON, some items": "malformed",
    "JSON of the wrong shape": "malformed",
    "JSON that is null": "malformed",
    "JSON nested 100,000 deep": "malformed",
    "empty choices": "malformed",
    "a refusal": "refusal",
    "finish_reason length": "truncated",
    "text without JSON": "no_json",
    "JSON of another shape in the text": "wrong_shape",
    "2 MB of text": "truncated",
    "a body of 20 MB": "too_large",
}
ENDS = {
    "400, all": "bad_request",
    "401, all": "check the key in $SYNTHAGENT_FAULT_KEY",
    "404, all (model not served)": "does not serve 'm'",
    "429, all, for an hour": "3600 s",
    "503, all": "http_503",
    "hangs, all": "timeout",
    "a web page, all": "malformed",
    "key variable is not set": "SYNTHAGENT_NO_SUCH_KEY",
    "base_url: refused connection": "cannot be reached",
    "base_url: wrong path": "base_url should end in /v1",
    "base_url: no URL": "is no URL",
    "base_url: no such host": "cannot be reached",
}


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Back-off takes no time; the delays that would have been waited are recorded."""
    delays: list[float] = []

    async def sleep(delay: float) -> None:
        delays.append(delay)
        await asyncio.sleep(0)

    monkeypatch.setattr(anyio, "sleep", sleep)
    return delays


def keep_from(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_of_every_fault_nothing_is_lost_or_repeated_and_the_key_is_nowhere(
    fault: Fault, tmp_path: Path, no_waiting: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        row = row_of(fault, tmp_path)
    assert (row.lost, row.repeated) == (0, 0)
    if reason := REJECTED.get(fault.name):
        assert row.first.error == ""
        assert {item: text.partition(":")[0] for item, text in row.first.rejected.items()} == dict.fromkeys(
            BAD_ITEMS, reason
        )
    elif part := ENDS.get(fault.name):
        assert part in row.first.error
        assert len(row.first.error.splitlines()) == 1
        assert len(row.first.values) < ITEMS
    else:
        assert len(row.first.values) == ITEMS
    for text in (str(row), caplog.text, *(str(path) for path in tmp_path.iterdir())):
        assert KEY not in text
    assert KEY.encode() not in keep_from(tmp_path)


def test_the_tables_above_speak_of_faults_that_there_are() -> None:
    assert (REJECTED.keys() | ENDS.keys()) < {fault.name for fault in FAULTS}


def chat(params: Any, folder: Path, items: int = 1) -> list[Reply]:
    llm = Llm(params, folder)

    async def work(item: int) -> Reply:
        messages = ({"role": "system", "content": "s"}, {"role": "user", "content": f"Item {item}."})
        return await llm.chat("teacher", Request(messages, "v"))

    return list(ordered(work, range(items), 4, llm.close))


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHAGENT_FAULT_KEY", KEY)


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


def test_an_endpoint_that_answered_before_and_then_fails_for_all_ends_the_run(
    tmp_path: Path, no_waiting: list[float]
) -> None:
    fault = Fault("x", lambda item: refusing(500), bad=frozenset(range(6, ITEMS)))
    with FaultServer(fault).running() as server:
        with pytest.raises(EndpointError, match="http_500"):
            chat_all(params_for(server, {}), tmp_path)
        answered = [item for item, finished in server.calls if finished]
        assert sorted(answered) == list(range(6))
        server.well = True
        chat_all(params_for(server, {}), tmp_path)
        assert sorted(item for item, finished in server.calls if finished) == list(range(ITEMS))


def chat_all(params: Any, folder: Path) -> list[Reply | str]:
    llm = Llm(params, folder)

    async def work(item: int) -> Reply | str:
        messages = ({"role": "system", "content": "s"}, {"role": "user", "content": f"Item {item}."})
        try:
            return await llm.chat("teacher", Request(messages, "v"))
        except BadReplyError as fault:
            return fault.reason

    return list(ordered(work, range(ITEMS), 4, llm.close))


def test_a_resumed_run_that_asks_only_what_failed_before_is_not_ended_by_that(
    tmp_path: Path, no_waiting: list[float]
) -> None:
    bad = frozenset({1, 3, 5, 7, 9, 10})
    with FaultServer(Fault("x", lambda item: refusing(400), bad=bad)).running() as server:
        params = params_for(server, {})
        params = params.model_copy(update={"llm": params.llm.model_copy(update={"max_concurrency": 1})})
        first = chat_all(params, tmp_path)
        before = len(server.calls)
        assert chat_all(params, tmp_path) == first
        assert {item for item, _ in server.calls[before:]} == bad
    assert [item for item, came in enumerate(first) if came == "bad_request"] == sorted(bad)


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


@pytest.mark.parametrize(
    "url", ["", "foo", "ftp://x/v1", "http://", "http://[::1", "http://x:99999/v1", "http://a b/v1"]
)
def test_a_base_url_that_is_none_is_a_message(url: str, tmp_path: Path) -> None:
    with FaultServer(FAULTS[0]).running() as server:
        params = params_for(server, {"base_url": url})
        with pytest.raises(ParamsError, match="base_url"):
            chat(params, tmp_path)


@pytest.mark.parametrize("value", ["", "  ", "a key", "kéy", "two\nlines"])
def test_a_variable_that_holds_no_key_is_a_message_that_does_not_show_it(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHAGENT_FAULT_KEY", value)
    with FaultServer(FAULTS[0]).running() as server, pytest.raises(ParamsError) as error:
        chat(params_for(server, {}), tmp_path)
    assert "SYNTHAGENT_FAULT_KEY" in str(error.value)
    assert not value.strip() or value not in str(error.value)


def test_a_url_with_a_password_is_named_without_it(tmp_path: Path, no_waiting: list[float]) -> None:
    with FaultServer(FAULTS[0]).running() as server:
        params = params_for(server, {"base_url": "http://me:hunter22@127.0.0.1:9/v1?key=hunter22"})
        with pytest.raises(SynthAgentError) as error:
            chat(params, tmp_path)
    assert "127.0.0.1:9/v1" in str(error.value)
    assert "hunter22" not in str(error.value)


def test_tool_calls_are_taken_in_whatever_form_and_made_fit_to_keep(tmp_path: Path) -> None:
    calls = [
        {"id": 7, "function": {"name": "a", "arguments": {"x": "\ud800"}}},
        {"id": None, "function": {"name": "b", "arguments": '{"x": "\\ud83d\\ude00 \\ud800 \\u0000"}'}},
        {"id": "c", "function": {"name": "c", "arguments": "{no \\u0000"}},
        {"id": "d", "function": {"name": "d", "arguments": None}},
    ]
    body = {"choices": [{"message": {"content": None, "tool_calls": calls}, "finish_reason": "tool_calls"}]}
    with FaultServer(Fault("x", lambda item: http(200, body), bad=None)).running() as server:
        params = params_for(server, {})
        (reply,) = chat(params, tmp_path)
        assert chat(params, tmp_path) == [reply]
    arguments = [call["function"]["arguments"] for call in reply.tool_calls]
    assert [json.loads(text) for text in (*arguments[:2], arguments[3])] == [
        {"x": "\ufffd"},
        {"x": "\U0001f600 \ufffd \ufffd"},
        {},
    ]
    assert arguments[2] == "{no \\u0000"
    assert [call["id"] for call in reply.tool_calls] == ["7", "", "c", "d"]


def test_tokens_are_estimated_of_a_server_that_does_not_say(tmp_path: Path) -> None:
    body = {"choices": [{"message": {"content": "x" * 400}}], "usage": {"prompt_tokens": -5, "completion_tokens": 1e99}}
    with FaultServer(Fault("x", lambda item: http(200, body), bad=None)).running() as server:
        (reply,) = chat(params_for(server, {}), tmp_path)
    assert reply.completion_tokens == 100
    assert reply.prompt_tokens > 10
