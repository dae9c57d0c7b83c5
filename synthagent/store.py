"""Datasets on disk: records <-> Parquet. Writes are atomic and sorted; reads validate and name what is wrong.

What the columns of a record are is in `synthagent.columns`.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from synthagent.columns import FORMAT_KEY, arrow_schema, to_row, to_values
from synthagent.errors import StoreError
from synthagent.frozen import Record
from synthagent.records import FORMAT

R = TypeVar("R", bound=Record)
_ROWS_A_GROUP = 2_000


def write_records(path: Path, record: type[R], rows: Iterable[R]) -> int:
    """Write rows (already sorted by their first column) to `path` and return how many; all or nothing.

    Raises:
        StoreError: as `records_written`.
    """
    count = 0
    with records_written(path, record) as write:
        for row in rows:
            write(row)
            count += 1
    return count


@contextmanager
def records_written(path: Path, record: type[R]) -> Iterator[Callable[[R], None]]:
    """Yield a function that takes the rows of `path` one by one, sorted by their first column; all or nothing.

    Streams: memory does not grow with the number of rows.

    Raises:
        StoreError: the disk is full, read-only, or otherwise refuses; or the rows are not sorted.
    """
    schema = arrow_schema(record)
    last, batch = "", list[dict[str, Any]]()

    def write(row: R) -> None:
        nonlocal last
        first = str(getattr(row, schema.names[0]))
        if first < last:
            raise StoreError(f"{path}: rows must be sorted by {schema.names[0]}: {first!r} after {last!r}")
        last = first
        batch.append(to_row(row))
        if len(batch) == _ROWS_A_GROUP:
            writer.write_table(pa.Table.from_pylist(batch, schema))
            batch.clear()

    with _atomically(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        yield write
        writer.write_table(pa.Table.from_pylist(batch, schema))


def read_records(path: Path, record: type[R]) -> Iterator[R]:
    """Yield the rows of `path`, validated, a row group at a time.

    Raises:
        StoreError: no such file, not Parquet, another schema, or a row that breaks a rule; says which row and rule.
    """
    file = _open(path, record)
    number = 0
    with _told_as_unreadable(path):
        for batch in file.iter_batches(batch_size=_ROWS_A_GROUP):
            for row in batch.to_pylist():
                number += 1
                yield _from_row(path, f"row {number}", row, record)


def find_record(path: Path, record: type[R], key: str) -> R | None:
    """The row whose first column is `key`, if there is one; no other row is validated.

    Raises:
        StoreError: as `read_records`.
    """
    return next(iter(find_records(path, record, [key])), None)


def find_records(path: Path, record: type[R], keys: Collection[str]) -> list[R]:
    """The rows whose first column is one of `keys`, in their order; no other row is validated.

    Raises:
        StoreError: as `read_records`.
    """
    column = next(iter(record.model_fields))
    _open(path, record)
    with _told_as_unreadable(path):
        rows = pq.read_table(path, filters=[(column, "in", list(keys))]).to_pylist() if keys else []
    return [_from_row(path, f"row {row[column]!r}", row, record) for row in rows]


def read_columns(path: Path, record: type[Record], columns: Sequence[str]) -> list[dict[str, Any]]:
    """Some columns of all rows, not validated.

    Raises:
        StoreError: as `read_records`.
    """
    file = _open(path, record)
    with _told_as_unreadable(path):
        rows = file.read(list(columns)).to_pylist()
    try:
        return [to_values(row, record) for row in rows]
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path}: not JSON: {error}; run `dvc repro` to rebuild it") from None


def read_keys(path: Path, record: type[Record]) -> list[str]:
    """The first column.

    Raises:
        StoreError: as `read_records`.
    """
    with _told_as_unreadable(path):
        column = next(iter(record.model_fields))
        return [str(key) for key in _open(path, record).read([column]).column(column).to_pylist()]


def read_details(path: Path) -> dict[str, Any]:
    """What a stage said of its run in a JSON file.

    Raises:
        StoreError: no such file, or not a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"{path}: no such file; run the stage that writes it (see dvc.yaml), or `dvc repro`") from None
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path}: not readable JSON ({error}); run `dvc checkout` or `dvc repro`") from None
    if not isinstance(content, dict):
        raise StoreError(f"{path}: not a JSON object; run `dvc checkout` or `dvc repro`")
    return content


def write_text(path: Path, text: str) -> None:
    """Write a text file, all or nothing.

    Raises:
        StoreError: the disk refuses.
    """
    with _atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_lines(path: Path, lines: Iterable[str]) -> int:
    """Write the lines of a text file and return how many, all or nothing. Streams.

    Raises:
        StoreError: the disk refuses.
    """
    count = 0
    with _atomically(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(f"{line}\n")
            count += 1
    return count


@contextmanager
def directory_written_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary directory; on success it takes the place of `path`.

    Raises:
        StoreError: the disk refuses.
    """
    with _told_as_store_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
        try:
            yield temporary
            temporary.chmod(0o755)
            if path.exists():
                old = path.with_name(f".{path.name}.old")
                shutil.rmtree(old, ignore_errors=True)
                path.rename(old)
                temporary.rename(path)
                shutil.rmtree(old)
            else:
                temporary.rename(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def _open(path: Path, record: type[Record]) -> pq.ParquetFile:
    with _told_as_unreadable(path):
        file = pq.ParquetFile(path)
    version = (file.schema_arrow.metadata or {}).get(FORMAT_KEY, b"1").decode("utf-8", "replace")
    if version != str(FORMAT):
        raise StoreError(
            f"{path}: has format {version}, but this version of synthagent reads format {FORMAT}; "
            "run `dvc repro` to make it again (tasks of your own: see `synthagent.format` in CHANGELOG.md)"
        )
    expected, found = set(arrow_schema(record).names), set(file.schema_arrow.names)
    if expected != found:
        lacking, surplus = sorted(expected - found), sorted(found - expected)
        raise StoreError(
            f"{path}: written by another version: lacks columns {lacking}, has unknown columns {surplus}; "
            "run `dvc repro` to rebuild it"
        )
    return file


@contextmanager
def _told_as_unreadable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise StoreError(f"{path}: no such file; run the stage that writes it (see dvc.yaml), or `dvc repro`") from None
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{path}: not a readable Parquet file ({error}); run `dvc checkout` or `dvc repro`") from None


@contextmanager
def _atomically(path: Path) -> Iterator[Path]:
    with _told_as_store_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            yield temporary
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def _told_as_store_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(f"{path}: cannot be written: {reason}; what was there is unchanged") from error


def _from_row(path: Path, place: str, row: dict[str, Any], record: type[R]) -> R:
    try:
        return record.model_validate(to_values(row, record))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise StoreError(f"{path}: {place}: {where}: {fault['msg']}; run `dvc repro` to rebuild it") from None
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path}: {place}: not JSON: {error}; run `dvc repro` to rebuild it") from None
    except (KeyError, TypeError) as error:
        raise StoreError(
            f"{path}: {place}: written by another version: {error}; run `dvc repro` to rebuild it"
        ) from None
