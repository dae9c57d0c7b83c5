"""The runner of coroutines: results in order, a bounded number at work, and an end that leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest

from synthagent.errors import EndpointError
from synthagent.llm.ordered import ordered


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
