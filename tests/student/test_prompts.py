"""Which tasks a step of GRPO samples: the schedule, a mix that follows the reward, others in place of dead groups."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Barrier

import pytest
from helpers.projects import default_params
from hypothesis import given
from hypothesis import strategies as st

from synthagent.params import CurriculumParams, GrpoParams
from synthagent.student.prompts import TaskChoice, dead_groups, mix_at, problems_before, sample_step, whole_prompts

POOL = [(f"{level}{letter}1", f"{level}{letter}2") for level in (1, 2, 3) for letter in "abcdefghij"]
LEVELS = {name: int(name[0]) for pair in POOL for name in pair}
RISING = CurriculumParams(start=(0.8, 0.2, 0.0), end=(0.0, 0.5, 0.5), low=0.2, high=0.6)


def grpo(**changes: object) -> GrpoParams:
    return default_params().grpo.model_copy(update={"tasks_per_step": 8, "group_size": 2, **changes})


def choice(**changes: object) -> TaskChoice:
    order = [name for pair in POOL for name in pair]
    return TaskChoice(order, POOL, LEVELS, grpo(**changes), seed=0)


def test_without_a_curriculum_a_step_has_the_tasks_that_were_scheduled() -> None:
    assert choice().of_step(0, []) == ["1a1", "1a2", "1b1", "1b2", "1c1", "1c2", "1d1", "1d2"]
    assert choice().of_step(1, [0.9]) == ["1e1", "1e2", "1f1", "1f2", "1g1", "1g2", "1h1", "1h2"]


@pytest.mark.parametrize(
    ("rewards", "mix"),
    [
        ([], (0.8, 0.2, 0.0)),
        ([0.1], (0.8, 0.2, 0.0)),
        ([0.2, 0.6], (0.4, 0.35, 0.25)),
        ([0.6] * 5, (0.0, 0.5, 0.5)),
        ([0.0] * 20 + [0.9] * 5, (0.0, 0.5, 0.5)),
    ],
)
def test_the_mix_moves_from_start_to_end_with_the_mean_reward_of_the_last_steps(
    rewards: list[float], mix: tuple[float, float, float]
) -> None:
    assert mix_at(RISING, rewards) == pytest.approx(mix)


def test_a_mix_is_of_shares_whatever_they_come_to() -> None:
    doubled = CurriculumParams(start=(0.4, 0.1, 0.0), end=(0.0, 1.0, 1.0), low=0.2, high=0.6)
    assert mix_at(doubled, [0.4]) == pytest.approx(mix_at(RISING, [0.4]))


def levels_of(curriculum: CurriculumParams, rewards: list[float], steps: int = 400) -> Counter[int]:
    chosen = choice(curriculum=curriculum)
    return Counter(LEVELS[name] for step in range(steps) for name in chosen.of_step(step, rewards))


def test_a_step_under_a_curriculum_draws_pairs_of_the_levels_of_its_mix() -> None:
    easy, hard = levels_of(RISING, []), levels_of(RISING, [1.0])
    assert easy[1] / easy.total() == pytest.approx(0.8, abs=0.05)
    assert easy[3] == 0
    assert hard[1] == 0
    assert hard[3] / hard.total() == pytest.approx(0.5, abs=0.05)
    chosen = choice(curriculum=RISING).of_step(3, [0.5])
    assert len(chosen) == len(set(chosen)) == 8
    assert {*zip(chosen[::2], chosen[1::2], strict=True)} <= {*POOL}


def test_what_is_chosen_depends_on_seed_step_and_rewards_alone() -> None:
    one, other = choice(curriculum=RISING), choice(curriculum=RISING)
    for step in range(5):
        assert one.of_step(step, [0.4]) == other.of_step(step, [0.4])
        assert one.in_place(step, [0.4])([*"xyz"], {"1a1"}) == other.in_place(step, [0.4])([*"xyz"], {"1a1"})
    assert one.of_step(0, []) != one.of_step(1, [])
    assert one.of_step(0, []) != replace(one, seed=1).of_step(0, [])


def test_a_pool_that_is_smaller_than_a_step_is_used_again() -> None:
    few = replace(choice(curriculum=RISING), pool=POOL[:1])
    assert Counter(few.of_step(0, [])) == {"1a1": 4, "1a2": 4}


@given(st.integers(0, 8), st.sets(st.sampled_from([name for pair in POOL for name in pair])), st.integers(0, 9))
def test_in_place_of_dead_groups_are_others_and_twins_together_where_there_is_room(
    count: int, taken: set[str], step: int
) -> None:
    dead = [name for pair in POOL for name in pair][:count]
    found = [name for name in choice().in_place(step, [])(dead, taken) if name is not None]
    free = [pair for pair in POOL if not taken & {*pair}]
    assert len(found) == len(set(found)) == min(count, 2 * len(free))
    assert all(any(name in pair for pair in free) for name in found)
    alone = [pair for pair in free if len({*pair} & {*found}) == 1]
    assert len(alone) == count % 2 if len(found) == count else not alone


def test_a_last_place_goes_to_a_task_without_a_twin_if_there_is_one() -> None:
    assert whole_prompts([("a1", "a2"), ("b1", "b2"), ("c",)], 3, ()) == ["a1", "a2", "c"]
    assert whole_prompts([("a1", "a2"), ("b1", "b2")], 3, ()) == ["a1", "a2", "b1"]
    assert whole_prompts([("a1", "a2"), ("c",)], 9, {"a2"}) == ["c"]


def test_a_group_is_dead_where_all_earned_the_same() -> None:
    assert dead_groups([0, 0, 0.5, 0.5, 0, 1, 1, 1], 2) == [0, 1, 3]
    assert dead_groups([0.1] * 3 + [0.1, 0.1, 0.2], 3) == [0]


# --- problems among tasks -------------------------------------------------------------------------------------------

PROBLEMS = [f"p{number}" for number in range(5)]


@given(st.integers(1, 9), st.sampled_from([0.0, 0.05, 0.1, 0.125, 0.25, 0.3, 0.5, 1.0]), st.integers(1, 60))
def test_the_share_of_problems_holds_over_the_steps_and_twins_stay_in_one_step(
    tasks_per_step: int, share: float, steps: int
) -> None:
    params = grpo(tasks_per_step=tasks_per_step, reasoning_share=share)
    counts = [problems_before(step + 1, params) - problems_before(step, params) for step in range(steps)]
    assert abs(sum(counts) - share * tasks_per_step * steps) < 2
    assert all(0 <= count <= tasks_per_step for count in counts)
    if tasks_per_step % 2 == 0:
        assert not any(count % 2 for count in counts)


def test_a_step_has_the_next_tasks_and_the_next_problems_at_even_distances() -> None:
    mixed = replace(choice(reasoning_share=0.25), problems=PROBLEMS)
    assert mixed.of_step(0, []) == ["1a1", "1a2", "1b1", "p0", "1b2", "1c1", "1c2", "p1"]
    assert mixed.of_step(1, []) == ["1d1", "1d2", "1e1", "p2", "1e2", "1f1", "1f2", "p3"]
    assert [name for name in mixed.of_step(2, []) if name in PROBLEMS] == ["p4", "p0"]
    seldom = replace(choice(reasoning_share=0.125), problems=PROBLEMS)
    assert [sum(name in PROBLEMS for name in seldom.of_step(step, [])) for step in range(4)] == [0, 2, 0, 2]
    assert seldom.of_step(1, [])[:2] == ["1e1", "1e2"]
    assert seldom.of_step(2, [])[0] == "1h1"


def test_under_a_curriculum_problems_take_their_share_of_the_places() -> None:
    mixed = replace(choice(reasoning_share=0.25, curriculum=RISING), problems=PROBLEMS)
    found = mixed.of_step(1, [0.1])
    assert [name for name in found if name in PROBLEMS] == ["p2", "p3"]
    assert len({name for name in found if name not in PROBLEMS}) == 6


def test_in_place_of_a_dead_problem_is_another_problem_and_of_a_task_another_task() -> None:
    mixed = replace(choice(reasoning_share=0.25), problems=PROBLEMS)
    others = mixed.in_place(0, [])(["1a1", "p0", "p1", "1a2"], {"1a1", "1a2", "p0", "p1", "p2"})
    assert [other in PROBLEMS for other in others] == [False, True, True, False]
    assert {others[1], others[2]} == {"p3", "p4"}
    assert mixed.in_place(0, [])(["p0"], {*PROBLEMS}) == [None]


# --- the rounds of a step -------------------------------------------------------------------------------------------


@dataclass
class Chair:
    """A seat whose episodes earn what is given by task: all the same, or one of a group more."""

    number: int
    alive: frozenset[str]
    task_id: str = ""
    played: list[str] = field(default_factory=list)

    def reset(self, task_id: str) -> None:
        self.task_id = task_id

    def get_reward(self) -> float:
        return float(self.task_id in self.alive and self.number % 2 == 0)


def play(seats: Sequence[Chair]) -> None:
    for seat in seats:
        seat.played.append(seat.task_id)


def step_of(alive: frozenset[str], rounds: int, tasks: Sequence[str]) -> tuple[list[Chair], float, int]:
    """A step in one process: its seats, the share of dead groups, and how many were sampled besides."""
    seats = [Chair(number, alive) for number in range(2 * len(tasks))]
    spare = choice(replace_dead=rounds).in_place(0, [])
    came = sample_step(
        seats, tasks, 0, grpo(replace_dead=rounds), play=play, gather=lambda values: values, instead=spare
    )
    return seats, came.dead, came.replaced


def test_without_rounds_dead_groups_stay_and_are_counted() -> None:
    seats, dead, replaced = step_of(frozenset({"1a1"}), 0, ["1a1", "1a2", "1b1", "1b2"])
    assert (dead, replaced) == (0.75, 0)
    assert [seat.played for seat in seats] == [[name] for name in ("1a1", "1a2", "1b1", "1b2") for _ in range(2)]


def test_dead_groups_give_way_to_whole_groups_of_others_and_the_live_ones_stay() -> None:
    alive = frozenset(LEVELS) - {"1a2", "1b1", "1b2"}
    seats, dead, replaced = step_of(alive, 3, ["1a1", "1a2", "1b1", "1b2"])
    assert (dead, replaced) == (0.0, 3)
    assert [seat.played for seat in seats[:2]] == [["1a1"], ["1a1"]]
    for group, task in enumerate(("1a2", "1b1", "1b2"), 1):
        first, second = seats[2 * group : 2 * group + 2]
        assert first.played == second.played == [task, first.task_id]
    assert not {seat.task_id for seat in seats[2:]} & {"1a1", "1a2", "1b1", "1b2"}


def test_rounds_end_at_their_bound_and_no_task_is_tried_twice() -> None:
    seats, dead, replaced = step_of(frozenset(), 3, ["1a1", "1a2"])
    assert (dead, replaced) == (1.0, 6)
    tried = [name for seat in seats[::2] for name in seat.played]
    assert len(tried) == len(set(tried)) == 8


def test_rounds_end_where_there_is_no_other_task() -> None:
    seats = [Chair(number, frozenset()) for number in range(4)]
    calls = list[int]()

    def instead(names: Sequence[str], taken: object) -> list[str | None]:
        calls.append(len(names))
        return ["x", None] if len(calls) == 1 else [None, None]

    came = sample_step(
        seats, ["a", "b"], 0, grpo(replace_dead=9), play=play, gather=lambda values: values, instead=instead
    )
    assert (came.dead, came.replaced, calls) == (1.0, 1, [2, 2])
    assert [seat.task_id for seat in seats] == ["x", "x", "b", "b"]


@pytest.mark.parametrize("processes", [2, 4, 8])
def test_processes_that_share_groups_come_to_what_one_would(processes: int) -> None:
    tasks, alive = ["1a1", "1a2", "1b1", "1b2"], frozenset(random.Random(0).sample([*LEVELS], 30))
    alone, dead, replaced = step_of(alive, 2, tasks)
    assert replaced
    barrier, share = Barrier(processes), len(alone) // processes
    earned: list[Sequence[float]] = [[]] * processes

    def run(process: int) -> tuple[float, int, list[list[str]]]:
        def gather(values: Sequence[float]) -> list[float]:
            earned[process] = values
            barrier.wait(10)
            everything = [value for values in earned for value in values]
            barrier.wait(10)
            return everything

        seats = [Chair(process * share + n, alive) for n in range(share)]
        params, spare = grpo(replace_dead=2), choice(replace_dead=2).in_place(0, [])
        came = sample_step(seats, tasks, process * share, params, play=play, gather=gather, instead=spare)
        return came.dead, came.replaced, [seat.played for seat in seats]

    with ThreadPoolExecutor(processes) as pool:
        outcomes = list(pool.map(run, range(processes)))
    assert {outcome[:2] for outcome in outcomes} == {(dead, replaced)}
    assert [played for outcome in outcomes for played in outcome[2]] == [seat.played for seat in alone]
