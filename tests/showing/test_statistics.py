"""Means with intervals, by pair of twins and by right outcome: what they must satisfy."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from helpers.evaluations import evaluation, name_of, row, twins
from hypothesis import given
from hypothesis import strategies as st

from synthagent.episodes.scripted import SCRIPTS
from synthagent.records import Evaluation
from synthagent.showing.statistics import POLICIES, Cell, Interval, Value, in_order, interval, summarise

EVALUATION = evaluation()
Pairs = list[tuple[float, float]]
PAIRS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20)
COARSE = st.lists(
    st.tuples(st.sampled_from((0.0, 0.5, 1.0)), st.sampled_from((0.0, 0.5, 1.0))), min_size=1, max_size=20
)


def of_tasks(values: Sequence[float], seed: int = 0) -> Interval:
    """The interval of values that do not depend on each other."""
    return interval([[Value(name_of(number), value) for number, value in enumerate(values)]], seed)


def whole(rows: Sequence[Evaluation]) -> Cell:
    """The cell of one policy's rows on one split, all levels together."""
    return summarise(rows, 0).cells[0]


# --- intervals ------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.integers(0, 5))
def test_an_interval_holds_its_mean_and_lies_within_the_values(values: list[float], seed: int) -> None:
    found = of_tasks(values, seed)
    assert found.mean == pytest.approx(np.mean(values))
    assert min(values) - 1e-9 <= found.low <= found.mean + 1e-9
    assert found.mean - 1e-9 <= found.high <= max(values) + 1e-9


def test_equal_values_leave_no_doubt() -> None:
    assert of_tasks([0.25] * 20) == Interval(0.25, 0.25, 0.25)


def test_an_interval_narrows_as_values_are_added_as_theory_says() -> None:
    widths = []
    for count in (50, 800):
        values = np.random.default_rng(1).random(count)
        found = of_tasks(list(values))
        expected = 2 * 1.96 * values.std() / count**0.5
        assert found.high - found.low == pytest.approx(expected, rel=0.1)
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 3


def test_an_interval_holds_the_true_mean_about_nineteen_times_in_twenty() -> None:
    draws = np.random.default_rng(2).binomial(1, 0.3, (300, 60)).astype(float)
    hits = [found.low <= 0.3 <= found.high for found in (of_tasks(list(values)) for values in draws)]
    assert 0.9 <= np.mean(hits) <= 0.99


def test_an_interval_depends_on_the_seed_and_nothing_else() -> None:
    values = list(np.random.default_rng(3).random(30))
    assert of_tasks(values, 1) == of_tasks(values, 1)
    assert of_tasks(values, 1) != of_tasks(values, 2)


def test_twins_are_drawn_together_so_a_twin_that_says_the_same_makes_nothing_surer() -> None:
    values = list(np.random.default_rng(4).random(30))
    single = of_tasks(values)
    found = whole(twins("sft", [(value, value) for value in values])).measures["reward"]
    assert (found.mean, found.low, found.high) == pytest.approx((single.mean, single.low, single.high))
    assert single.high - single.low > 1.3 * (of_tasks([*values, *values]).high - of_tasks([*values, *values]).low)


def test_a_mean_of_strata_counts_each_the_same_and_a_draw_may_miss_one() -> None:
    often, seldom = [Value(str(number), 1.0) for number in range(99)], [Value("99", 0.0)]
    assert interval([often, seldom], 0) == Interval(0.5, 0.5, 1.0)


# --- pairs of twins -------------------------------------------------------------------------------------------------


@given(PAIRS)
def test_pair_reward_is_at_most_the_mean_reward_of_either_side(pairs: Pairs) -> None:
    cell = whole(twins("sft", pairs))
    sides = [fmean(side) for side in zip(*pairs, strict=True)]
    assert cell.measures["pair_reward"].mean <= min(*sides, cell.measures["reward"].mean) + 1e-9
    assert cell.measures["pair_reward"].mean == pytest.approx(fmean(map(min, pairs)))


@given(COARSE)
def test_pair_rate_is_at_most_the_perfect_rate_of_either_side(pairs: Pairs) -> None:
    has = whole(twins("sft", pairs)).measures
    assert (
        has["pair_rate"].mean <= min(has["perfect_done"].mean, has["perfect_refused"].mean, has["perfect"].mean) + 1e-9
    )
    assert has["pair_rate"].mean == pytest.approx(fmean(pair == (1, 1) for pair in pairs))
    assert has["pair_rate"].mean <= has["pair_reward"].mean + 1e-9


