"""All tables of a run -> `data/TABLE/SPLIT.parquet` and a card: a folder for `datasets.load_dataset`, or for the hub.

Launch: `synthagent export hf FOLDER`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from synthagent import __version__
from synthagent.columns import arrow_schema
from synthagent.errors import InputError
from synthagent.exchange.files import (
    BATCH,
    CARD,
    SPLITS,
    TABLES,
    Writers,
    dataset,
    has,
    mark,
    replaceable_folder,
    told,
)
from synthagent.frozen import JsonText, Record
from synthagent.stage import Paths, progress
from synthagent.store import directory_written_atomically


def export_hf(out: Path, data: Path = Paths.data) -> str:
    """Write tasks, and what else there is of rubrics, trajectories and rewards, to `out`, and say how many.

    Raises:
        InputError: `out` holds something else, or there are no tasks.
        StoreError: a dataset is missing, or `out` cannot be written.
    """
    files = [f"data/{name}/{split}.parquet" for name in TABLES for split in SPLITS]
    target = replaceable_folder(out, "hf", files)
    split_of = _splits(dataset(data, "tasks"))
    present = [name for name in TABLES if has(data, name)]
    counts: dict[str, Counter[str]] = {}
    with directory_written_atomically(target) as folder:
        for name in progress(present, len(present), "export"):
            counts[name] = _copy_table(dataset(data, name), name, folder / "data" / name, split_of)
        if not counts["tasks"]:
            raise InputError(f"{data / 'tasks.parquet'}: no task in it; run `dvc repro tasks`")
        (folder / CARD).write_text(_card(counts), encoding="utf-8")
    return "\n".join(f"{out}: {name}: {told(counted)}" for name, counted in counts.items())


def _splits(path: Path) -> dict[str, str]:
    table = pq.read_table(path, columns=["id", "split"])
    return dict(zip(table["id"].to_pylist(), table["split"].to_pylist(), strict=True))


def _copy_table(path: Path, name: str, folder: Path, split_of: Mapping[str, str]) -> Counter[str]:
    """Copy the rows to a file for each split of their tasks; columns as they are."""
    record, key = TABLES[name], "id" if name == "tasks" else "task_id"
    counts: Counter[str] = Counter()
    with Writers(folder, arrow_schema(record)) as writers:
        for batch in pq.ParquetFile(path).iter_batches(batch_size=BATCH):
            splits = pa.array([split_of.get(id, "") for id in batch.column(key).to_pylist()])
            for split in SPLITS:
                part = batch.filter(pc.equal(splits, split))
                if part.num_rows:
                    writers.write_batch(split, part)
                    counts[split] += part.num_rows
    return counts


def _card(counts: Mapping[str, Mapping[str, int]]) -> str:
    """The dataset card: which files are which table and split, and what their columns mean."""
    configs = []
    for name, counted in counts.items():
        files = [
            f"  - split: {split}\n    path: data/{name}/{split}.parquet\n" for split in SPLITS if counted.get(split)
        ]
        if files:
            default = "  default: true\n" if name == "tasks" else ""
            configs.append(f"- config_name: {name}\n{default}  data_files:\n{''.join(files)}")
    tables = "\n\n".join(f"## {name}\n\n{told(counts[name])}\n\n{_columns(TABLES[name])}" for name in counts)
    return _CARD.format(configs="".join(configs), mark=mark("hf"), version=__version__, tables=tables)


_CARD = """\
---
pretty_name: SynthAgent tasks
language:
- en
task_categories:
- text-generation
tags:
- agents
- tool-use
- reinforcement-learning
- synthetic
configs:
{configs}---
{mark}
# SynthAgent tasks

Tool-use tasks with a hidden part: what only the user knows, the agent must ask for. Made by SynthAgent {version}
(after arXiv 2601.22511).

```python
from datasets import load_dataset
tasks = load_dataset("PATH_OR_NAME", "tasks", split="train")
```

Columns marked JSON hold JSON text, as their shape is open.
Rows of the other tables belong to a task by `task_id`, and are in its split.

{tables}
"""


def _columns(record: type[Record]) -> str:
    lines = []
    for name, field in record.model_fields.items():
        notes = ["JSON"] if JsonText in field.metadata else []
        lines.append(
            f"- `{name}`: {'; '.join([*notes, *([field.description] if field.description else [])])}".rstrip(": ")
        )
    return "\n".join(lines)
