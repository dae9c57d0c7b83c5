"""The base of all records, params and answers of models: frozen, described, validated."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

Json = Any


class JsonText:
    """Marks a field that Parquet stores as JSON text."""


class Record(BaseModel):
    """Base of all records: immutable, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")
