"""The mapping M: what is the same call, whose answer stands, what its figures say."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from helpers.simulated import simulated_task
from hypothesis import given
from hypothesis import strategies as st

from synthagent.episodes.episode import Episode
from synthagent.episodes.mapping import (
    HitCounter,
    Key,
    Mappings,
    contradiction_rate,
    entries_in,
    key_of_call,
    made_entry,
    state_of,
)
from synthagent.episodes.turn import ToolCall, Turn
from synthagent.episodes.world import ToolEvent, UserEvent
from synthagent.errors import BadReplyError
from synthagent.records import MappingEntry
from synthagent.store import read_records, write_records
from synthagent.worlds import Said

TASK = simulated_task()
KEY = key_of_call("look", {"id": "A1"}, "")


def an_entry(answer: Any = "open", state: str = "", **args: Any) -> MappingEntry:
    return MappingEntry(
        task_id=TASK.id,
        tool="look",
        args=args or {"id": "A1"},
        state=state,
        response={"status": answer},
        source="model",
    )


# --- keys -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": 1.0}, {"a": 1}),
        ({"a": " x "}, {"a": "x"}),
        ({"a": [{"b": 2.0, "c": "y "}]}, {"a": [{"c": "y", "b": 2}]}),
    ],
)
def test_the_form_of_arguments_makes_no_other_call(one: Any, other: Any) -> None:
    assert key_of_call("look", one, "") == key_of_call("look", other, "")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": "1"}),
        ({"a": 1}, {"a": True}),
        ({"a": 0}, {"a": None}),
        ({"a": 1.5}, {"a": 1}),
        ({"a": "x"}, {"a": "X"}),
        ({"a": "x y"}, {"a": "xy"}),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ({}, {"a": None}),
    ],
)
def test_other_arguments_make_another_call(one: Any, other: Any) -> None:
    assert key_of_call("look", one, "") != key_of_call("look", other, "")


def test_the_tool_and_the_state_are_part_of_the_key() -> None:
    assert len({KEY, KEY._replace(tool="move"), KEY._replace(state="x")}) == 3


def test_only_state_changing_calls_that_went_well_change_the_state() -> None:
    move = ToolEvent("move", {"id": "A1", "day": "Mon"}, True, {"status": "moved"})
    nothing = [
        ToolEvent("look", {"id": "A1"}, True, {"status": "open"}),
        move._replace(ok=False, result={"error": "closed"}),
        move._replace(ok=False, valid=False),
        UserEvent("?", "Friday.", {}),
    ]
    assert state_of(TASK, nothing) == ""
    once = state_of(TASK, [*nothing, move])
    assert once == state_of(TASK, [move]) != ""
    assert state_of(TASK, [move, move]) not in ("", once)
    assert state_of(TASK, [move._replace(args={"id": "A1", "day": "Tue"})]) != once
    assert state_of(TASK, [move._replace(result={"status": "done"})]) != once


def test_the_order_of_two_changes_makes_two_states() -> None:
    one, other = (ToolEvent("move", {"id": f"A{n}", "day": "Mon"}, True, {"status": "moved"}) for n in (1, 2))
    assert state_of(TASK, [one, other]) != state_of(TASK, [other, one])


# --- single flight --------------------------------------------------------------------------------------------------


class Maker:
    """Makes an answer, slowly, and counts how often it was asked."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes, self.asked, self.go = list(outcomes), 0, asyncio.Event()

    async def __call__(self) -> MappingEntry:
        self.asked += 1
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        await self.go.wait()
        if isinstance(outcome, Exception):
            raise outcome
        return made_entry(TASK, KEY, {"status": f"{outcome} {self.asked}"}, equal=False)


def test_of_many_that_ask_the_same_at_once_one_makes_the_answer() -> None:
    async def scene() -> None:
        mappings, make = Mappings(), Maker("open")
        asking = [asyncio.create_task(mappings.answer(TASK, KEY, make)) for _ in range(64)]
        await asyncio.sleep(0)
        make.go.set()
        answers = await asyncio.gather(*asking)
        assert make.asked == 1
        assert {entry.response["status"] for entry in answers} == {"open 1"}
        assert (mappings.metrics()["calls"], mappings.metrics()["hits"]) == (64, 63)

    asyncio.run(scene())


def test_when_the_first_fails_all_who_wait_get_the_failure_and_a_later_one_asks_again() -> None:
    async def scene() -> None:
        mappings, make = Mappings(), Maker(BadReplyError("wrong_shape", "n"), "open")
        asking = [asyncio.create_task(mappings.answer(TASK, KEY, make)) for _ in range(5)]
        await asyncio.sleep(0)
        make.go.set()
        answers = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(answer) for answer in answers] == [BadReplyError] * 5
        assert make.asked == 1
        assert (await mappings.answer(TASK, KEY, make)).response == {"status": "open 2"}

    asyncio.run(scene())


def test_when_the_first_is_cancelled_one_who_waits_takes_over() -> None:
    async def scene() -> None:
        mappings, make = Mappings(), Maker("open")
        first, *others = [asyncio.create_task(mappings.answer(TASK, KEY, make)) for _ in range(5)]
        await asyncio.sleep(0)
        first.cancel()
        others[2].cancel()
        await asyncio.sleep(0)
        make.go.set()
        answers = await asyncio.gather(first, *others, return_exceptions=True)
        assert [type(a) for a in (answers[0], answers[3])] == [asyncio.CancelledError] * 2
        assert make.asked == 2
        assert {a.response["status"] for a in answers if isinstance(a, MappingEntry)} == {"open 2"}

    asyncio.run(scene())


