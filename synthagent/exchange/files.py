"""What the exports share: reading datasets, a file for each split, and what an export may replace."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from synthagent import __version__
from synthagent.errors import InputError, StoreError
from synthagent.frozen import Record
from synthagent.records import Reward, Rubric, Task, Trajectory
from synthagent.store import read_keys, read_records

R = TypeVar("R", bound=Record)
SPLITS = ("train", "heldout", "unseen_domain")
BATCH = 2_000
CARD = "README.md"
_MARK = re.compile(r"<!-- written by `synthagent export (\w+)`")
_LONGEST_LINE = 100_000_000
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


def mark(kind: str) -> str:
    """The line of a card by which a later export of the same kind knows that it may replace the folder."""
    return f"<!-- written by `synthagent export {kind}`, synthagent {__version__} -->"


def replaceable_folder(out: Path, kind: str, files: Collection[str]) -> Path:
    """The folder that `out` really names (`new/../data` is not new), if nothing but an export of this kind is in it.

    Args:
        files: all that an export of this kind may write, beside its card.

    Raises:
        InputError: what is there would be lost.
    """
    out = out.resolve()
    if not out.exists():
        return out
    if not out.is_dir():
        raise InputError(f"{out}: is a file; give a folder to write to")
    ours = {Path(CARD)} | {part for name in files for part in (Path(name), *Path(name).parents)}
    there = {path.relative_to(out) for path in out.iterdir()}
    foreign = min(there - ours, default=None) or next(
        (inner for path in out.rglob("*") if (inner := path.relative_to(out)) not in ours), None
    )
    card = out / CARD
    found = _MARK.search(card.read_text(encoding="utf-8", errors="replace")) if card.is_file() else None
    if foreign is None and there and found is None:
        foreign = min(there)
    if foreign is not None:
        raise InputError(f"{out}: holds other things, such as {foreign}; give a new or empty folder")
    if found is not None and found.group(1) != kind:
        raise InputError(f"{out}: holds an export of another kind, {found.group(1)}; give a new or empty folder")
    return out


def replaceable_lines(out: Path, required: Collection[str], optional: Collection[str] = ()) -> Path:
    """The file `out`, if it is new, empty, or JSON lines whose first has exactly our keys.

    Raises:
        InputError: what is there would be lost.
    """
    if not out.exists():
        return out
    if not out.is_file():
        raise InputError(f"{out}: is no file; give a file to write to")
    with out.open("rb") as file:
        first = file.readline(_LONGEST_LINE)
    try:
        found = json.loads(first) if first else dict.fromkeys(required)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not set(required) <= found.keys() <= {*required, *optional}:
        raise InputError(f"{out}: was not written by this export; give a new or empty file")
    return out


def told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{counts[split]} {split}" for split in SPLITS if counts.get(split)) or "no rows"


def openai_tools(task: Task) -> list[dict[str, Any]]:
    """The schemas without what is only ours."""
    return [tool.schema_of_openai for tool in task.tools]
