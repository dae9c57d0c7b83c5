"""What the exports share: datasets that name the stage that lacks, a file for each split, folders to be replaced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from synthagent.errors import InputError, StoreError
from synthagent.records import Record, Reward, Rubric, Task, Trajectory
from synthagent.store import read_keys, read_records

R = TypeVar("R", bound=Record)
SPLITS = ("train", "heldout", "unseen_domain")
BATCH = 2_000
MARK = "<!-- written by `synthagent export` -->"
TABLES: dict[str, type[Record]] = {  # in the order of the card
    "tasks": Task,
    "rubrics": Rubric,
    "demos": Trajectory,
    "rollouts": Trajectory,
    "rewards": Reward,
}


class Writers:
    """A Parquet file for each split that gets a row, in `folder`."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._folder, self._schema = folder, schema
        self._open: dict[str, Any] = {}
        self._waiting: dict[str, list[dict[str, Any]]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Writers:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            if error[0] is None:
                for split in self._waiting:
                    self._flush(split)
        finally:
            self._stack.close()

    def write(self, split: str, row: dict[str, Any]) -> None:
        rows = self._waiting.setdefault(split, [])
        rows.append(row)
        if len(rows) == BATCH:
            self._flush(split)

    def write_batch(self, split: str, batch: pa.RecordBatch) -> None:
        self._writer(split).write_batch(batch)

    def _flush(self, split: str) -> None:
        self._writer(split).write_table(pa.Table.from_pylist(self._waiting[split], self._schema))
        self._waiting[split] = []

    def _writer(self, split: str) -> Any:
        if split not in self._open:
            writer = pq.ParquetWriter(self._folder / f"{split}.parquet", self._schema, compression="zstd")
            self._open[split] = self._stack.enter_context(writer)
        return self._open[split]


def dataset(data: Path, name: str) -> Path:
    """The file of a dataset, known to have its columns."""
    path = data / f"{name}.parquet"
    if not path.exists():
        stage = "rubrics" if name == "demos" else name
        raise StoreError(f"{path}: no such file; the stage {stage} writes it: run `dvc repro {stage}` first")
    read_keys(path, TABLES[name])
    return path


def read(data: Path, name: str, record: type[R]) -> Iterable[R]:
    return read_records(dataset(data, name), record)


def has(data: Path, name: str) -> bool:
    return (data / f"{name}.parquet").exists()


def replaceable(out: Path) -> Path:
    """The folder that `out` really names (`new/../data` is not new), unless an export did not write what is in it.

    Raises:
        InputError: what is there would be lost.
    """
    out = out.resolve()
    if not out.exists():
        return out
    if not out.is_dir():
        raise InputError(f"{out}: is a file; give a folder to write to")
    there = {path.name for path in out.iterdir()}
    ours = {"README.md", "data", *(f"{split}.parquet" for split in SPLITS)}
    card = out / "README.md"
    if there and (there - ours or not card.is_file() or MARK not in card.read_text(encoding="utf-8", errors="replace")):
        raise InputError(f"{out}: holds other things, such as {min(there - ours or there)}; give a new or empty folder")
    return out


def told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{counts[split]} {split}" for split in SPLITS if counts.get(split)) or "no rows"


def openai_tools(task: Task) -> list[dict[str, Any]]:
    """The schemas without what is only ours."""
    return [tool.schema_of_openai for tool in task.tools]
