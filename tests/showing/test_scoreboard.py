"""What others read of an evaluation: the metrics, the details, the CSV table, the printed lines."""

from __future__ import annotations

import csv
import io
import json

import pytest
from helpers.evaluations import evaluation, row, twins

from synthagent.records import Evaluation
from synthagent.showing.scoreboard import details, headline, plot_table, printed_tables
from synthagent.showing.statistics import POLICIES, summarise

CELL = {"reward", "ci_low", "ci_high", "n", "asks_rate", "violation_rate", "perfect_rate", "perfect_by_outcome"}
CELL |= {"pair_reward", "pair_rate", "extra_questions", "extra_calls", "reward_paper", "perfect_mean_of_outcomes"}
CELL |= {f"{name}_ci_{end}" for name in ("pair_rate", "pair_reward", "perfect") for end in ("low", "high")}
DIFFERENCE = {"reward", "ci_low", "ci_high"} | {
    f"{name}{end}"
    for name in ("perfect", "perfect_done", "pair_rate", "pair_reward")
    for end in ("", "_ci_low", "_ci_high")
}
SPLITS = {"heldout", "unseen_domain"}
EVALUATION = evaluation()
SUMMARY = summarise(EVALUATION, 0)
WITHOUT_TWINS = [
    each.model_copy(update=dict.fromkeys(("twin_of", "outcome", "extra_questions", "extra_calls")))
    for each in EVALUATION
]


def test_details_have_the_shape_that_others_read() -> None:
    found = details(SUMMARY)
    assert set(found["policies"]) == set(POLICIES)
    for splits in found["policies"].values():
        assert set(splits) == SPLITS
        for figures in splits.values():
            assert set(figures) >= CELL
            assert (figures["n"], figures["pairs"]) == (6, 3)
            assert figures["ci_low"] <= figures["reward"] <= figures["ci_high"]
            assert figures["pair_rate_ci_low"] <= figures["pair_rate"] <= figures["pair_rate_ci_high"]
            by_outcome = figures["perfect_by_outcome"]
            assert set(by_outcome) == {"done", "refused"}
            assert figures["perfect_mean_of_outcomes"] == pytest.approx(sum(by_outcome.values()) / 2, abs=1e-4)
    assert set(found["grpo_minus_sft"]) == SPLITS
    for figures in found["grpo_minus_sft"].values():
        assert set(figures) == DIFFERENCE
    assert json.loads(json.dumps(found)) == found


def test_the_policies_of_the_details_are_the_sampled_ones_and_greedy_stands_beside_them() -> None:
    found = details(summarise([row("sft", 0, 0.25), row("sft", 0, 1.0, decoding="greedy")], 0))
    assert found["policies"]["sft"]["heldout"]["reward"] == 0.25
    assert found["greedy"]["sft"]["heldout"]["reward"] == 1
    assert found["by_difficulty"]["sft"]["heldout"]["1"]["reward"] == 0.25


def test_the_difference_in_the_details_is_that_of_the_policies() -> None:
    found = details(SUMMARY)
    for split, figures in found["grpo_minus_sft"].items():
        before, after = (found["policies"][policy][split] for policy in ("sft", "grpo"))
        for name, beside in (("reward", "reward"), ("pair_rate", "pair_rate"), ("perfect", "perfect_rate")):
            assert figures[name] == pytest.approx(after[beside] - before[beside], abs=2e-4)
        done = after["perfect_by_outcome"]["done"] - before["perfect_by_outcome"]["done"]
        assert figures["perfect_done"] == pytest.approx(done, abs=2e-4)


def test_headlines_lead_with_pair_rate_and_perfect_where_done_and_are_few() -> None:
    found = headline(SUMMARY)
    compared = [f"grpo_minus_sft_{name}{end}" for name in ("pair_rate", "perfect_done") for end in ("", "_ci_low")]
    of_split = ["grpo_pair_rate", "grpo_perfect_done", *compared]
    assert set(found) == {f"{split}_{name}" for split in SPLITS for name in of_split}
    assert len(found) == 12
    read = details(SUMMARY)
    assert found["heldout_grpo_pair_rate"] == read["policies"]["grpo"]["heldout"]["pair_rate"]
    assert found["heldout_grpo_perfect_done"] == read["policies"]["grpo"]["heldout"]["perfect_by_outcome"]["done"]
    gained = read["grpo_minus_sft"]["unseen_domain"]
    assert found["unseen_domain_grpo_minus_sft_perfect_done_ci_low"] == gained["perfect_done_ci_low"]


