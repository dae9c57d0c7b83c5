"""Files of problems: what a row may be, and what is told of one that is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synthagent.errors import InputError
from synthagent.problems import KnownProblem, RightCall, Signature, read_problems, write_problems

PROBLEM = KnownProblem(
    id="a1",
    source="bfcl 1",
    category="simple",
    instructions=("Book it", "Now cancel it"),
    tools=(Signature(name="book", parameters=("what", "when")),),
    answers=(RightCall(name="book", arguments={"what": "it"}),),
    answer_texts=("done",),
)


def read(folder: Path, name: str, content: str | bytes) -> list[KnownProblem]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_problems(path, "--files")


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    assert write_problems(tmp_path / "p.jsonl", [PROBLEM]) == 1
    assert read_problems(tmp_path / "p.jsonl", "--files") == [PROBLEM]
    (tmp_path / "q.txt").write_text("One problem\n\nAnother\n")
    (tmp_path / ".gitignore").write_text("*")
    assert [problem.source for problem in read_problems(tmp_path, "--files")] == ["bfcl 1", "q.txt", "q.txt"]


SCHEMA = {"type": "function", "function": {"name": "book", "parameters": {"properties": {"what": {}}}}}


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "Book it", "tools": [SCHEMA], "answer": [{"name": "book", "arguments": {"what": "it"}}]},
        {"text": "Book it", "tools": json.dumps([SCHEMA]), "answer": '{"name": "book", "arguments": {"what": "it"}}'},
        {
            "question": [[{"role": "system", "content": "You book."}, {"role": "user", "content": "Book it"}]],
            "tools": [SCHEMA["function"]],
            "answer": [{"function": {"name": "book", "arguments": '{"what": "it"}'}}],
        },
    ],
)
def test_a_row_may_be_written_in_the_ways_that_are_common(tmp_path: Path, row: dict[str, Any]) -> None:
    (problem,) = read(tmp_path, "p.jsonl", json.dumps(row))
    assert (problem.id, problem.source, problem.instructions) == ("1", "p.jsonl", ("Book it",))
    assert problem.tools == (Signature(name="book", parameters=("what",)),)
    assert problem.answers == (RightCall(name="book", arguments={"what": "it"}),)
    pq.write_table(pa.Table.from_pylist([{"instruction": "Book it", "answer": "Tuesday"}]), tmp_path / "p.parquet")
    (problem,) = read_problems(tmp_path / "p.parquet", "--files")
    assert (problem.instructions, problem.answer_texts) == (("Book it",), ("Tuesday",))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("p.csv", "a,b", "not a file of problems; give one of .jsonl, .parquet, .txt"),
        ("p.jsonl", "", "no problem in it"),
        ("p.txt", "\n", "no problem in it"),
        ("p.jsonl", '{"text": "a"}\n{"text": ', "p.jsonl:2: not JSON"),
        ("p.jsonl", "[" * 100_000, "p.jsonl:1: not JSON"),
        ("p.jsonl", "3", "p.jsonl:1: not a JSON object"),
        ("p.jsonl", '{"prompt": "a"}', "p.jsonl:1: no text under `instruction`"),
        ("p.jsonl", '{"text": 3}', "p.jsonl:1: an instruction must be a text"),
        ("p.jsonl", '{"text": "a", "tools": 3}', "p.jsonl:1: `tools` must be a list"),
        ("p.jsonl", '{"text": "a", "tools": [{"x": 1}]}', "p.jsonl:1: a tool must be a function schema"),
        ("p.jsonl", '{"text": "a", "tools": [{"name": "f", "parameters": 3}]}', "`parameters` of 'f' must be"),
        ("p.jsonl", '{"text": "a", "answer": [{"name": "f", "arguments": "x"}]}', "`arguments` of 'f' must be"),
        ("p.jsonl", '{"text": "a", "answer_texts": 3}', "p.jsonl:1: an instruction must be a text"),
        ("p.jsonl", b"\xff", "not UTF-8 text at byte 0"),
        ("p.parquet", "no", "not a readable Parquet file"),
    ],
)
def test_what_is_no_file_of_problems_is_told_in_a_line(
    tmp_path: Path, name: str, content: str | bytes, told: str
) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, name, content)
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


def test_a_missing_file_and_an_empty_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.txt: No such file"):
        read_problems(tmp_path / "gone.txt", "--files")
    with pytest.raises(InputError, match="no file in it"):
        read_problems(tmp_path, "--files")
