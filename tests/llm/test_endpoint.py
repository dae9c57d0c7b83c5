"""An endpoint: which settings and answers are refused, whose fault a failure is, and what is read from a reply."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.fake_openai import params_of, serving
from helpers.faults import chat, chat_all
from helpers.llm import PET, REX, Pet, request

from benchmarks.llm_faults import FAULTS, ITEMS, Fault, FaultServer, http, params_for, refusing
from synthagent.errors import EndpointError, ParamsError, SynthAgentError
from synthagent.llm.client import Llm
from synthagent.llm.ordered import ordered

pytestmark = pytest.mark.usefixtures("fault_key")


def test_a_server_without_json_schema_is_told_the_schema_in_the_prompt_by_all_at_once(tmp_path: Path) -> None:
    with serving(lambda body: PET) as server:
        server.refuses = lambda body: "response_format" in body
        llm = Llm(params_of(server.base_url), tmp_path)

        async def work(item: int) -> Pet:
            return (await llm.ask("teacher", request(f"{item}"), Pet)).value

        assert list(ordered(work, range(40), 16, llm.close)) == [REX] * 40
    assert len(server.requests) <= 40 + 16
    assert '"additionalProperties": false' in server.requests[-1]["messages"][-1]["content"]


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