def test_where_no_task_has_a_twin_the_headlines_are_reward_and_perfect_rate_and_the_rest_is_null() -> None:
    summary = summarise(WITHOUT_TWINS, 0)
    of_split = {"grpo_reward", "grpo_perfect"} | {
        f"grpo_minus_sft_{name}{end}" for name in ("reward", "perfect") for end in ("", "_ci_low")
    }
    assert set(headline(summary)) == {f"{split}_{name}" for split in SPLITS for name in of_split}
    figures = details(summary)["policies"]["grpo"]["heldout"]
    assert set(figures) >= CELL
    unknown = ("pair_rate", "pair_reward_ci_low", "perfect_mean_of_outcomes", "extra_questions", "extra_calls")
    assert [figures[name] for name in unknown] == [None] * len(unknown)
    assert figures["perfect_by_outcome"] == {}
    lines = list(printed_tables(summary))
    assert all(line.split()[4:6] == ["-", "-"] for line in lines if line.startswith("heldout"))
    assert not any("pair rate" in line for line in lines if line.startswith("grpo - sft"))


def test_the_plot_table_is_csv_with_a_line_for_every_cell() -> None:
    lines = list(csv.DictReader(io.StringIO(plot_table(SUMMARY))))
    assert len(lines) == len(SUMMARY.cells)
    for line, cell in zip(lines, SUMMARY.cells, strict=True):
        assert (line["policy"], line["decoding"], line["split"]) == (cell.policy, cell.decoding, cell.split)
        assert line["difficulty"] == str(cell.difficulty or "all")
        for measure, found in cell.measures.items():
            assert float(line[measure]) == pytest.approx(found.mean, abs=1e-4)
        assert float(line["ci_low"]) == pytest.approx(cell.measures["reward"].low, abs=1e-4)
        assert float(line["pair_rate_ci_high"]) == pytest.approx(cell.measures["pair_rate"].high, abs=1e-4)
        assert float(line["extra_calls"]) == pytest.approx(cell.extra_calls, abs=1e-4)
        assert line["perfect_kept"] == ""
        assert None not in line
    assert len(plot_table(summarise([], 0)).splitlines()) == 1


def test_the_tables_show_every_policy_on_every_split_and_level_greedy_beside_sampled() -> None:
    lines = list(printed_tables(SUMMARY))
    for split in SPLITS:
        own = [line.split() for line in lines if line.startswith(f"{split} ")]
        for level in ("all", "1", "2", "3"):
            assert [words[2] for words in own if words[1] == level] == list(POLICIES)
        assert f"grpo - sft on {split}: pair rate " in "\n".join(lines)
    shown = next(line for line in lines if line.startswith("heldout") and " all " in line and " sft " in line)
    greedy = details(SUMMARY)["greedy"]["sft"]["heldout"]
    assert shown.endswith(f"{greedy['pair_rate']:.3f}/{greedy['reward']:.3f}")
    assert list(printed_tables(summarise([], 0))) == []


def printed(rows: list[Evaluation]) -> dict[str, str]:
    """The line of the table, by the name of its column: each ends, or starts, below its name."""
    heading, line, *_ = printed_tables(summarise(rows, 0))
    assert len(line) <= 152
    names = [
        "pair rate",
        "done",
        "refused",
        "kept",
        "mean",
        "pair reward",
        "reward",
        "perfect",
        "viol",
        "asks",
        "extra",
    ]
    values = line.replace(" [", "[").split()[4:]
    assert heading.split()[:4] == ["split", "lvl", "policy", "n"]
    return dict(zip([*names, "paper", "greedy"], values, strict=False))


def test_a_printed_line_says_all_that_is_measured() -> None:
    half = twins("grpo", [(1.0, 1.0), (0.0, 1.0)], split="unseen_domain", extra_questions=1, extra_calls=2)
    figures = printed(half)
    assert figures["pair rate"] == figures["done"] == "0.500[.00,1.0]"
    assert (figures["refused"], figures["kept"], figures["mean"]) == ("1.000", "-", "0.750")
    assert figures["pair reward"] == "0.500[.00,1.0]"
    assert (figures["reward"], figures["perfect"], figures["paper"]) == ("0.750", "0.750", "0.375")
    assert (figures["viol"], figures["asks"], figures["extra"]) == ("0.00", "1.00", "1.0/2.0")
    assert "greedy" not in figures
    sure = printed(twins("always_kept", [(1.0, 1.0)], split="unseen_domain"))
    assert (sure["pair rate"], sure["extra"]) == ("1.000[1.0,1.0]", "-/-")
