"""The client: what is sent, structured answers, one call for equal requests, the budget, the runner of coroutines."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import pytest
from helpers.fake_openai import params_of, serving
from helpers.projects import default_params
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from synthagent.errors import BadReplyError, BudgetError, EndpointError, ParamsError
from synthagent.llm.client import Given, Llm, Request
from synthagent.llm.ordered import ordered
from synthagent.llm.prompts import fenced, render
from synthagent.llm.store import Reply
from synthagent.llm.structured import parse
from synthagent.params import Params
from synthagent.records import Record, Tool
from synthagent.text import clean, clean_value


class Pet(Record):
    """A shape to ask for."""

    name: Annotated[str, Field(max_length=20)]
    age: int


PET = '{"name": "Rex", "age": 3}'
REX = Pet(name="Rex", age=3)


def request(text: str = "hi", **fields: Any) -> Request:
    return Request(({"role": "user", "content": text},), "prompt@1", **fields)


def ask(params: Params, folder: Path, *requests: Request, metrics: dict[str, Any] | None = None) -> list[Any]:
    """What `Llm.ask` gives for each, one after another; a BadReplyError as it is."""
    llm = Llm(params, folder)

    async def work(wanted: Request) -> Given[Pet] | BadReplyError:
        try:
            return await llm.ask("teacher", wanted, Pet)
        except BadReplyError as fault:
            return fault

    came = list(ordered(work, requests, 1, llm.close))
    if metrics is not None:
        metrics.update(llm.metrics())
    return came


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


@pytest.mark.parametrize(
    "text",
    [
        PET,
        f"```json\n{PET}\n```",
        f'<think>a {{thought}} and {{"more": 1}}</think> so {PET} it is',
        '{"name": "Rex", "age": NaN} ' + PET,
        '{"name": "' + "x" * 50 + '", "age": 3} ' + PET,
        "{" * 10 + PET,
    ],
)
def test_the_first_object_that_fits_is_taken(text: str) -> None:
    assert parse(Reply(text=text), Pet) == REX


@given(st.text(alphabet='{}[]":,\\ud800aeN1x', max_size=60))
def test_whatever_a_model_writes_is_a_record_or_a_bad_reply(text: str) -> None:
    with suppress(BadReplyError):
        assert parse(Reply(text=text), Pet).model_dump_json().encode()


def test_escapes_do_not_bring_in_what_files_cannot_hold() -> None:
    pet = parse(Reply(text='{"name": "\\ud800 \\u0000 \\ud83d\\ude00", "age": 1}'), Pet)
    assert pet.name == "\ufffd \ufffd \U0001f600"


@given(st.text(alphabet=st.characters()))
def test_clean_text_can_be_kept_and_is_left_alone(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert "\x00" not in once.encode().decode()
    assert clean_value({text: [text, 1, None]}) == {once: [once, 1, None]}


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


def test_a_server_without_json_schema_is_told_the_schema_in_the_prompt_by_all_at_once(tmp_path: Path) -> None:
    with serving(lambda body: PET) as server:
        server.refuses = lambda body: "response_format" in body
        llm = Llm(params_of(server.base_url), tmp_path)

        async def work(item: int) -> Pet:
            return (await llm.ask("teacher", request(f"{item}"), Pet)).value

        assert list(ordered(work, range(40), 16, llm.close)) == [REX] * 40
    assert len(server.requests) <= 40 + 16
    assert '"additionalProperties": false' in server.requests[-1]["messages"][-1]["content"]


def spend(params: Params, folder: Path, items: int, concurrency: int) -> int:
    """Ask for many items; how many came before the end."""
    llm = Llm(params, folder)
    came = 0

    async def work(item: int) -> Reply:
        return await llm.chat("teacher", request(f"{item}"))

    try:
        for _ in ordered(work, range(items), concurrency, llm.close):
            came += 1
    finally:
        spent = llm._budget
        assert spent._under_way == 0
    return came


def test_a_budget_of_tokens_ends_a_run_cleanly_and_nothing_is_asked_twice_after_it_is_raised(tmp_path: Path) -> None:
    with serving(lambda body: "x") as server:  # 15 tokens a call
        with pytest.raises(BudgetError, match=r"llm.max_tokens_total: 150 would be passed") as error:
            spend(params_of(server.base_url, {"max_tokens_total": 150}), tmp_path, 40, 1)
        assert len(str(error.value).splitlines()) == 1
        assert len(server.requests) == 10
        assert spend(params_of(server.base_url, {"max_tokens_total": 600}), tmp_path, 40, 1) == 40
        assert len(server.requests) == 40
        with pytest.raises(BudgetError):
            spend(params_of(server.base_url, {"max_tokens_total": 600}), tmp_path, 41, 1)
        assert len(server.requests) == 40


def test_a_budget_is_not_passed_by_more_than_the_first_calls_that_are_under_way(tmp_path: Path) -> None:
    with serving(lambda body: "x") as server:
        with pytest.raises(BudgetError):
            spend(params_of(server.base_url, {"max_tokens_total": 1500}), tmp_path, 1000, 64)
        assert 64 <= len(server.requests) <= 100  # by then it is known what a call takes, and 1500 / 15 fit
    with serving(lambda body: "x") as server:
        with pytest.raises(BudgetError):
            spend(params_of(server.base_url, {"max_tokens_total": 15}), tmp_path / "b", 1000, 64)
        assert len(server.requests) <= 64


def test_a_budget_in_usd_reckons_with_the_price_of_each_model(tmp_path: Path) -> None:
    prices = {"m": {"prompt": 1.0, "completion": 2.0}}  # 10 x 1 + 5 x 2 = 20 millionths a call
    with serving(lambda body: "x") as server:
        with pytest.raises(BudgetError, match=r"llm.max_usd: 0.0001 would be passed"):
            spend(params_of(server.base_url, {"max_usd": 0.0001, "prices": prices}), tmp_path, 40, 1)
        assert len(server.requests) == 5
        with pytest.raises(ParamsError, match=r"llm\.prices"):
            spend(params_of(server.base_url, {"max_usd": 1.0}), tmp_path, 40, 1)


def test_usage_is_counted_by_role_and_model_with_what_it_costs(tmp_path: Path) -> None:
    prices = {"m": {"prompt": 1_000.0, "completion": 2_000.0}}
    metrics: dict[str, Any] = {}
    with serving(lambda body: PET) as server:
        params = params_of(server.base_url, {"prices": prices})
        ask(params, tmp_path, request("a"))
        ask(params, tmp_path, request("a"), request("b"), metrics=metrics)
    expected = {"calls": 1, "hits": 1, "retries": 0, "failures": 0, "prompt_tokens": 20, "completion_tokens": 10}
    assert metrics == {"teacher": {"m": expected | {"usd": 0.04}}}


def test_results_come_in_the_order_of_the_items_and_items_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(1000):
            taken.append(item)
            yield item

    async def work(item: int) -> int:
        await asyncio.sleep(0.001 * (item % 3))
        return item

    results = ordered(work, items(), 4)
    assert [next(results) for _ in range(10)] == list(range(10))
    assert len(taken) < 40
    assert list(results) == list(range(10, 1000))


def test_no_more_are_at_work_than_allowed() -> None:
    at_work = most = 0

    async def work(_: int) -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(0)
        at_work -= 1

    assert len(list(ordered(work, range(200), 7))) == 200
    assert most == 7


@pytest.mark.parametrize("stopped_by", ["an error", "the caller"])
def test_what_is_under_way_ends_when_a_run_does_and_nothing_new_begins(stopped_by: str) -> None:
    begun, ended, closed = set(), set(), []

    async def work(item: int) -> int:
        begun.add(item)
        if item == 2 and stopped_by == "an error":
            raise EndpointError("down")
        await asyncio.sleep(0.01)
        ended.add(item)
        return item

    async def close() -> None:
        closed.append(set(ended))

    def use() -> None:
        for item in ordered(work, range(1000), 8, close):
            if item == 2:
                raise EndpointError("down")

    with pytest.raises(EndpointError):
        use()
    gc.collect()
    assert begun - ended <= {2}
    assert len(begun) < 100
    assert closed == [ended]


def test_a_fence_cannot_be_closed_from_within() -> None:
    text = fenced("x")
    first, *_, last = fenced(text).splitlines()
    assert first[3:] == last[:-3]
    assert first[3:] not in text
    assert fenced("lone \ud800")


def test_a_prompt_is_versioned_by_its_content_and_inserts_values_as_they_are() -> None:
    prompt = render("policy", rules="{{ 7 * 7 }} {% x", extra="")
    assert "{{ 7 * 7 }} {% x" in prompt.messages[0]["content"]
    assert prompt.version == render("policy", rules="other", extra="").version
    assert prompt.version.startswith("policy@")


def test_the_shipped_params_use_no_model() -> None:
    assert default_params().llm.replay == "off"
    assert all(role.backend != "openai" for _, role in default_params().roles)
