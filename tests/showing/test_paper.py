"""The paper's table: what was measured stands beside what the paper reports, and what was not is said so."""

from __future__ import annotations

from synthagent.records import Evaluation
from synthagent.showing.paper import DATASETS, MODELS, NOT_MEASURED, paper_table, printed


def row(benchmark: str, category: str, task: int, reward: float, policy: str = "grpo", sample: int = 0) -> Evaluation:
    return Evaluation(
        policy=policy,
        benchmark=benchmark,
        category=category,
        version="1",
        task_id=f"{category}_{task}",
        sample=sample,
        decoding="scripted" if policy == "noop" else "greedy",
        reward=reward,
        n_turns=1,
        end="answer",
    )


def words(rows: list[Evaluation]) -> dict[str, tuple[str, ...]]:
    return {row.dataset.name: row.words() for row in paper_table(rows, seed=0)}


def test_the_table_has_the_fourteen_datasets_and_the_papers_figures() -> None:
    assert len(DATASETS) == 14
    figures = {dataset.name: dict(zip(MODELS, dataset.figures, strict=False)) for dataset in DATASETS}
    assert figures["TAU-2 retail"]["SynthAgent-14B"] == 44.7
    assert figures["BFCL-V4 multi-turn miss-param"]["Qwen3-14B"] == 26.5
    reported = [dataset.figures for dataset in DATASETS if dataset.figures]
    means = [round(sum(column) / len(column), 1) for column in zip(*reported, strict=True)]
    assert means == [30.6, 36.0, 35.7, 46.3]  # as the paper averages its tool-use datasets


def test_without_a_suite_nothing_is_measured() -> None:
    ours = row("synthagent", "multi_turn_base", 0, 1.0)  # rows of our own tasks are about none of them
    for rows in ([], [ours]):
        assert set(words(rows).values()) == {(NOT_MEASURED,)}
        lines = list(printed(paper_table(rows, seed=0)))
        assert sum(line.endswith(NOT_MEASURED) for line in lines) == 14


def test_a_dataset_that_was_run_whole_has_a_mean_with_its_interval_and_silence_stands_last() -> None:
    rows = [row("bfcl", "multi_turn_base", n, float(n < 50)) for n in range(200)]
    rows += [row("bfcl", "multi_turn_base", n, 0.0, "noop") for n in range(200)]
    rows += [row("bfcl", "multi_turn_base", n, 1.0, "zebra") for n in range(200)]
    found = words(rows)
    grpo, zebra, noop = found.pop("BFCL-V4 multi-turn base")
    assert grpo.startswith("grpo greedy 25.0 [1")
    assert grpo.endswith("], all")
    assert zebra == "zebra greedy 100.0 [100.0, 100.0], all"
    assert noop == "noop 0.0 [0.0, 0.0], all"
    assert set(found.values()) == {(NOT_MEASURED,)}


def test_of_a_part_of_a_dataset_it_is_said_how_large_it_is() -> None:
    rows = [row("bfcl", "multi_turn_miss_func", n, float(n == 0)) for n in range(10)]
    (part,) = words(rows)["BFCL-V4 multi-turn miss-func"]
    assert part.startswith("grpo greedy 10.0 [")
    assert part.endswith("], 10 of 200")


def test_tries_of_a_problem_are_averaged_and_counted_once() -> None:
    rows = [row("tau2", "airline", n, float(sample == 0), sample=sample) for n in range(50) for sample in range(4)]
    (airline,) = words(rows)["TAU-2 airline"]
    assert airline == "grpo greedy 25.0 [25.0, 25.0], all, Avg@4"


def test_what_is_another_part_of_a_suite_is_no_dataset_of_the_paper() -> None:
    rows = [row("bfcl", "simple_python", 0, 1.0), row("tau2", "mock", 0, 1.0), row("agentdojo", "travel", 0, 1.0)]
    assert set(words(rows).values()) == {(NOT_MEASURED,)}
