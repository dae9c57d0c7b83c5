"""Datasets on disk: what goes in comes out, writes are all or nothing, and bad files are named."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.projects import assert_one_message, synthagent
from helpers.tasks import accepted_tasks, played, rubric_of
from hypothesis import given
from hypothesis import strategies as st

from synthagent.columns import arrow_schema
from synthagent.errors import StoreError
from synthagent.frozen import Record
from synthagent.judging.reward import verdicts_by_check
from synthagent.records import Evaluation, Persona, Rejected, Reward, Rubric, Task, Trajectory
from synthagent.stage import Paths
from synthagent.store import (
    directory_written_atomically,
    find_record,
    read_keys,
    read_records,
    write_records,
    write_text,
)

PERSONAS = [Persona(id=f"p{n}", text=f"persona {n}", source="test") for n in range(5)]


def some_of_each() -> Iterator[tuple[type[Record], list[Any]]]:
    """Rows of every record that is stored, sorted."""
    tasks = list(accepted_tasks()[:40])
    rewards, trajectories, rubrics = [], [], []
    for task in tasks:
        episode, rubric = played(task), rubric_of(task)
        trajectory = episode.trajectory("expert")
        verdicts = verdicts_by_check(rubric, episode.world)
        values = dict.fromkeys(("gate", "subgoals", "interactions", "reward", "reward_paper"), 1.0)
        trajectories.append(trajectory)
        rubrics.append(rubric)
        reward = {"trajectory_id": trajectory.id, "task_id": task.id, "verdicts": verdicts, "status": "ok", **values}
        rewards.append(Reward.model_validate(reward))
    nothing = dict.fromkeys(("gate", "subgoals", "interactions", "reward", "reward_paper"))
    rewards.append(Reward(trajectory_id="zzz", task_id="zzz", verdicts=(), status="error", **nothing))
    yield Persona, PERSONAS
    yield Task, tasks
    yield Rubric, rubrics
    yield Trajectory, trajectories
    yield Reward, rewards
    yield Rejected, [Rejected(id="a", stage="tasks", reason="no_leak", detail="", payload="{}")]
    shares = dict.fromkeys(("reward", "reward_paper", "gate", "subgoals", "interactions"), 0.5)
    counts = {"difficulty": 1, "sample": 0, "n_turns": 3, "n_questions": 1}
    names = {
        "policy": "sft",
        "benchmark": "own",
        "task_id": "t",
        "split": "train",
        "decoding": "greedy",
        "end": "answer",
    }
    yield Evaluation, [Evaluation.model_validate({**names, **counts, **shares})]


@pytest.mark.parametrize(("record", "rows"), list(some_of_each()), ids=lambda value: getattr(value, "__name__", ""))
def test_every_record_comes_back_as_it_was_written(record: type[Record], rows: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    assert write_records(path, record, rows) == len(rows)
    assert list(read_records(path, record)) == rows
    assert pq.read_schema(path).names == list(record.model_fields)
    first = next(iter(record.model_fields))
    assert find_record(path, record, getattr(rows[-1], first)) == rows[-1]
    assert read_keys(path, record) == [getattr(row, first) for row in rows]


@given(st.lists(st.text(max_size=30), max_size=5))
def test_any_text_comes_back_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("texts") / "rows.parquet"
    rows = [
        Trajectory(
            id=f"{n}", task_id="t", policy="p", sample=0, messages=({"role": "assistant", "content": text},),
            n_turns=1, n_tool_calls=0, n_questions=0, end="answer",
        )
        for n, text in enumerate(texts)
    ]  # fmt: skip
    write_records(path, Trajectory, rows)
    assert list(read_records(path, Trajectory)) == rows


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_records(tmp_path / name, Task, accepted_tasks()[:40])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_more_rows_than_a_row_group_come_back_in_order(tmp_path: Path) -> None:
    rows = [Persona(id=f"{n:06d}", text="x", source="test") for n in range(4_001)]
    write_records(tmp_path / "rows.parquet", Persona, iter(rows))
    assert list(read_records(tmp_path / "rows.parquet", Persona)) == rows


def test_no_rows_make_an_empty_dataset_with_all_columns(tmp_path: Path) -> None:
    write_records(tmp_path / "rows.parquet", Task, [])
    assert list(read_records(tmp_path / "rows.parquet", Task)) == []
    assert find_record(tmp_path / "rows.parquet", Task, "x") is None


def test_unsorted_rows_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    with pytest.raises(StoreError, match="sorted by id: 'p0' after 'p1'"):
        write_records(path, Persona, PERSONAS[1::-1])
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_midway_leaves_what_was_there_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_records(path, Persona, PERSONAS)
    before = path.read_bytes()

    def interrupted() -> Iterator[Persona]:
        yield PERSONAS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_records(path, Persona, interrupted())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_is_full_is_told_and_what_was_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_records(path, Persona, PERSONAS)
    before = path.read_bytes()
    script = f"""
