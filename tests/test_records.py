"""Records: what is read and stored of a tool, and that a task comes back whole from JSON and from Parquet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pyarrow.parquet as pq
import pytest
from helpers import dinner
from helpers.tasks import accepted_tasks
from pydantic import ValidationError

from synthagent.records import Task
from synthagent.store import read_records, write_records
from synthagent.worlds import Tool

PARAMETERS = {
    "type": "object",
    "properties": {"until": {"type": "string"}, "loan_id": {"type": "string"}, "fee": {"type": "integer"}},
    "required": ["loan_id"],
}
FUNCTION = {"name": "renew", "description": "Renew a loan.", "parameters": PARAMETERS}
STORED: dict[str, Any] = {"type": "function", "function": FUNCTION, "outputs": {"state": {"type": "string"}}}
CHANGING = STORED | {"changes_state": True}
TASKS = (*accepted_tasks()[:20], dinner.task())


@pytest.mark.parametrize("stored", [STORED, CHANGING])
def test_a_tool_is_stored_byte_for_byte_as_the_function_schema_it_was_read_from(stored: dict[str, Any]) -> None:
    tool = Tool.model_validate(stored)
    assert json.dumps(tool.model_dump()) == json.dumps(stored)
    assert Tool.model_validate_json(tool.model_dump_json()) == tool
    assert (tool.name, tool.description, tool.parameters) == ("renew", "Renew a loan.", PARAMETERS)
    assert tool.outputs == {"state": {"type": "string"}}


def test_a_tool_is_read_from_its_fields_side_by_side_as_well() -> None:
    assert Tool.model_validate({**FUNCTION, "outputs": STORED["outputs"]}) == Tool.model_validate(STORED)
    assert Tool(name="f").model_dump() == {
        "type": "function",
        "function": {"name": "f", "description": "", "parameters": {}},
        "outputs": {},
    }


def test_only_a_tool_that_changes_the_state_is_stored_with_a_word_on_it() -> None:
    assert Tool.model_validate(CHANGING).changes_state is True
    assert Tool.model_validate(STORED).changes_state is False
    assert "changes_state" not in Tool.model_validate(STORED | {"changes_state": False}).model_dump()


@pytest.mark.parametrize(
    "given",
    [
        STORED | {"stirct": True},
        {"type": "function", "function": FUNCTION | {"stirct": True}},
        FUNCTION | {"stirct": True},
    ],
    ids=["beside the function", "in the function", "flat"],
)
def test_an_unknown_key_of_a_tool_is_refused_by_its_name(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"stirct\n.*Extra inputs are not permitted"):
        Tool.model_validate(given)


@pytest.mark.parametrize("given", [{}, {"type": "function", "function": {"description": "?"}}, "renew", None])
def test_what_has_no_name_is_no_tool(given: Any) -> None:
    with pytest.raises(ValidationError):
        Tool.model_validate(given)


def test_an_endpoint_is_shown_nothing_that_is_only_ours() -> None:
    assert Tool.model_validate(CHANGING).schema_of_openai == {"type": "function", "function": FUNCTION}


def test_the_arguments_of_a_tool_are_named_in_their_order() -> None:
    assert Tool.model_validate(STORED).arguments == ("until", "loan_id", "fee")
    assert Tool(name="f").arguments == ()


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Tool(name="f").name = "g"  # type: ignore[misc]


def test_a_task_comes_back_from_json_with_its_tools() -> None:
    for task in TASKS:
        text = task.model_dump_json()
        again = Task.model_validate_json(text)
        assert again == task
        assert again.model_dump_json() == text


def test_a_task_comes_back_from_parquet_with_its_tools_which_are_function_schemas_there(tmp_path: Path) -> None:
    path = tmp_path / "tasks.parquet"
    tasks = sorted(TASKS, key=lambda task: task.id)
    write_records(path, Task, tasks)
    assert list(read_records(path, Task)) == tasks
    stored = [json.loads(text) for text in pq.read_table(path).column("tools").to_pylist()]
    assert stored == [[tool.model_dump() for tool in task.tools] for task in tasks]
    assert any(tool.get("changes_state") for tools in stored for tool in tools)


def test_the_schema_of_a_task_takes_what_is_stored_and_names_what_is_wrong_in_a_tool() -> None:
    validator = jsonschema_rs.validator_for(Task.model_json_schema())
    for task in TASKS:
        stored = json.loads(task.model_dump_json())
        assert validator.is_valid(stored)
        for wrong in ({}, {"function": {}}, {"function": {"name": 1}}, {"function": {"name": "f", "stirct": 1}}):
            (fault,) = validator.iter_errors(stored | {"tools": [wrong]})
            assert list(fault.instance_path)[:2] == ["tools", 0]