@given(COARSE, st.randoms())
def test_intervals_of_pairs_hold_their_means_in_any_order_of_rows(pairs: Pairs, chance: random.Random) -> None:
    rows = twins("sft", pairs)
    chance.shuffle(rows)
    cell = whole(rows)
    assert cell.pairs == len(pairs)
    for found in cell.measures.values():
        assert 0 <= found.low <= found.mean + 1e-9
        assert found.mean - 1e-9 <= found.high <= 1


def test_a_task_whose_twin_is_not_there_is_in_no_pair() -> None:
    pairs = twins("sft", [(1.0, 1.0), (1.0, 0.0)])
    cell = whole([*pairs[:3], row("sft", 7, 0.5)])
    assert (cell.n, cell.pairs) == (4, 1)
    assert cell.measures["pair_rate"].mean == cell.measures["pair_reward"].mean == 1
    alone = whole([row("sft", 0, 1.0), row("sft", 1, 1.0, twin_of=name_of(2))])
    assert alone.pairs == 0
    assert alone.measures.keys() == {"reward", "perfect"}


def test_episodes_of_one_sample_make_a_pair() -> None:
    rows = [*twins("sft", [(1.0, 0.0)], sample=0), *twins("sft", [(0.0, 1.0)], sample=1)]
    assert whole(rows).pairs == 2
    assert whole(rows).measures["pair_rate"] == Interval(0, 0, 0)


def test_another_policy_decoding_or_split_has_no_twin_to_lend() -> None:
    one, other = twins("sft", [(1.0, 1.0)])
    for field, value in (("policy", "grpo"), ("decoding", "greedy"), ("split", "unseen_domain")):
        cells = summarise([one, other.model_copy(update={field: value})], 0).cells
        assert [cell.pairs for cell in cells] == [0] * 4


# --- right outcomes -------------------------------------------------------------------------------------------------


def test_the_perfect_rate_is_told_by_right_outcome_and_its_mean_counts_each_outcome_the_same() -> None:
    outcomes = {"done": (1.0, 0.0, 0.0, 0.0), "refused": (1.0, 0.9), "kept": (1.0,)}
    earned = [(outcome, reward) for outcome, rewards in outcomes.items() for reward in rewards]
    has = whole([row("sft", n, reward, outcome=outcome) for n, (outcome, reward) in enumerate(earned)]).measures
    assert [has[f"perfect_{outcome}"].mean for outcome in outcomes] == [0.25, 0.5, 1.0]
    assert has["perfect_mean_of_outcomes"].mean == pytest.approx((0.25 + 0.5 + 1) / 3)
    assert has["perfect_mean_of_outcomes"].mean != has["perfect"].mean
    assert "perfect_cannot" not in has


def test_extra_questions_and_calls_are_means_over_the_episodes_that_have_them() -> None:
    extras = [(0, 3), (1, 0), (None, None)]
    rows = [row("sft", n, 1.0, extra_questions=asked, extra_calls=made) for n, (asked, made) in enumerate(extras)]
    assert (whole(rows).extra_questions, whole(rows).extra_calls) == (0.5, 1.5)
    assert (whole(rows[2:]).extra_questions, whole(rows[2:]).extra_calls) == (None, None)


# --- differences ----------------------------------------------------------------------------------------------------


def difference_of(before: Sequence[Evaluation], after: Sequence[Evaluation]) -> Any:
    (found,) = summarise([*before, *after], seed=0).differences
    return found.measures


def rows_of(policy: str, rewards: Sequence[float]) -> list[Evaluation]:
    return [row(policy, task, reward) for task, reward in enumerate(rewards)]


def test_a_difference_is_paired_by_task() -> None:
    """Every task gained the same, so there is no doubt about the gain, however much tasks differ."""
    before = [task / 40 for task in range(20)]
    later = rows_of("grpo", [reward + 0.25 for reward in before])
    random.Random(0).shuffle(later)
    found = difference_of(rows_of("sft", before), later)["reward"]
    assert (found.mean, found.low, found.high) == pytest.approx((0.25, 0.25, 0.25))


def test_a_difference_is_of_every_measure() -> None:
    before = twins("sft", [(0.5, 0.5), (1.0, 0.0), (0.0, 1.0), (0.0, 1.0)])
    after = twins("grpo", [(1.0, 1.0), (1.0, 0.5), (0.0, 0.0), (1.0, 1.0)])
    found = difference_of(before, after)
    means = {measure: change.mean for measure, change in found.items()}
    assert means["reward"] == pytest.approx((5.5 - 4) / 8)
    assert means["perfect"] == pytest.approx((5 - 3) / 8)
    assert means["perfect_done"] == pytest.approx((3 - 1) / 4)
    assert means["perfect_refused"] == 0
    assert means["pair_rate"] == pytest.approx(2 / 4)
    assert means["pair_reward"] == pytest.approx((1 + 0.5 + 0 + 1 - 0.5) / 4)


