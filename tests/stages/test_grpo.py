"""The grpo stage: the schedule of its prompts, the episodes of each, and params that cannot be."""

from __future__ import annotations

from collections import Counter

import pytest
from helpers.projects import default_params
from hypothesis import given
from hypothesis import strategies as st

from synthagent.errors import ParamsError
from synthagent.judging.reward import SamePrompt
from synthagent.stages.grpo import check_params, episodes_of, schedule

PROMPTS = st.lists(st.sampled_from("abcdefghijkl"), unique=True, max_size=12).map(
    lambda letters: [(f"{x}1", f"{x}2") if x < "h" else (x,) for x in letters]
)


@given(PROMPTS, st.integers(0, 40), st.integers(0, 3))
def test_a_schedule_takes_every_prompt_before_any_again(prompts: list[SamePrompt], count: int, seed: int) -> None:
    order = schedule(prompts, count, seed)
    assert len(order) == (count if prompts else 0)
    for start in range(0, len(order), max(1, len(prompts))):
        once = order[start : start + len(prompts)]
        assert len(set(once)) == len(once)
        assert set(once) <= set(prompts)
    if order:
        times = Counter(order)
        assert max(times.values()) - min(times[prompt] for prompt in prompts) <= 1


def test_a_schedule_depends_on_the_seed_and_nothing_else() -> None:
    prompts = [(str(number),) for number in range(10)]
    assert schedule(prompts, 25, 0) == schedule(prompts, 25, 0)
    assert schedule(prompts, 25, 0) != schedule(prompts, 25, 1)
    assert schedule(prompts, 10, 0) == schedule(prompts, 25, 0)[:10]


@given(st.integers(2, 33))
def test_each_twin_has_half_of_its_prompts_episodes(size: int) -> None:
    assert episodes_of(("a",), size) == ["a"] * size
    pair = episodes_of(("a", "b"), size)
    assert len(pair) == size
    assert pair == sorted(pair), "the episodes of one task stand together"
    assert 0 <= pair.count("a") - pair.count("b") <= 1


def test_episodes_that_cannot_be_shared_out_among_processes_are_refused() -> None:
    params = default_params()
    check_params(params)
    odd = params.grpo.model_copy(update={"tasks_per_step": 1, "group_size": 3})
    two = params.compute.model_copy(update={"processes": 2})
    rule = r"grpo\.tasks_per_step \* grpo\.group_size: .*compute\.processes \(2\).* 3"
    with pytest.raises(ParamsError, match=rule):
        check_params(params.model_copy(update={"grpo": odd, "compute": two}))
