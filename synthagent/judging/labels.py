"""People's verdicts, to compare the judge with: a CSV file with trajectory_id, criterion, passed -> verdicts."""

from __future__ import annotations

import csv
from pathlib import Path

from synthagent.errors import InputError
from synthagent.judging.agreement import Place

_COLUMNS = ("trajectory_id", "criterion", "passed")
_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no")
_MOST_FAULTS = 3


def read_labels(path: Path) -> dict[Place, bool]:
    """The labels in a file; further columns are ignored.

    Raises:
        InputError: no such file, not UTF-8 CSV, a column lacks, or bad rows; names the lines.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            lacking = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
            if lacking:
                raise InputError(f"{path}:1: no column {', '.join(lacking)}; the columns are {', '.join(_COLUMNS)}")
            labels, faults = _read(rows)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give a CSV file with {', '.join(_COLUMNS)}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not CSV in UTF-8: {error}; save it again as such") from None
    if faults:
        more = f", and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
        raise InputError(f"{path}: {'; '.join(faults[:_MOST_FAULTS])}{more}; mend or remove these lines")
    if not labels:
        raise InputError(f"{path}: there is no label in it; add a row a verdict")
    return labels


def _read(rows: csv.DictReader[str]) -> tuple[dict[Place, bool], list[str]]:
    labels: dict[Place, bool] = {}
    faults = []
    for row in rows:
        name, criterion, passed = ((row[column] or "").strip() for column in _COLUMNS)
        place = Place(name, criterion)
        if not name or not criterion:
            faults.append(f"line {rows.line_num}: trajectory_id or criterion is empty")
        elif passed.lower() not in _TRUE + _FALSE:
            faults.append(f"line {rows.line_num}: passed is {passed[:40]!r}, not true or false")
        elif labels.setdefault(place, passed.lower() in _TRUE) != (passed.lower() in _TRUE):
            faults.append(f"line {rows.line_num}: contradicts an earlier line on {name[:80]} {criterion[:40]}")
    return labels, faults
