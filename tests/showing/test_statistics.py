"""Means with intervals: what they must satisfy, and the shape in which others read them."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthagent.records import Evaluation
from synthagent.showing.statistics import POLICIES, interval, plot_table, printed_tables, summarise

CELL = {"reward", "ci_low", "ci_high", "n", "asks_rate", "violation_rate", "perfect_rate"}
DIFFERENCE = {"reward", "ci_low", "ci_high", "perfect", "perfect_ci_low"}
DECODINGS = {"base": ("sampled",), "sft": ("sampled", "greedy"), "grpo": ("sampled", "greedy")}


def row(policy: str, task: int, reward: float, **changes: Any) -> Evaluation:
    """An evaluated episode that earned `reward`."""
    usual = {"benchmark": "synthagent", "split": "heldout", "difficulty": 1, "sample": 0, "decoding": "sampled"}
    parts = {"reward_paper": reward / 2, "gate": 1.0, "subgoals": reward, "interactions": 1.0}
    counts = {"n_turns": 3, "n_questions": 1, "end": "answer"}
    fields = usual | parts | counts | {"policy": policy, "task_id": f"task-{task:03d}", "reward": reward}
    return Evaluation(**(fields | changes))


def evaluation() -> list[Evaluation]:
    """All policies on twelve tasks of two splits and three levels, as the stage writes them."""
    rng = random.Random(0)
    rows = []
    for policy in POLICIES:
        for decoding in DECODINGS.get(policy, ("scripted",)):
            for task in range(12):
                split = "heldout" if task % 2 else "unseen_domain"
                reward = 1.0 if policy == "expert" else rng.choice((0.0, 0.25, 1.0))
                rows.append(row(policy, task, reward, split=split, difficulty=1 + task % 3, decoding=decoding))
    return rows


EVALUATION = evaluation()


# --- intervals ------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.integers(0, 5))
def test_an_interval_holds_its_mean_and_lies_within_the_values(values: list[float], seed: int) -> None:
    found = interval(np.array(values), seed)
    assert found.mean == pytest.approx(np.mean(values))
    assert min(values) - 1e-9 <= found.low <= found.mean + 1e-9
    assert found.mean - 1e-9 <= found.high <= max(values) + 1e-9


def test_equal_values_leave_no_doubt() -> None:
    found = interval(np.full(20, 0.25), seed=0)
    assert (found.mean, found.low, found.high) == (0.25, 0.25, 0.25)


def test_an_interval_narrows_as_values_are_added_as_theory_says() -> None:
    widths = []
    for count in (50, 800):
        values = np.random.default_rng(1).random(count)
        found = interval(values, seed=0)
        expected = 2 * 1.96 * values.std() / count**0.5
        assert found.high - found.low == pytest.approx(expected, rel=0.1)
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 3


def test_an_interval_holds_the_true_mean_about_nineteen_times_in_twenty() -> None:
    draws = np.random.default_rng(2).binomial(1, 0.3, (300, 60)).astype(float)
    hits = [found.low <= 0.3 <= found.high for found in (interval(values, seed=0) for values in draws)]
    assert 0.9 <= np.mean(hits) <= 0.99


def test_an_interval_depends_on_the_seed_and_nothing_else() -> None:
    values = np.random.default_rng(3).random(30)
    assert interval(values, 1) == interval(values, 1)
    assert interval(values, 1) != interval(values, 2)


# --- differences ----------------------------------------------------------------------------------------------------


def difference_of(before: Sequence[float], after: Sequence[float], shuffled: bool = False) -> Any:
    rows = [row("sft", task, reward) for task, reward in enumerate(before)]
    later = [row("grpo", task, reward) for task, reward in enumerate(after)]
    if shuffled:
        random.Random(0).shuffle(later)
    (found,) = summarise([*rows, *later], seed=0).differences
    return found


def test_a_difference_is_paired_by_task() -> None:
    """Every task gained the same, so there is no doubt about the gain, however much tasks differ."""
    before = [task / 40 for task in range(20)]
    found = difference_of(before, [reward + 0.25 for reward in before], shuffled=True)
    assert (found.reward.mean, found.reward.low, found.reward.high) == pytest.approx((0.25, 0.25, 0.25))


def test_a_difference_says_both_the_reward_and_the_perfect_rate() -> None:
    found = difference_of([0.5, 0.5, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0])
    assert (found.reward.mean, found.perfect.mean) == (0.25, 0.5)


def test_a_loss_is_negative() -> None:
    assert difference_of([1.0] * 4, [0.0] * 4).reward.mean == -1


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
    (cell, _) = summarise(rows, 0).cells
    assert (cell.n, cell.asks_rate, cell.violation_rate, cell.perfect.mean) == (4, 0.75, 0.25, 0.5)
    assert cell.reward_paper == pytest.approx(cell.reward.mean / 2)


def test_levels_add_up_to_the_whole() -> None:
    cells = summarise(EVALUATION, 0).cells
    for whole in (cell for cell in cells if cell.difficulty == 0):
        parts = [
            cell
            for cell in cells
            if cell.difficulty
            and (cell.policy, cell.decoding, cell.split) == (whole.policy, whole.decoding, whole.split)
        ]
        assert sum(part.n for part in parts) == whole.n
        assert sum(part.n * part.reward.mean for part in parts) == pytest.approx(whole.n * whole.reward.mean)


def test_the_order_of_rows_does_not_change_the_means() -> None:
    rows = list(EVALUATION)
    random.Random(1).shuffle(rows)
    one, two = summarise(rows, 0), summarise(EVALUATION, 0)
    assert [(c.policy, c.split, c.n) for c in one.cells] == [(c.policy, c.split, c.n) for c in two.cells]
    for first, second in zip(one.cells, two.cells, strict=True):
        assert first.reward.mean == pytest.approx(second.reward.mean)


def test_no_rows_give_no_cells_and_no_fault() -> None:
    summary = summarise([], 0)
    assert summary.cells == summary.differences == ()
    assert list(printed_tables(summary)) == []
    assert len(plot_table(summary).splitlines()) == 1


# --- what others read -----------------------------------------------------------------------------------------------


def test_metrics_have_the_shape_that_others_read() -> None:
    metrics = summarise(EVALUATION, 0).details()
    assert set(metrics["policies"]) == set(POLICIES)
    for splits in metrics["policies"].values():
        assert set(splits) == {"heldout", "unseen_domain"}
        for figures in splits.values():
            assert set(figures) >= CELL
            assert figures["n"] == 6
            assert figures["ci_low"] <= figures["reward"] <= figures["ci_high"]
    assert set(metrics["grpo_minus_sft"]) == {"heldout", "unseen_domain"}
    for figures in metrics["grpo_minus_sft"].values():
        assert set(figures) >= DIFFERENCE
    assert json.loads(json.dumps(metrics)) == metrics


def test_the_policies_of_the_metrics_are_the_sampled_ones_and_greedy_stands_beside_them() -> None:
    metrics = summarise([row("sft", 0, 0.25), row("sft", 0, 1.0, decoding="greedy")], 0).details()
    assert metrics["policies"]["sft"]["heldout"]["reward"] == 0.25
    assert metrics["greedy"]["sft"]["heldout"]["reward"] == 1
    assert metrics["by_difficulty"]["sft"]["heldout"]["1"]["reward"] == 0.25


def test_the_difference_in_the_metrics_is_that_of_the_rewards() -> None:
    metrics = summarise(EVALUATION, 0).details()
    for split, figures in metrics["grpo_minus_sft"].items():
        before, after = (metrics["policies"][policy][split]["reward"] for policy in ("sft", "grpo"))
        assert figures["reward"] == pytest.approx(after - before, abs=2e-4)


def test_the_plot_table_is_csv_with_a_line_for_every_cell() -> None:
    summary = summarise(EVALUATION, 0)
    lines = list(csv.DictReader(io.StringIO(plot_table(summary))))
    assert len(lines) == len(summary.cells)
    for line, cell in zip(lines, summary.cells, strict=True):
        assert (line["policy"], line["decoding"], line["split"]) == (cell.policy, cell.decoding, cell.split)
        assert line["difficulty"] == str(cell.difficulty or "all")
        assert float(line["reward"]) == pytest.approx(cell.reward.mean, abs=1e-4)


def test_the_tables_show_every_policy_on_every_split_and_level_greedy_beside_sampled() -> None:
    lines = list(printed_tables(summarise(EVALUATION, 0)))
    for split in ("heldout", "unseen_domain"):
        own = [line.split() for line in lines if line.startswith(f"{split} ")]
        for level in ("all", "1", "2", "3"):
            assert [words[2] for words in own if words[1] == level] == list(POLICIES)
        assert f"grpo - sft on {split}: reward " in "\n".join(lines)
    shown = next(line for line in lines if line.startswith("heldout") and " all " in line and " sft " in line)
    greedy = summarise(EVALUATION, 0).details()["greedy"]["sft"]["heldout"]
    assert shown.endswith(f"{greedy['reward']:.3f} / {greedy['perfect_rate']:.3f}")
    assert max(map(len, lines)) < 140