import random, resource
from pathlib import Path
from synthagent.records import Persona
from synthagent.store import StoreError, write_records, write_text
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
noise = random.Random(0)
rows = (Persona(id=f"{{n:06d}}", text=noise.randbytes(50).hex(), source="x") for n in range(9_000))
path = Path({str(path)!r})
for write, args in ((write_records, (path, Persona, rows)), (write_text, (path, "x" * 10**6))):
    try:
        write(*args)
    except StoreError as error:
        print(error)
"""
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    lines = finished.stdout.splitlines()
    assert len(lines) == 2, finished
    assert all(line.startswith(f"{path}: cannot be written: ") and "unchanged" in line for line in lines)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    inside = tmp_path / "file" / "rows.parquet"
    with pytest.raises(StoreError, match=r"file/rows\.parquet: cannot be written: "):
        write_records(inside, Persona, PERSONAS)
    with pytest.raises(StoreError, match="cannot be written"):
        write_text(inside, "x")
    with pytest.raises(StoreError, match="cannot be written"), directory_written_atomically(inside):
        pass


def test_a_directory_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with directory_written_atomically(path) as folder:
        (folder / "weights").write_text("one")
        assert not path.exists()
    with directory_written_atomically(path) as folder:
        (folder / "weights").write_text("two")
        assert (path / "weights").read_text() == "one"
    assert (path / "weights").read_text() == "two"
    with pytest.raises(TypeError), directory_written_atomically(path) as folder:
        (folder / "weights").write_text(3)  # type: ignore[arg-type]
    assert (path / "weights").read_text() == "two"
    assert list(tmp_path.iterdir()) == [path]
    assert os.stat(path).st_mode & 0o755 == 0o755


# --- reading what is not right --------------------------------------------------------------------------------------


def assert_refused(path: Path, record: type[Record], *parts: str) -> None:
    """Reading `path` fails with one line that names the file, what is wrong, and the remedy."""
    with pytest.raises(StoreError) as raised:
        list(read_records(path, record))
    message = str(raised.value)
    for part in (str(path), "dvc", *parts):
        assert part in message, message
    assert "\n" not in message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert_refused(tmp_path / "none.parquet", Task, "no such file", "dvc repro")


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"id,text\n", os.urandom(500)], ids=["empty", "magic", "csv", "noise"]
)
def test_a_file_that_is_not_parquet_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(content)
    assert_refused(path, Persona, "not a readable Parquet file")


def test_a_directory_is_not_a_dataset(tmp_path: Path) -> None:
    assert_refused(tmp_path, Persona, "not a readable Parquet file")


def test_a_file_cut_short_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_records(path, Persona, PERSONAS)
    path.write_bytes(path.read_bytes()[:-20])
    assert_refused(path, Persona, "not a readable Parquet file")


def test_a_file_with_damage_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_records(path, Task, accepted_tasks()[:40])
    content = bytearray(path.read_bytes())
    content[100:2_000] = bytes(1_900)
    path.write_bytes(content)
    assert_refused(path, Task, "not a readable Parquet file")
    with pytest.raises(StoreError, match="not a readable"):
        find_record(path, Task, accepted_tasks()[0].id)


def test_a_file_of_an_older_version_is_told_by_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_records(path, Persona, PERSONAS)
    table = pq.read_table(path)
    pq.write_table(table.drop(["source"]).append_column("origin", pa.array(["x"] * 5)), path)
    assert_refused(path, Persona, "another version", "lacks columns ['source']", "unknown columns ['origin']")
    with pytest.raises(StoreError, match="another version"):
        read_keys(path, Persona)


def test_a_part_of_an_older_version_inside_a_column_is_told(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    criteria = [[{"id": "s1", "kind": "subgoal", "text": "x"}]]  # `check` came later
    table = pa.table({"task_id": ["t"], "criteria": criteria, "coverage": [1.0]})
    pq.write_table(table.replace_schema_metadata(arrow_schema(Rubric).metadata), path)
    assert_refused(path, Rubric, "row 1", "another version", "check")


@pytest.mark.parametrize(("metadata", "told"), [(None, "format 1"), ({b"synthagent.format": b"4"}, "format 4")])
@pytest.mark.parametrize("read", [read_records, read_keys, lambda path, record: find_record(path, record, "a")])
def test_another_format_is_one_message_with_file_formats_and_remedy(
    metadata: dict[bytes, bytes] | None, told: str, read: Callable[[Path, type[Record]], Any], tmp_path: Path
) -> None:
    path = tmp_path / "rows.parquet"
    write_records(path, Persona, PERSONAS)
    pq.write_table(pq.read_table(path).replace_schema_metadata(metadata), path)
    with pytest.raises(StoreError) as refused:
        list(read(path, Persona) or ())
    for part in (f"{path}: ", told, "reads format 3", "dvc repro"):
        assert part in str(refused.value)


def test_stored_tasks_demonstrations_and_rollouts_of_the_previous_format_end_their_stages(project: Path) -> None:
    shutil.copy(Paths.demos, Paths.rollouts)
    for path, stage in ((Paths.rollouts, "rewards"), (Paths.demos, "sft"), (Paths.tasks, "rubrics")):
        pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
        assert_one_message(synthagent(stage, cwd=project), f"{path}: has format 1", "reads format 3", "dvc repro")


def replace_in_column(path: Path, record: type[Record], column: str, row: int, value: Any) -> None:
    table = pq.read_table(path)
    values = table.column(column).to_pylist()
    values[row] = value
    position = table.schema.names.index(column)
    field = arrow_schema(record).field(column)
    pq.write_table(table.set_column(position, field, pa.array(values, field.type)), path)


@pytest.mark.parametrize(
    ("column", "value", "parts"),
    [
        ("difficulty", 9, ("row 2", "difficulty", "less than or equal to 3")),
        ("split", "test", ("row 2", "split", "'train', 'heldout' or 'unseen_domain'")),
        ("id", None, ("row 2", "id", "valid string")),
        ("world", "{not json", ("row 2", "not JSON")),
        ("world", '{"tables": {}}', ("row 2", "world.effects", "required")),
        ("reference", '[{"kind": "dance"}]', ("row 2", "reference.0", "'dance'")),
        ("tools", "[" * 10_000, ("row 2", "not JSON")),
    ],
)
def test_a_row_that_breaks_a_rule_is_named(column: str, value: Any, parts: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_records(path, Task, accepted_tasks()[:3])
    replace_in_column(path, Task, column, 1, value)
    assert_refused(path, Task, *parts)


def test_finding_a_row_does_not_care_about_the_others(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    tasks = accepted_tasks()[:3]
    write_records(path, Task, tasks)
    replace_in_column(path, Task, "difficulty", 1, 9)
    assert find_record(path, Task, tasks[2].id) == tasks[2]
    assert find_record(path, Task, "nothing") is None
    with pytest.raises(StoreError, match=f"row '{tasks[1].id}': difficulty"):
        find_record(path, Task, tasks[1].id)


def test_scalars_and_lists_are_native_columns_and_open_shapes_are_json_text() -> None:
    schema = arrow_schema(Task)
    assert schema.field("difficulty").type == pa.int64()
    assert schema.field("solvable").type == pa.bool_()
    assert schema.field("workflow").type == pa.list_(pa.string())
    assert schema.field("facts").type.value_type.field("slot").type == pa.string()
    assert {schema.field(name).type for name in ("world", "tools", "reference", "provenance")} == {pa.string()}


def test_nested_json_text_is_plain_json(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_records(path, Task, accepted_tasks()[:1])
    (row,) = pq.read_table(path).to_pylist()
    assert json.loads(row["world"])["tables"]
    assert json.loads(row["tools"])[0]["type"] == "function"
