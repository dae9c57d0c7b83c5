"""A record as Parquet columns, and back. The schema is derived from the record, so columns are written down once.

A field marked `JsonText` is one column of JSON text; a field of records is a list of structs.
"""

from __future__ import annotations

import functools
import json
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

import pyarrow as pa

from synthagent.frozen import JsonText, Record
from synthagent.records import FORMAT

FORMAT_KEY = b"synthagent.format"
_SCALARS = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


def arrow_schema(record: type[Record]) -> pa.Schema:
    """The Parquet columns of a record; the metadata say which format they are."""
    columns = [pa.field(name, _arrow_type(field)) for name, field in record.model_fields.items()]
    return pa.schema(columns, {FORMAT_KEY: str(FORMAT)})


def to_row(row: Record) -> dict[str, Any]:
    """The values of a record, as its columns hold them."""
    dumped = row.model_dump(mode="json")
    return {column.name: _converted(column, dumped[column.name], json.dumps) for column in _columns(type(row))}


def to_values(row: Mapping[str, Any], record: type[Record]) -> dict[str, Any]:
    """What a record, or some of its fields, was made of; raises ValueError where JSON text is none."""
    columns = _columns(record)
    return {column.name: _converted(column, row[column.name], json.loads) for column in columns if column.name in row}


@dataclass(frozen=True, slots=True)
class _Column:
    """A field as a column: whether it is JSON text; the record that its structs are of, if it is a list of such."""

    name: str
    json: bool
    item: type[Record] | None


@functools.cache
def _columns(record: type[Record]) -> tuple[_Column, ...]:
    """The columns of a record, looked up once: they are asked for at each of many thousand rows."""
    return tuple(
        _Column(name, JsonText in field.metadata, _item_record(field.annotation))
        for name, field in record.model_fields.items()
    )


def _converted(column: _Column, value: Any, of_json: Callable[[Any], Any]) -> Any:
    """A value with `of_json` done to whatever in it is JSON text, or is to become it."""
    if value is None:
        return None
    if column.json:
        return of_json(value)
    if column.item is None:
        return value
    inner = _columns(column.item)
    return [{one.name: _converted(one, part[one.name], of_json) for one in inner} for part in value]


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
