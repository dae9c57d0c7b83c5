"""Answers are kept in groups, and each before who waits for it goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from synthagent.errors import StoreError
from synthagent.llm.commits import Commits
from synthagent.llm.store import NewReply, Reply, ResponseStore, canonical, key_of


def _answer(number: int, text: str | None = None) -> NewReply:
    identity = canonical({"number": number})
    return NewReply(key_of(identity), "policy", "m", identity, None, Reply(text=text or f"text {number}"))


def test_answers_that_come_at_once_are_each_kept_before_their_caller_goes_on(tmp_path: Path) -> None:
    store, elsewhere = ResponseStore(tmp_path), ResponseStore(tmp_path)

    async def kept(commits: Commits, number: int) -> Reply | None:
        await commits.put(_answer(number))
        return elsewhere.get(_answer(number).key)  # another connection sees it: it is committed

    async def burst() -> list[Reply | None]:
        commits = Commits(store)
        return await asyncio.gather(*(kept(commits, number) for number in range(30)))

    assert asyncio.run(burst()) == [Reply(text=f"text {number}") for number in range(30)]


def test_of_two_answers_to_one_request_in_a_burst_the_first_stands_for_both(tmp_path: Path) -> None:
    async def burst() -> list[Reply]:
        commits = Commits(ResponseStore(tmp_path))
        return await asyncio.gather(commits.put(_answer(1, "one")), commits.put(_answer(1, "two")))

    assert [reply.text for reply in asyncio.run(burst())] == ["one", "one"]


def test_an_answer_whose_caller_was_cancelled_is_kept_when_the_commits_are_flushed(tmp_path: Path) -> None:
    store = ResponseStore(tmp_path)

    async def interrupted() -> None:
        commits = Commits(store)
        task = asyncio.create_task(commits.put(_answer(1)))
        await asyncio.sleep(0)  # it has given its answer; nothing is committed before the next turn
        assert store.get(_answer(1).key) is None
        task.cancel()
        commits.flush()
        await asyncio.wait([task])

    asyncio.run(interrupted())
    assert store.get(_answer(1).key) == Reply(text="text 1")


def test_when_the_store_fails_nobody_waits_for_ever_and_nothing_of_the_group_is_kept(tmp_path: Path) -> None:
    store, elsewhere = ResponseStore(tmp_path), ResponseStore(tmp_path)
    store._db.executescript(
        "CREATE TEMP TRIGGER full BEFORE INSERT ON main.replies WHEN NEW.identity LIKE '%:2}' "
        "BEGIN SELECT RAISE(ABORT, 'disk is full'); END;"
    )

    async def burst() -> list[Reply | BaseException]:
        commits = Commits(store)
        return await asyncio.gather(*(commits.put(_answer(number)) for number in range(3)), return_exceptions=True)

    outcomes = asyncio.run(burst())
    assert all(isinstance(outcome, StoreError) for outcome in outcomes)
    assert [elsewhere.get(_answer(number).key) for number in range(3)] == [None] * 3
    with pytest.raises(StoreError, match="disk is full"):
        store.put_all([_answer(2)])
    assert store.put_all([_answer(0)]) == [Reply(text="text 0")]  # the store goes on where it can
