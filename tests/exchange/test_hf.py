"""`synthagent export hf`: every table, for `datasets`, with a card."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.exports import tasks, with_rollouts

from synthagent.columns import arrow_schema
from synthagent.errors import StoreError
from synthagent.exchange.hf import export_hf
from synthagent.records import FORMAT, Task
from synthagent.stage import Paths

pytestmark = pytest.mark.usefixtures("project")


def test_datasets_reads_every_table_and_split_back_as_it_was(tmp_path: Path) -> None:
    from datasets import get_dataset_config_names, load_dataset

    with_rollouts()
    told = export_hf(tmp_path / "hf")
    assert told.startswith(f"{tmp_path / 'hf'}: tasks: ")
    folder, cache = str(tmp_path / "hf"), str(tmp_path / "cache")
    assert get_dataset_config_names(folder) == ["tasks", "rubrics", "demos", "rollouts", "rewards"]
    files = {"tasks": Paths.tasks, "rubrics": Paths.rubrics, "demos": Paths.demos, "rewards": Paths.rewards}
    split_of = {task.id: task.split for task in tasks()}
    for name, path in files.items():
        loaded = load_dataset(folder, name, cache_dir=cache)
        stored = pq.read_table(path).to_pylist()
        key = "id" if name == "tasks" else "task_id"
        for split, part in loaded.items():
            assert part.to_list() == [row for row in stored if split_of[row[key]] == split], (name, split)
        assert sum(map(len, loaded.values())) == len(stored)
    of_train = load_dataset(folder, cache_dir=cache)["train"]
    assert of_train.column_names == arrow_schema(Task).names
    assert set(of_train["twin_of"]) == set(of_train["id"]), "twins are in one split"


def test_the_card_describes_every_column_and_names_json(tmp_path: Path) -> None:
    export_hf(tmp_path / "hf")
    card = (tmp_path / "hf" / "README.md").read_text()
    assert all(f"- `{name}`" in card for name in Task.model_fields)
    assert "- `world`: JSON" in card
    assert "rollouts.parquet" not in card


def test_rows_with_columns_of_another_version_are_told(tmp_path: Path) -> None:
    table = pa.table({"id": ["x"], "split": ["train"]})
    pq.write_table(table.replace_schema_metadata({"synthagent.format": str(FORMAT)}), Paths.tasks)
    with pytest.raises(StoreError, match="written by another version"):
        export_hf(tmp_path / "hf")
