"""The client: what is sent, what is asked again, and one call for equal requests."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_openai import params_of, serving
from helpers.llm import PET, REX, ask, request

from synthagent.llm.client import Given, Llm
from synthagent.llm.ordered import ordered
from synthagent.llm.store import Reply
from synthagent.worlds import Tool


def test_a_request_has_the_schema_the_seed_and_the_role_s_sampling_and_nothing_that_was_not_set(tmp_path: Path) -> None:
    with serving(lambda body: PET) as server:
        params = params_of(server.base_url, temperature=0.5)
        assert ask(params, tmp_path, request(sample=4)) == [Given(REX, 15)]
    (body,) = server.requests
    schema = body.pop("response_format")["json_schema"]
    assert schema["strict"] is True
    assert schema["schema"]["additionalProperties"] is False
    assert body == {"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.5, "seed": 4}


def test_the_key_goes_into_the_header_and_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHAGENT_TEST_KEY", "sk-0123456789")
    with serving(lambda body: PET) as server:
        llm = Llm(params_of(server.base_url, api_key_env="SYNTHAGENT_TEST_KEY"), tmp_path)

        async def work(_: int) -> Any:
            await llm.chat("teacher", request())
            return dict(llm._endpoints["teacher"]._transport._headers)

        (headers,) = ordered(work, range(1), 1, llm.close)
    assert headers["Authorization"] == "Bearer sk-0123456789"
    assert "sk-0123456789" not in json.dumps(server.requests)
    assert "sk-0123456789" not in repr(llm) + repr(vars(llm)) + str(llm.metrics())
    assert b"sk-0123456789" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_an_answer_of_the_wrong_shape_is_asked_for_once_more_and_told_what_is_wrong(tmp_path: Path) -> None:
    answers = iter(['{"name": "Rex", "age": "old"}', PET])
    with serving(lambda body: next(answers)) as server:
        assert ask(params_of(server.base_url), tmp_path, request()) == [Given(REX, 30)]
    said, complaint = server.requests[1]["messages"][1:]
    assert said == {"role": "assistant", "content": '{"name": "Rex", "age": "old"}'}
    assert "age: Input should be a valid integer" in complaint["content"]


def test_an_answer_that_is_wrong_twice_costs_what_both_cost(tmp_path: Path) -> None:
    with serving(lambda body: "no idea") as server:
        (fault,) = ask(params_of(server.base_url), tmp_path, request())
    assert (fault.reason, fault.tokens, len(server.requests)) == ("no_json", 30, 2)


def test_a_refusal_is_not_asked_again(tmp_path: Path) -> None:
    with serving(lambda body: {"refusal": "I\nwill not"}) as server:
        (fault,) = ask(params_of(server.base_url), tmp_path, request())
    assert (fault.reason, fault.detail, fault.tokens, len(server.requests)) == ("refusal", "I will not", 15, 1)


def test_equal_requests_under_way_at_once_are_one_call(tmp_path: Path) -> None:
    with serving(lambda body: "x") as server:
        llm = Llm(params_of(server.base_url), tmp_path)

        async def work(_: int) -> Reply:
            return await llm.chat("teacher", request())

        assert len({reply.text for reply in ordered(work, range(64), 64, llm.close)}) == 1
        assert len(server.requests) == 1
    tally = llm.metrics()["teacher"]["m"]
    assert (tally["calls"], tally["hits"]) == (1, 63)


def test_if_one_that_asks_is_cancelled_another_that_asked_the_same_still_gets_its_answer(tmp_path: Path) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def reply(body: dict[str, Any]) -> str:
        asked.set()
        go_on.wait()
        return "x"

    with serving(reply) as server:
        llm = Llm(params_of(server.base_url), tmp_path)

        async def work(_: int) -> str:
            first = asyncio.create_task(llm.chat("teacher", request()))
            second = asyncio.create_task(llm.chat("teacher", request()))
            await asyncio.to_thread(asked.wait)
            first.cancel()
            go_on.set()
            return (await second).text

        assert list(ordered(work, range(1), 1, llm.close)) == ["x"]


@pytest.mark.parametrize(
    "fields",
    [
        {"sample": 1},
        {"tools": (Tool(name="f"),)},
        {"max_tokens": 7},
        {"decided_by": {"x": 1}},
    ],
)
def test_whatever_decides_an_answer_makes_another_request(fields: dict[str, Any], tmp_path: Path) -> None:
    with serving(lambda body: PET) as server:
        params = params_of(server.base_url)
        ask(params, tmp_path, request(), request(), request(**fields), request("ho"))
        assert len(server.requests) == 3
        ask(params_of(server.base_url, temperature=0.1), tmp_path, request())
        ask(params.model_copy(update={"seed": params.seed + 1}), tmp_path, request())
        assert len(server.requests) == 5
        elsewhere = params_of(f"{server.base_url}/", {"timeout_s": 7.0})
        ask(elsewhere, tmp_path, request())
        assert len(server.requests) == 5


def test_halves_of_characters_in_a_prompt_are_sent_and_kept_as_text(tmp_path: Path) -> None:
    with serving(lambda body: PET) as server:
        params = params_of(server.base_url)
        assert ask(params, tmp_path, request("a \ud800 b \x00")) == ask(params, tmp_path, request("a \ud800 b \x00"))
    assert [body["messages"][0]["content"] for body in server.requests] == ["a ? b \x00"]
