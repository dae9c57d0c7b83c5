"""What calls cost: counted by role and model, added up over processes, and limited by a budget."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_openai import params_of, serving
from helpers.llm import PET, ask, request

from synthagent.errors import BudgetError, ParamsError
from synthagent.llm.client import Llm
from synthagent.llm.ordered import ordered
from synthagent.llm.store import Reply
from synthagent.llm.usage import Usage, total
from synthagent.params import Params, Price


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


def usage_of(*replies: tuple[str, str, bool]) -> Usage:
    """What was counted of answers of 10 + 5 tokens: role, model, whether it came from the store."""
    usage = Usage({"m": Price(prompt=1_000.0, completion=2_000.0)})
    for role, model, hit in replies:
        usage.add(role, model, Reply(text="x", prompt_tokens=10, completion_tokens=5), hit=hit)
    return usage


def test_tokens_are_those_of_all_roles_made_now_or_kept() -> None:
    assert usage_of().tokens == 0
    assert usage_of(("user", "m", False), ("user", "n", True), ("judge", "m", True)).tokens == 45


def test_a_model_without_a_price_costs_no_known_sum() -> None:
    metrics = usage_of(("user", "m", False), ("user", "n", False)).metrics()
    assert (metrics["user"]["m"]["usd"], metrics["user"]["n"]["usd"]) == (0.02, None)


def test_the_usage_of_several_processes_is_added_up_by_role_and_model() -> None:
    one = usage_of(("user", "m", False), ("user", "n", True)).metrics()
    other = usage_of(("user", "m", True), ("judge", "m", False)).metrics()
    together = usage_of(("user", "m", False), ("user", "n", True), ("user", "m", True), ("judge", "m", False))
    before = json.dumps([one, other])
    assert total([one, other]) == together.metrics()
    assert total([one]) == one
    assert total([]) == {}
    assert json.dumps([one, other]) == before


def test_what_a_model_without_a_price_costs_stays_unknown_in_the_sum() -> None:
    unpriced = usage_of(("user", "n", False)).metrics()
    summed = total([unpriced, unpriced, unpriced])["user"]["n"]
    assert (summed["usd"], summed["calls"], summed["prompt_tokens"]) == (None, 3, 30)
    known = {"user": {"n": {**unpriced["user"]["n"], "usd": 1.0}}}
    assert total([unpriced, known])["user"]["n"]["usd"] is total([known, unpriced])["user"]["n"]["usd"] is None