@given(COARSE, st.randoms())
def test_a_difference_is_what_the_means_differ_by(pairs: Pairs, chance: random.Random) -> None:
    others = [(chance.choice((0.0, 1.0)), chance.choice((0.0, 1.0))) for _ in pairs]
    before, after = twins("sft", pairs), twins("grpo", others)
    for measure, change in difference_of(before, after).items():
        gained = whole(after).measures[measure].mean - whole(before).measures[measure].mean
        assert change.mean == pytest.approx(gained, abs=1e-9)
        assert change.low - 1e-9 <= change.mean <= change.high + 1e-9


def test_a_loss_is_negative() -> None:
    assert difference_of(rows_of("sft", [1.0] * 4), rows_of("grpo", [0.0] * 4))["reward"].mean == -1


def test_an_episode_that_only_one_of_them_has_is_not_compared() -> None:
    """A judge that failed leaves no row."""
    before, after = rows_of("sft", [0.5, 0.0]), rows_of("grpo", [1.0, 0.0, 1.0])
    assert difference_of(before, after)["reward"].mean == 0.25
    assert difference_of(before, after[:1])["reward"].mean == 0.5
    assert summarise([*before[:1], *after[1:]], 0).differences == ()


def test_greedy_episodes_and_other_policies_do_not_enter_the_difference() -> None:
    rows = [row("sft", 0, 0.25), row("grpo", 0, 0.5)]
    others = [row("sft", 0, 1.0, decoding="greedy"), row("grpo", 0, 0.0, decoding="greedy"), row("expert", 0, 1.0)]
    assert summarise([*rows, *others], 0).differences == summarise(rows, 0).differences


def test_without_one_of_the_two_there_is_no_difference() -> None:
    assert summarise([row("sft", 0, 0.5), row("grpo", 0, 0.5, split="unseen_domain")], 0).differences == ()


# --- cells ----------------------------------------------------------------------------------------------------------


def test_rates_are_shares_of_the_episodes() -> None:
    rows = [
        row("sft", 0, 1.0, n_questions=0),
        row("sft", 1, 0.0, gate=0.0, n_questions=4),
        row("sft", 2, 1.0 - 1e-12),
        row("sft", 3, 0.999),
    ]
    cell = whole(rows)
    assert (cell.n, cell.asks_rate, cell.violation_rate, cell.measures["perfect"].mean) == (4, 0.75, 0.25, 0.5)
    assert cell.reward_paper == pytest.approx(cell.measures["reward"].mean / 2)


def test_levels_add_up_to_the_whole() -> None:
    cells = summarise(EVALUATION, 0).cells
    for all_levels in (cell for cell in cells if cell.difficulty == 0):
        place = (all_levels.policy, all_levels.decoding, all_levels.split)
        parts = [cell for cell in cells if cell.difficulty and (cell.policy, cell.decoding, cell.split) == place]
        assert sum(part.n for part in parts) == all_levels.n
        assert sum(part.pairs for part in parts) == all_levels.pairs
        for measure, count in (("reward", "n"), ("pair_rate", "pairs")):
            total = sum(getattr(part, count) * part.measures[measure].mean for part in parts)
            assert total == pytest.approx(getattr(all_levels, count) * all_levels.measures[measure].mean)


def test_the_order_of_rows_does_not_change_the_means() -> None:
    rows = list(EVALUATION)
    random.Random(1).shuffle(rows)
    one, two = summarise(rows, 0), summarise(EVALUATION, 0)
    assert [(c.policy, c.split, c.n) for c in one.cells] == [(c.policy, c.split, c.n) for c in two.cells]
    for first, second in zip(one.cells, two.cells, strict=True):
        for measure, found in first.measures.items():
            assert found.mean == pytest.approx(second.measures[measure].mean)


def test_no_rows_give_no_cells_and_no_fault() -> None:
    assert summarise([], 0).cells == summarise([], 0).differences == ()


def test_policies_stand_in_order_from_those_that_learn_nothing_to_the_expert_and_every_script_is_one() -> None:
    assert {*SCRIPTS, "base", "sft", "grpo", "endpoint"} == set(POLICIES)
    places = [POLICIES.index(name) for name in ("noop", "never_asks", "base", "sft", "grpo", "expert", "endpoint")]
    assert all(one < other for one, other in pairwise(places))
    cells = [whole([row(policy, 0, 1.0)]) for policy in ("another", "expert", "sft", "noop")]
    assert [cell.policy for cell in in_order(cells)] == ["noop", "sft", "expert", "another"]
