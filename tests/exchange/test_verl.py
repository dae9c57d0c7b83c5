"""`synthagent export verl`: tasks with rubrics in verl's format."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from helpers.exports import tasks

from synthagent.episodes.turn import parse_turn
from synthagent.exchange.verl import export_verl
from synthagent.records import Criterion, Rubric, Task
from synthagent.stage import Paths
from synthagent.store import read_records, write_records

pytestmark = pytest.mark.usefixtures("project")


def verl_rows(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(folder.glob("*.parquet")):
        yield from ((path.stem, row) for row in pq.read_table(path).to_pylist())


def test_verl_rows_have_its_five_columns_and_all_that_judging_needs(tmp_path: Path) -> None:
    export_verl(tmp_path / "verl")
    rubrics = {rubric.task_id: rubric for rubric in read_records(Paths.rubrics, Rubric)}
    by_id = {task.id: task for task in tasks()}
    rows = list(verl_rows(tmp_path / "verl"))
    assert {row["extra_info"]["task_id"] for _, row in rows} == set(rubrics)
    for split, row in rows:
        assert list(row) == ["data_source", "prompt", "ability", "reward_model", "extra_info"]
        info = row["extra_info"]
        task = Task.model_validate_json(info["task"])
        assert task == by_id[info["task_id"]]
        assert split == info["split"] == task.split
        truth = json.loads(row["reward_model"]["ground_truth"])
        criteria = tuple(Criterion.model_validate(part) for part in truth["criteria"])
        assert criteria == rubrics[task.id].criteria
        assert row["reward_model"]["style"] == "rule"
        assert json.loads(info["tools"])[0] == task.tools[0].schema_of_openai


def test_a_verl_prompt_is_the_opening_with_tools_that_our_parser_reads_calls_of(tmp_path: Path) -> None:
    export_verl(tmp_path / "verl")
    _, row = next(verl_rows(tmp_path / "verl"))
    task = Task.model_validate_json(row["extra_info"]["task"])
    assert [message["role"] for message in row["prompt"]] == ["system", "user"]
    system, user = (message["content"] for message in row["prompt"])
    assert user == task.instruction
    assert all(constraint.text in system for constraint in task.constraints)
    listed = system.partition("<tools>\n")[2].partition("\n</tools>")[0].splitlines()
    assert [json.loads(line) for line in listed] == [tool.schema_of_openai for tool in task.tools]
    shown = system.partition("</tools>")[2].replace("NAME", '"find"').replace("ARGUMENT: VALUE", '"a": 1')
    assert parse_turn(shown).calls[0].name == "find"
    assert not any(fact.value in system for fact in task.facts)


def test_verl_indices_count_from_zero_within_a_split(tmp_path: Path) -> None:
    export_verl(tmp_path / "verl")
    indices: dict[str, list[int]] = {}
    for split, row in verl_rows(tmp_path / "verl"):
        indices.setdefault(split, []).append(row["extra_info"]["index"])
    assert len(indices) > 1
    assert all(found == list(range(len(found))) for found in indices.values())


def test_a_rubric_that_code_cannot_decide_is_for_a_model_and_a_task_without_one_is_left_out(tmp_path: Path) -> None:
    first, second, *rest = read_records(Paths.rubrics, Rubric)
    open_ended = tuple(criterion.model_copy(update={"check": None}) for criterion in first.criteria)
    write_records(Paths.rubrics, Rubric, [first.model_copy(update={"criteria": open_ended}), *rest])
    told = export_verl(tmp_path / "verl")
    styles = {row["extra_info"]["task_id"]: row["reward_model"]["style"] for _, row in verl_rows(tmp_path / "verl")}
    assert styles[first.task_id] == "model"
    assert set(styles.values()) == {"model", "rule"}
    assert second.task_id not in styles
    assert f"{len(tasks()) - len(styles)} tasks without a rubric left out" in told
