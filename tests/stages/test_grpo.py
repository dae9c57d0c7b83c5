"""The grpo stage: it trains on tasks whose episodes differ in reward, and says so where there are none."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import pytest
from helpers.projects import default_params
from hypothesis import given
from hypothesis import strategies as st

from synthagent.errors import ParamsError
from synthagent.records import Reward
from synthagent.stages.grpo import check_params, middling, schedule

NAMES = st.lists(st.text("abc", min_size=1, max_size=4), unique=True, max_size=12)


def rewards(task_id: str, earned: Sequence[float | None]) -> list[Reward]:
    """What a task's episodes earned; None: an error."""
    return [
        Reward(
            trajectory_id=f"{task_id}.sft.{sample}",
            task_id=task_id,
            gate=value,
            subgoals=value,
            interactions=value,
            reward=value,
            reward_paper=value,
            verdicts=(),
            status="error" if value is None else "ok",
        )
        for sample, value in enumerate(earned)
    ]


def test_tasks_that_always_earn_the_same_teach_nothing() -> None:
    rows = [
        *rewards("always", [1.0] * 4),
        *rewards("never", [0.0] * 4),
        *rewards("thirds", [1 / 3] * 3),
        *rewards("middling", [0.0, 1.0, 1.0, 1.0]),
        *rewards("a little", [0.25, 0.25, 0.3]),
    ]
    random.Random(0).shuffle(rows)
    assert middling(rows) == ["a little", "middling"]


def test_errors_are_no_zeros() -> None:
    assert middling([*rewards("a", [1.0, None, 1.0]), *rewards("b", [None, None]), *rewards("c", [None, 0.5])]) == []
    assert middling([*rewards("a", [1.0, None, 0.5])]) == ["a"]
    assert middling([]) == []


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
    odd = params.grpo.model_copy(update={"tasks_per_step": 1, "group_size": 3})
    two = params.compute.model_copy(update={"processes": 2})
    with pytest.raises(ParamsError, match=r"grpo\.tasks_per_step \* grpo\.group_size: .*compute\.processes \(2\).* 3"):
        check_params(params.model_copy(update={"grpo": odd, "compute": two}))
