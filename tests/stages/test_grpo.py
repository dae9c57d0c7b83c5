"""The grpo stage: the schedule of its tasks, and params that cannot be."""

from __future__ import annotations

from collections import Counter

import pytest
from helpers.projects import default_params
from hypothesis import given
from hypothesis import strategies as st

from synthagent.errors import ParamsError
from synthagent.stages.grpo import check_params, schedule

NAMES = st.lists(st.text("abc", min_size=1, max_size=4), unique=True, max_size=12)


@given(NAMES, st.integers(0, 40), st.integers(0, 3))
def test_a_schedule_takes_every_task_before_any_again(names: list[str], count: int, seed: int) -> None:
    order = schedule(names, count, seed)
    assert len(order) == (count if names else 0)
    for start in range(0, len(order), max(1, len(names))):
        once = order[start : start + len(names)]
        assert len(set(once)) == len(once)
        assert set(once) <= set(names)
    if order:
        times = Counter(order)
        assert max(times.values()) - min(times[name] for name in names) <= 1


def test_a_schedule_depends_on_the_seed_and_nothing_else() -> None:
    names = [str(number) for number in range(10)]
    assert schedule(names, 25, 0) == schedule(names, 25, 0)
    assert schedule(names, 25, 0) != schedule(names, 25, 1)
    assert schedule(names, 10, 0) == schedule(names, 25, 0)[:10]


def test_episodes_that_cannot_be_shared_out_among_processes_are_refused() -> None:
    params = default_params()
    check_params(params)
    odd = params.grpo.model_copy(update={"prompts_per_step": 1, "group_size": 3})
    two = params.compute.model_copy(update={"processes": 2})
    rule = r"grpo\.prompts_per_step \* grpo\.group_size: .*compute\.processes \(2\).* 3"
    with pytest.raises(ParamsError, match=rule):
        check_params(params.model_copy(update={"grpo": odd, "compute": two}))
