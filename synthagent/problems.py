"""Problems that tasks must not be copies of: of a benchmark, or of a file of the user's. Files <-> records.

A file is JSON lines or Parquet, a row a problem: `instruction` (or `text`, `question`: a text, texts or chat messages),
and optionally `id`, `tools` (function schemas), `answer` (calls, or a text), `category`, `source`; or .txt, a line one.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, ValidationError

from synthagent.errors import InputError
from synthagent.frozen import Json, Record
from synthagent.store import write_lines
from synthagent.text import MOST_CHARACTERS, clean_value

_TEXTS = ("instruction", "instructions", "text", "question")
_ENDINGS = (".jsonl", ".parquet", ".txt")


class Signature(Record):
    """A tool, as far as it can be recognised."""

    name: str
    parameters: tuple[str, ...] = ()
    shape: str = Field(default="", description="the types of what it takes, where a suite tells them")


class RightCall(Record):
    """A call that is right."""

    name: str
    arguments: dict[str, Json] = Field(default_factory=dict)


class KnownProblem(Record):
    """A problem that a task must not be a copy of."""

    id: str
    source: str = Field(description="the benchmark with its version, or the file")
    category: str = ""
    instructions: tuple[str, ...] = Field(description="what the user says, of several turns one by one")
    tools: tuple[Signature, ...] = ()
    answers: tuple[RightCall, ...] = ()
    answer_texts: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As messages name it."""
        return f"{self.source} {self.id}"


class _UnfitError(Exception):
    """What is wrong with a row, and what it should be."""


def write_problems(path: Path, problems: Iterable[KnownProblem]) -> int:
    """Write a file that `read_problems` reads; say how many.

    Raises:
        StoreError: the disk refuses.
    """
    return write_lines(path, (problem.model_dump_json(exclude_defaults=True) for problem in problems))


def read_problems(path: Path, place: str) -> list[KnownProblem]:
    """The problems of a file, or of all files of a folder. `place`: what names it, for messages.

    Raises:
        InputError: no such file, of an unknown kind, or empty; or a row that is no problem.
    """
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if not file.name.startswith(".") and file.is_file())
        if not files:
            raise InputError(f"{place}: {path}: no file in it; put files of problems there, or give one")
    return [problem for file in files for problem in _of_file(file, place)]


def _of_file(path: Path, place: str) -> list[KnownProblem]:
    match path.suffix:
        case ".jsonl":
            found = [_problem(row, f"{path}:{number}", path, number) for number, row in _lines(path, place)]
        case ".txt":
            lines = enumerate(_text(path, place).split("\n"), 1)
            rows = [(number, line.strip()) for number, line in lines if line.strip()]
            found = [_problem({"text": line}, f"{path}:{number}", path, number) for number, line in rows]
        case ".parquet":
            found = [_problem(row, f"{path}: row {number}", path, number) for number, row in _rows(path, place)]
        case _:
            raise InputError(f"{place}: {path}: not a file of problems; give one of {', '.join(_ENDINGS)}")
    if not found:
        raise InputError(f'{place}: {path}: no problem in it; give rows such as {{"instruction": "Cancel my order"}}')
    return found


def _text(path: Path, place: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{place}: {path}: {error.strerror}; give a file or a folder of problems, or null") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{place}: {path}: not UTF-8 text at byte {error.start}; convert it to UTF-8") from None


def _lines(path: Path, place: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(_text(path, place).split("\n"), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{path}:{number}: not JSON ({error}); give one JSON object a line") from None


def _rows(path: Path, place: str) -> Iterator[tuple[int, Any]]:
    try:
        table = pq.read_table(path)
    except OSError as error:
        raise InputError(f"{place}: {path}: {error.strerror or error}; give a file of problems, or null") from None
    except pa.ArrowException as error:
        raise InputError(f"{place}: {path}: not a readable Parquet file ({error}); write it again") from None
    yield from enumerate(table.to_pylist(), 1)


def _problem(row: Any, place: str, path: Path, number: int) -> KnownProblem:
    if not isinstance(row, dict):
        raise InputError(f"{place}: not a JSON object; give an object with an `instruction`")
    row = clean_value(row)
    try:
        said = next((row[name] for name in _TEXTS if row.get(name) is not None), None)
        texts = [text for text in _texts(said) if text.strip()]
        if not texts:
            raise _UnfitError(f"no text under {', '.join(f'`{name}`' for name in _TEXTS)}")
        answers = row.get("answer", row.get("answers"))
        return KnownProblem(
            id=str(row.get("id") or number),
            source=str(row.get("source") or path.name),
            category=str(row.get("category") or ""),
            instructions=tuple(texts),
            tools=tuple(map(_signature, _list(row.get("tools"), "tools"))),
            answers=tuple(_call(one) for one in _list(answers, "answer") if isinstance(one, dict)),
            answer_texts=(
                *_texts(row.get("answer_texts")),
                *(one for one in _list(answers, "answer") if isinstance(one, str)),
            ),
        )
    except (_UnfitError, ValidationError, RecursionError) as fault:
        why = str(fault) if isinstance(fault, _UnfitError) else "a field of the wrong kind"
        raise InputError(f"{place}: {why}; see synthagent/problems.py for what a row may be") from None


def _texts(value: Any) -> list[str]:
    """The texts of a user: as they are, or in chat messages, in lists of any depth."""
    match value:
        case None:
            return []
        case str():
            if len(value) >= MOST_CHARACTERS:
                raise _UnfitError(f"a text of {MOST_CHARACTERS:,} characters or more")
            return [value]
        case list():
            return [text for part in value for text in _texts(part)]
        case {"content": content}:
            return _texts(content) if value.get("role", "user") == "user" else []
    raise _UnfitError(f"an instruction must be a text, texts or chat messages, but it is {reprlib.repr(value)}")


def _list(value: Any, name: str) -> list[Any]:
    """A list, as it is or as JSON text; what is no JSON is a text."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            value = json.loads(value)
        except ValueError:
            return [value]
    match value:
        case None:
            return []
        case list() if all(isinstance(part, dict | str) for part in value):
            return value
        case dict() | str():
            return [value]
    raise _UnfitError(f"`{name}` must be a list, or JSON text of one, but it is {reprlib.repr(value)}")


def _signature(tool: Any) -> Signature:
    schema = tool.get("function", tool) if isinstance(tool, dict) else None
    if not isinstance(schema, dict) or not isinstance(schema.get("name"), str):
        raise _UnfitError(f"a tool must be a function schema with a `name`, but it is {reprlib.repr(tool)}")
    parameters = schema.get("parameters") or []
    names = parameters.get("properties") or {} if isinstance(parameters, dict) else parameters
    if not isinstance(names, dict | list) or not all(isinstance(name, str) for name in names):
        raise _UnfitError(f"`parameters` of {schema['name']!r} must be a JSON schema, or a list of names")
    return Signature(name=schema["name"], parameters=tuple(names), shape=str(schema.get("shape") or ""))


def _call(call: dict[str, Any]) -> RightCall:
    called = call.get("function", call)
    if not isinstance(called, dict) or not isinstance(called.get("name"), str):
        raise _UnfitError(f"a call must have a `name` and `arguments`, but it is {reprlib.repr(call)}")
    arguments = called.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            arguments = None
    if not isinstance(arguments, dict):
        raise _UnfitError(f"`arguments` of {called['name']!r} must be an object")
    return RightCall(name=called["name"], arguments=arguments)