def test_what_a_task_is_known_to_say_is_in_its_mapping_from_the_start() -> None:
    said = Said(tool="look", args={"id": " A1"}, response={"status": "lost"})
    make = Maker("open")
    mappings = Mappings()
    entry = asyncio.run(mappings.answer(simulated_task(said=(said,)), KEY, make))
    assert (entry.response, entry.source, make.asked) == ({"status": "lost"}, "task", 0)


def test_what_a_task_is_known_to_say_joins_what_was_loaded() -> None:
    task = simulated_task(said=(Said(tool="look", args={"id": "A1"}, response={"status": "lost"}),))
    mappings = Mappings.load([an_entry("open", id="A2")])
    make = Maker("never")
    answers = [
        asyncio.run(mappings.answer(task, key_of_call("look", {"id": name}, ""), make)).response
        for name in ("A1", "A2")
    ]
    assert (answers, make.asked) == ([{"status": "lost"}, {"status": "open"}], 0)


def test_without_a_mapping_every_call_is_made_anew_and_kept_for_the_figures() -> None:
    async def scene() -> None:
        mappings, make = Mappings(enabled=False), Maker("open")
        make.go.set()
        answers = [await mappings.answer(TASK, KEY, make) for _ in range(4)]
        assert make.asked == len({entry.response["status"] for entry in answers}) == 4
        assert mappings.metrics() == {
            "calls": 4,
            "hits": 0,
            "hit_rate": 0.0,
            "size": 4.0,
            "contradiction_rate": 1.0,
        }

    asyncio.run(scene())


# --- on disk --------------------------------------------------------------------------------------------------------


@given(st.permutations([an_entry("a", id=f"A{n % 3}", k=n) for n in range(6)]))
def test_the_order_in_which_entries_came_does_not_show(entries: list[MappingEntry]) -> None:
    ordered = list(Mappings.load(entries).entries())
    assert ordered == sorted(entries, key=lambda entry: str(entry.args))


def test_mappings_survive_the_disk_and_the_first_entry_of_a_key_stands(tmp_path: Any) -> None:
    mappings = Mappings.load([an_entry("open"), an_entry("closed"), an_entry("moved", state="s")])
    assert write_records(tmp_path / "m.parquet", MappingEntry, mappings.entries()) == 2
    again = Mappings.load(read_records(tmp_path / "m.parquet", MappingEntry))
    assert list(again.entries()) == list(mappings.entries())
    assert [entry.response["status"] for entry in again.entries()] == ["open", "moved"]


def an_episode() -> Episode:
    """Looks, is refused, moves, looks again; the world says something else then."""
    answers = [{"status": "open"}, None, {"error": "too late <b>"}, {"status": "moved"}, {"status": "moved"}]

    class Scripted:
        async def answer(self, episode: Episode, asked: Any) -> Any:
            result = answers.pop(0)
            refused = episode.world.refusal(asked.name, asked.arguments)
            event = refused or ToolEvent(asked.name, asked.arguments, "error" not in (result or {}), result or {})
            episode.world.events.append(event)
            return event

    episode = Episode(TASK, Scripted())
    look, move = ToolCall("look", {"id": "A1"}), ToolCall("move", {"id": "A1", "day": "Mon"})
    for call in (look, ToolCall("look", {"id": 3}), move, move, look):
        episode.step(Turn(calls=(call,)))
    episode.step(Turn("<answer>moved</answer>"))
    return episode


def test_the_mapping_is_read_off_the_messages_of_an_episode() -> None:
    found = entries_in(TASK, an_episode().trajectory("teacher"))
    moved = state_of(TASK, [ToolEvent("move", {"id": "A1", "day": "Mon"}, True, {"status": "moved"})])
    assert [(e.tool, e.state, e.response) for e in found] == [
        ("look", "", {"status": "open"}),
        ("move", "", {"error": "too late <b>"}),
        ("move", "", {"status": "moved"}),
        ("look", moved, {"status": "moved"}),
    ]


def test_hits_are_counted_as_if_the_episodes_had_run_one_after_another() -> None:
    counter = HitCounter(Mappings())
    trajectory = an_episode().trajectory("teacher")
    assert [counter.counted(TASK, trajectory).mapping_hits for _ in range(2)] == [1, 4]  # move was tried twice
    assert HitCounter(Mappings(enabled=False)).counted(TASK, trajectory).mapping_hits == 0
    known = Mappings.load(entries_in(TASK, trajectory))
    assert HitCounter(known).counted(TASK, trajectory).mapping_hits == 4


# --- figures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entries", "rate"),
    [
        ([], None),
        ([an_entry("a")], 0.0),
        ([an_entry("a", id="A 1"), an_entry("b", id="a-1")], 1.0),
        ([an_entry("a", id="A 1"), an_entry("A.", id="a-1")], 0.0),
        ([an_entry("a", id="A1"), an_entry("b", id="A2")], 0.0),
        ([an_entry("a", state="s"), an_entry("b")], 0.0),
        ([an_entry("a", id="1,200"), an_entry("b", id=1200.0), an_entry("c", id="7"), an_entry("c", id="8")], 0.5),
        ([an_entry("a", id="x y"), an_entry("a", id="XY"), an_entry("b", id="x.y")], 1.0),
    ],
)
def test_entries_contradict_where_loosely_equal_calls_are_answered_differently(
    entries: list[MappingEntry], rate: float | None
) -> None:
    assert contradiction_rate(entries) == rate


def test_the_size_is_the_mean_over_tasks() -> None:
    entries = [an_entry("a", id=str(n)) for n in range(3)]
    other = an_entry("a").model_copy(update={"task_id": "other"})
    assert Mappings.load([*entries, other]).metrics()["size"] == 2.0
    assert Mappings().metrics() == {
        "calls": 0,
        "hits": 0,
        "hit_rate": None,
        "size": 0.0,
        "contradiction_rate": None,
    }
    assert isinstance(KEY, Key)
