"""`synthagent import agenticqwen`: a file of items -> tasks, what is said of each, and what a bad file costs."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from helpers.agenticqwen import answers, item
from helpers.projects import ROOT, assert_one_message, synthagent

from synthagent.errors import InputError
from synthagent.exchange.importers import import_agenticqwen
from synthagent.judging.validate import validate_file
from synthagent.records import Task
from synthagent.store import read_records

REAL = ROOT.parent / "shared" / "data" / "agenticqwen_5.json"


def write(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "given.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def imported(tmp_path: Path, content: Any) -> tuple[list[str], list[Task]]:
    """What is said, and what is written."""
    out = tmp_path / "tasks.parquet"
    said = list(import_agenticqwen(write(tmp_path, content), out))
    return said, list(read_records(out, Task))


def test_a_broken_item_costs_one_line_and_the_others_are_imported(tmp_path: Path) -> None:
    said, tasks = imported(tmp_path, [item("b"), {"id": "z"}, item("a"), item("a"), 7])
    assert [task.id for task in tasks] == ["agenticqwen-a", "agenticqwen-b"]
    assert said[0].startswith("item 2 (z): refused: item: prompt: Field required")
    assert said[1].startswith("item 4 (a): refused: id: an earlier item has the same")
    assert said[2].startswith("item 5: refused: ")
    assert "2 of 5 items imported" in said[-1]


def test_json_lines_are_read_too_and_a_broken_line_is_named(tmp_path: Path) -> None:
    lines = "\n".join([json.dumps(item("a")), "", "{broken", json.dumps(item("b"))])
    said, tasks = imported(tmp_path, lines)
    assert len(tasks) == 2
    assert said[0] == "line 3: refused: item: not JSON"


def test_an_array_is_read_up_to_where_it_breaks(tmp_path: Path) -> None:
    text = json.dumps([item("a"), item("b")], indent=1)
    said, tasks = imported(tmp_path, text[: text.index('"id": "b"') + 4])
    assert [task.id for task in tasks] == ["agenticqwen-a"]
    assert said[0].startswith("item 2: refused: item: not JSON, at line ")


def test_a_single_object_and_a_byte_order_mark_are_fine(tmp_path: Path) -> None:
    assert len(imported(tmp_path, "\ufeff" + json.dumps(item(), indent=2))[1]) == 1


def test_imported_tasks_hold_what_proofs_a_simulated_world_can_have(tmp_path: Path) -> None:
    other = copy.deepcopy(item("c"))
    other["prompt"][1]["content"] = "I would like to know whether a boat is free before I pay for it, and then take it."
    _, tasks = imported(tmp_path, [item("b"), other])
    assert all(task.no_leak for task in tasks)
    failures = [line.text for line in validate_file(tmp_path / "tasks.parquet") if line.failed]
    assert len(failures) == sum(not task.unique for task in tasks)


def test_a_near_twin_is_kept_marked_and_told(tmp_path: Path) -> None:
    said, tasks = imported(tmp_path, [item("a"), item("b")])
    assert [task.unique for task in tasks] == [True, False]
    assert said[0].startswith("1 nearly the same as another, such as agenticqwen-b as agenticqwen-a; imported, but")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("", "it is empty"),
        ("hello", "it begins with 'h'"),
        ("[]", "it has no items"),
        ("[{]", "not JSON, at line 1"),
        (json.dumps([{"id": "x"}]), "none of its 1 items"),
        ("[" * 100_000, "none of its 1 items"),
    ],
)
def test_a_file_of_which_nothing_can_be_imported_is_an_error_and_the_output_stays(
    tmp_path: Path, content: str, part: str
) -> None:
    out = tmp_path / "tasks.parquet"
    out.write_text("precious")
    with pytest.raises(InputError, match=re.escape(part)):
        list(import_agenticqwen(write(tmp_path, content), out))
    assert out.read_text() == "precious"
    assert {path.name for path in tmp_path.iterdir()} == {"given.json", "tasks.parquet"}


def test_a_file_is_never_written_over_itself(tmp_path: Path) -> None:
    path = write(tmp_path, [item()])
    with pytest.raises(InputError, match="the file to import"):
        list(import_agenticqwen(path, path))
    assert json.loads(path.read_text())


def test_the_command_tells_a_mistake_in_one_line_and_success_in_a_summary(tmp_path: Path) -> None:
    missing = synthagent("import", "agenticqwen", "nope.json", "-o", "out.parquet", cwd=tmp_path)
    assert_one_message(missing, "nope.json", "No such file")
    (tmp_path / "latin.json").write_bytes(b'[{"id": "\xe9"}]')
    latin = synthagent("import", "agenticqwen", "latin.json", "-o", "o.parquet", cwd=tmp_path)
    assert_one_message(latin, "not UTF-8 at byte 9")
    write(tmp_path, [item(), {"id": "\x1b[31m"}])
    done = synthagent("import", "agenticqwen", "given.json", "-o", "t.parquet", "--split", "heldout", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "1 of 2 items imported" in done.stdout
    assert synthagent("validate", "t.parquet", cwd=tmp_path).returncode == 0
    assert [task.split for task in read_records(tmp_path / "t.parquet", Task)] == ["heldout"]


@pytest.mark.skipif(not REAL.exists(), reason="the authors' items are not on this machine")
def test_the_authors_items_are_imported_and_answered_as_they_expect(tmp_path: Path) -> None:
    out = tmp_path / "tasks.parquet"
    said = list(import_agenticqwen(REAL, out))
    assert "5 of 5 items imported" in said[-1]
    assert not any(line.failed for line in validate_file(out))
    tasks = {task.provenance["source_id"]: task for task in read_records(out, Task)}
    for raw in json.loads(REAL.read_text()):
        task, path = tasks[raw["id"]], raw["tool_return_expected"]["normal_path"]
        answered = answers(task, [(call["tool_name"], call["input"]) for call in path])
        assert answered == [call["expected_output"] for call in path]
        policy = re.findall(r"<policy>(.*?)</policy>", raw["prompt"][0]["content"], re.DOTALL)[-1]
        assert "\n\n".join(c.text for c in task.constraints).split() == policy.split()
        assert all(fact.value in raw["task_background"] for fact in task.facts)


def test_an_import_replaces_only_a_file_of_tasks(tmp_path: Path) -> None:
    given, out = write(tmp_path, [item("a")]), tmp_path / "README.md"
    out.write_text("# Mine\n")
    with pytest.raises(InputError, match=r"README\.md: is there, and is no file of tasks; give a new file"):
        list(import_agenticqwen(given, out))
    assert out.read_text() == "# Mine\n"
    for _ in range(2):
        list(import_agenticqwen(given, tmp_path / "tasks.parquet"))
