"""The grpo stage: the schedule of its tasks, and params that cannot be."""

from __future__ import annotations

from collections import Counter

import pytest
from helpers.projects import default_params
from hypothesis import given
from hypothesis import strategies as st

from synthagent.errors import ParamsError
from synthagent.judging.reward import SamePrompt
from synthagent.stages.grpo import check_params, choose_pairs, schedule

PROMPTS = st.lists(st.sampled_from("abcdefghijkl"), unique=True, max_size=12).map(
    lambda letters: [(f"{x}1", f"{x}2") if x < "h" else (x,) for x in letters]
)


@given(PROMPTS, st.integers(0, 40), st.integers(0, 3))
def test_a_schedule_takes_every_task_before_any_again_and_twins_together(
    prompts: list[SamePrompt], count: int, seed: int
) -> None:
    order = schedule(prompts, count, seed)
    assert len(order) == (count if prompts else 0)
    tasks = {name for prompt in prompts for name in prompt}
    for start in range(0, len(order), max(1, len(tasks))):
        once = order[start : start + len(tasks)]
        assert len(set(once)) == len(once)
        assert set(once) <= tasks
        for first, second in (prompt for prompt in prompts if len(prompt) == 2):
            if second in once:
                assert once[once.index(second) - 1] == first
    if order:
        times = Counter(order)
        assert max(times.values()) - min(times[name] for name in tasks) <= 1


def test_a_schedule_depends_on_the_seed_and_nothing_else() -> None:
    prompts = [(str(number),) for number in range(10)]
    assert schedule(prompts, 25, 0) == schedule(prompts, 25, 0)
    assert schedule(prompts, 25, 0) != schedule(prompts, 25, 1)
    assert schedule(prompts, 10, 0) == schedule(prompts, 25, 0)[:10]


def test_episodes_that_cannot_be_shared_out_among_processes_are_refused() -> None:
    params = default_params()
    check_params(params)
    odd = params.grpo.model_copy(update={"tasks_per_step": 1, "group_size": 3})
    two = params.compute.model_copy(update={"processes": 2})
    rule = r"grpo\.tasks_per_step \* grpo\.group_size: .*compute\.processes \(2\).* 3"
    with pytest.raises(ParamsError, match=rule):
        check_params(params.model_copy(update={"grpo": odd, "compute": two}))


def test_updates_that_cannot_share_a_step_are_refused() -> None:
    params = default_params()
    with pytest.raises(ParamsError, match=r"grpo\.updates: must divide the episodes of a step in each process \(32\)"):
        check_params(params.model_copy(update={"grpo": params.grpo.model_copy(update={"updates": 5})}))


NAMES = {f"{pair}{twin}": pair for pair in "abcdef" for twin in "12"} | {"x": "x", "y": "y"}


def test_the_pairs_of_the_probe_are_pairs_of_which_nothing_was_rolled_out() -> None:
    assert len(choose_pairs(NAMES, {"a1", "b1", "b2"}, [], 3, 0)) == 3
    found = choose_pairs(NAMES, {"a1", "b1", "b2"}, [], 99, 0)
    assert sorted(found[:4]) == [("c1", "c2"), ("d1", "d2"), ("e1", "e2"), ("f1", "f2")]
    assert sorted(found[4:]) == [("x",), ("y",)], "tasks alone come last"


def test_where_all_was_rolled_out_a_twentieth_of_what_would_be_trained_on_is_withheld() -> None:
    names = {f"{pair}-{twin}": f"{pair}" for pair in range(60) for twin in "12"}
    chosen = [(f"{pair}-1", f"{pair}-2") for pair in range(45)]
    assert choose_pairs(names, {*names}, chosen[:19], 8, 0) == []
    assert len(choose_pairs(names, {*names}, chosen, 8, 0)) == 2
    assert {*choose_pairs(names, {*names}, chosen, 8, 0)} <= {*chosen}
    assert choose_pairs(names, {*names} - {"59-1", "59-2"}, chosen, 1, 0) == [("59-1", "59-2")]


def test_the_pairs_of_the_probe_depend_on_the_seed_alone() -> None:
    backwards = dict(reversed(NAMES.items()))
    assert choose_pairs(NAMES, {"a1"}, [], 3, 0) == choose_pairs(backwards, {"a1"}, [], 3, 0)
    assert choose_pairs(NAMES, {"a1"}, [], 3, 0) != choose_pairs(NAMES, {"a1"}, [], 3, 1)
