"""Datasets on disk: records <-> Parquet. Writes are atomic and sorted; reads validate and name what is wrong.

The Arrow schema is derived from the record, so that columns are written down once, in `synthagent.records`.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from synthagent.errors import StoreError
from synthagent.frozen import JsonText, Record
from synthagent.records import FORMAT

R = TypeVar("R", bound=Record)
_ROWS_A_GROUP = 2_000
_FORMAT_KEY = b"synthagent.format"
_SCALARS = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


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
        batch.append(_to_row(row))
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
    _open(path, record)
    with _told_as_unreadable(path):
        rows = pq.read_table(path, filters=[(next(iter(record.model_fields)), "==", key)]).slice(0, 1).to_pylist()
        return _from_row(path, f"row {key!r}", rows[0], record) if rows else None


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


def arrow_schema(record: type[Record]) -> pa.Schema:
    """The Parquet columns of a record; the metadata say which format they are."""
    columns = [pa.field(name, _arrow_type(field)) for name, field in record.model_fields.items()]
    return pa.schema(columns, {_FORMAT_KEY: str(FORMAT)})


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
    version = (file.schema_arrow.metadata or {}).get(_FORMAT_KEY, b"1").decode("utf-8", "replace")
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


def _to_row(row: Record) -> dict[str, Any]:
    dumped = row.model_dump(mode="json")
    return {name: _encode(field, dumped[name]) for name, field in type(row).model_fields.items()}


def _encode(field: Any, value: Any) -> Any:
    if JsonText in field.metadata:
        return None if value is None else json.dumps(value)
    item = _item_record(field.annotation)
    if item is None or value is None:
        return value
    return [{name: _encode(inner, part[name]) for name, inner in item.model_fields.items()} for part in value]


def _from_row(path: Path, place: str, row: dict[str, Any], record: type[R]) -> R:
    try:
        return record.model_validate({name: _decode(f, row[name]) for name, f in record.model_fields.items()})
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


def _decode(field: Any, value: Any) -> Any:
    if JsonText in field.metadata:
        return None if value is None else json.loads(value)
    item = _item_record(field.annotation)
    if item is None or value is None:
        return value
    return [{name: _decode(inner, part[name]) for name, inner in item.model_fields.items()} for part in value]


def _item_record(annotation: Any) -> type[Record] | None:
    """The record type X of a field declared `tuple[X, ...]`."""
    if get_origin(annotation) is tuple and isinstance(get_args(annotation)[0], type):
        item = get_args(annotation)[0]
        return item if issubclass(item, Record) else None
    return None


def _arrow_type(field: Any) -> pa.DataType:
    return pa.string() if JsonText in field.metadata else _arrow_type_of(field.annotation)


def _arrow_type_of(annotation: Any) -> pa.DataType:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return pa.string()
    if origin in (Union, types.UnionType):
        return _arrow_type_of(next(arg for arg in args if arg is not type(None)))
    if origin is tuple:
        item = args[0]
        if isinstance(item, type) and issubclass(item, Record):
            return pa.list_(pa.struct([(name, _arrow_type(f)) for name, f in item.model_fields.items()]))
        return pa.list_(_arrow_type_of(item))
    return _SCALARS[annotation]
