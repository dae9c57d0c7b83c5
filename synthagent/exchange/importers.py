"""Tasks that others wrote -> a Parquet file of our tasks. A JSON array or JSON lines -> TASKS.parquet, lines to print.

An item that cannot be used costs one line, and the others are imported; the file is written only if there is one, and
all at once. What is written can be proved again by `synthagent validate`.

Launch: `synthagent import agenticqwen FILE -o TASKS.parquet`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthagent.errors import InputError, StoreError
from synthagent.exchange.agenticqwen import task_of
from synthagent.exchange.expected import ItemError
from synthagent.judging.proofs import Uniqueness
from synthagent.records import Split, Task
from synthagent.stage import progress
from synthagent.store import read_keys, write_records
from synthagent.text import visible


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a file: its place, such as `item 3` or `line 3`, and its JSON value, or why it is none."""

    place: str
    value: Any = None
    fault: str = ""


def import_agenticqwen(path: Path, out: Path, split: Split = "train") -> Iterator[str]:
    """Write the tasks of `path` to `out`; yield a line for every item that is refused, and a summary.

    Raises:
        InputError: no such file, nothing in it that is JSON, or no item that can be imported; `out` is then untouched.
        StoreError: `out` cannot be written.
    """
    items = items_in(path)
    if out.exists() and out.samefile(path):
        raise InputError(f"{out}: is the file to import; give another one to write to")
    _check_replaceable(out)
    tasks, refused = dict[str, Task](), list[str]()
    for item in progress(items, len(items), "import"):
        try:
            task = _task_of(item, path.name, split)
            if task.id in tasks:
                raise ItemError("id", f"an earlier item has the same, {task.provenance['source_id']!r}")
            tasks[task.id] = task
        except ItemError as error:
            name = f" ({str(item.value['id'])[:60]})" if isinstance(item.value, dict) and "id" in item.value else ""
            refused.append(visible(f"{item.place}{name}: refused: {error}"[:400]).replace("\n", " "))
    if not tasks:
        first = refused[0] if refused else "it has no items"
        raise InputError(f"{path}: none of its {len(items)} items can be imported; {first}")
    yield from refused
    rows, alike = _unique([tasks[id] for id in sorted(tasks)])
    write_records(out, Task, rows)
    if alike:
        id, like = alike[0]
        yield f"{len(alike)} nearly the same as another, such as {id} as {like}; imported, but `validate` says so"
    yield _summary(out, rows, len(items))


def _check_replaceable(out: Path) -> None:
    """Nothing but a file of tasks may be lost to an import."""
    try:
        if out.exists():
            read_keys(out, Task)
    except StoreError:
        raise InputError(f"{out}: is there, and is no file of tasks; give a new file to write to") from None


def items_in(path: Path) -> list[Item]:
    """The items of a JSON array, or of JSON lines, in file order; broken ones among them.

    Raises:
        InputError: the file cannot be read, is empty, or is not JSON from the start.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give a file of tasks in the AgenticQwen format") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    start = text.lstrip()[:1]
    if start == "[":
        return list(_array(text))
    if start == "{":
        whole = _parsed(text)
        return [Item("item 1", whole)] if isinstance(whole, dict) else list(_lines(text))
    what = f"it begins with {start!r}" if start else "it is empty"
    raise InputError(f"{path}: neither a JSON array nor JSON lines: {visible(what)}")


def _array(text: str) -> Iterator[Item]:
    """Items of an array, up to the first that is not JSON: its end cannot be found."""
    decoder, spaces = json.JSONDecoder(), re.compile(r"\s*")
    place, number = text.index("[") + 1, 0
    while True:
        place = _end(spaces, text, place)
        if text[place : place + 1] == "]" and not text[place + 1 :].strip():
            return
        number += 1
        try:
            if number > 1:
                if text[place : place + 1] != ",":
                    raise ValueError("a comma or the closing bracket")
                place = _end(spaces, text, place + 1)
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            line = text.count("\n", 0, place) + 1
            yield Item(f"item {number}", fault=f"not JSON, at line {line}; it and what follows is not read")
            return
        yield Item(f"item {number}", value)


def _end(pattern: re.Pattern[str], text: str, place: int) -> int:
    match = pattern.match(text, place)
    return match.end() if match else place


def _lines(text: str) -> Iterator[Item]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            value = _parsed(line)
            yield Item(f"line {number}", value, "not JSON" if value is None else "")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _task_of(item: Item, source: str, split: Split) -> Task:
    if item.fault:
        raise ItemError("item", item.fault)
    return task_of(item.value, source, split)


def _unique(tasks: list[Task]) -> tuple[list[Task], list[tuple[str, str]]]:
    """The tasks with `unique` decided, and the pairs that are nearly the same.

    They are kept: the authors write several tasks for one `<policy>` and toolset, so their texts are long and similar.
    """
    index, rows, alike = Uniqueness(), list[Task](), list[tuple[str, str]]()
    for task in tasks:
        like = index.near_duplicate_of(task)
        rows.append(task.model_copy(update={"unique": like is None}))
        alike += [(task.id, like)] if like else []
    return rows, alike


def _summary(out: Path, tasks: list[Task], total: int) -> str:
    said = sum(len(task.world.said) for task in tasks)
    facts, open_ones = sum(len(task.facts) for task in tasks), sum(not task.facts for task in tasks)
    return (
        f"{out}: {len(tasks)} of {total} items imported, M answers the normal path of each; {said} known responses, "
        f"{facts} facts; {open_ones} tasks tell all in the request, and have no fact"
    )
