"""What code makes of the parts of a teacher's answers: function schemas and rules."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
from helpers.scripted_teacher import Form

from synthagent.teacher.llm.checks import RefusedError, checked_tools, rule_of, text_outputs, tool_of
from synthagent.teacher.llm.shapes import (
    ConstraintForm,
    Forbidden,
    Output,
    ToolCheck,
    ToolForm,
    Toolset,
)
from synthagent.worlds import Fact


def outputs(*pairs: tuple[str, Any]) -> list[Output]:
    return [Output(name=name, type=kind) for name, kind in pairs]


def test_outputs_are_at_most_two_and_no_media() -> None:
    assert text_outputs(outputs(("photo", "image"))) == {"status": {"type": "string"}, "photo_id": {"type": "string"}}
    assert list(text_outputs(outputs(("voice_recording", "string"), ("length", "integer")))) == [
        *("status", "voice_recording_id")
    ]
    assert text_outputs(outputs(("photo_url", "string"), ("photo", "integer"))) == {
        "photo_url": {"type": "string"},
        "photo": {"type": "integer"},
    }
    assert list(text_outputs(outputs(("a", "string"), ("b", "string"), ("c", "string")))) == ["a", "b"]


def tool(name: str, *parameters: str) -> ToolForm:
    return ToolForm.model_validate(
        {
            "name": name,
            "description": f"Does {name}.",
            "parameters": [
                {"name": p, "type": "integer", "description": f"the {p}", "required": p != "extra"} for p in parameters
            ],
            "outputs": [{"name": "state", "type": "integer"}, {"name": "id", "type": "string"}],
            "changes_state": name == "do",
        }
    )


def test_a_tool_becomes_a_function_schema_that_holds_calls_to_it() -> None:
    made = tool_of(tool("do", "n", "extra"))
    assert made.model_dump()["changes_state"] is True
    assert "changes_state" not in tool_of(tool("look", "n")).model_dump()
    validator = jsonschema_rs.validator_for(made.parameters)
    assert validator.is_valid({"n": 1})
    for wrong in ({}, {"n": "1"}, {"n": 1, "m": 1}):
        assert not validator.is_valid(wrong)


def test_the_check_removes_replaces_and_adds_tools() -> None:
    forbidden = Forbidden(tool_number=1, must_not="act twice", because="it costs")
    tools = [tool("do", "n"), tool("look", "n"), tool("summarise")]
    toolset = Toolset.model_construct(domain="d", workflow=(), tools=tuple(tools), forbidden=forbidden)
    change = ToolCheck(
        removed=("summarise", "unheard_of"), rewritten=(tool("look", "m"), tool("new")), distractors=(tool("other"),)
    )
    schemas, distractors = checked_tools(toolset, change)
    assert [schema.name for schema in schemas] == ["do", "look", "new", "other"]
    assert schemas[1].arguments == ("m",)
    assert distractors == ("other",)
    with pytest.raises(RefusedError, match="too_few_tools"):
        checked_tools(toolset, change.model_copy(update={"removed": ("summarise", "look"), "rewritten": ()}))


CALL: Form = {"text": "Never do before looking.", "licence": "call", "slot": "", "value": "3"} | {
    "earlier_tool": "look", "output": "state", "op": "le", "same": ["n"],
}  # fmt: skip
TOLD = CALL | {"licence": "told", "slot": "confirm", "value": "Yes"}


@pytest.mark.parametrize(
    ("form", "rule"),
    [
        (CALL, {"seen": 3}),
        (CALL | {"op": "in", "value": "1, 2"}, {"seen": [1, 2]}),
        (CALL | {"output": ""}, {"seen": None}),
        (CALL | {"value": "many"}, None),
        (CALL | {"output": "unheard_of"}, None),
        (CALL | {"earlier_tool": "unheard_of"}, None),
        (CALL | {"earlier_tool": "do"}, None),
        (CALL | {"same": ["m"]}, None),
        (CALL | {"licence": "none"}, None),
        (TOLD, {"told": "yes"}),
        (TOLD | {"value": "no"}, {"told": "no"}),
        (TOLD | {"value": ""}, {"told": None}),
        (TOLD | {"slot": "unheard_of"}, None),
    ],
)
def test_a_rule_is_kept_only_if_it_fits_tools_and_facts(form: Form, rule: Form | None) -> None:
    tools = [tool_of(tool("do", "n")), tool_of(tool("look", "n", "m"))]
    made = rule_of(ConstraintForm.model_validate(form), "do", tools, [Fact(slot="confirm", value="yes", phrase="yes")])
    if rule is None:
        assert made is None
    elif "told" in rule:
        assert made
        assert made.told
        assert made.told.value == rule["told"]
    else:
        assert made
        assert made.seen
        assert [condition.value for condition in made.seen.result] == ([] if rule["seen"] is None else [rule["seen"]])
