"""What code makes of a teacher's answers: function schemas, rules, worlds; and the examples in its prompts."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import jsonschema_rs
import pytest
from helpers.scripted_teacher import Form

from synthagent.judging.proofs import leaked
from synthagent.records import Constraint, Fact, Task, Tool, WorldSpec
from synthagent.teacher.llm.checks import RefusedError, checked_tools, rule_of, text_outputs, tool_of
from synthagent.teacher.llm.executable import executable
from synthagent.teacher.llm.shapes import (
    ConstraintForm,
    Forbidden,
    Fuzzy,
    Output,
    ToolCheck,
    ToolForm,
    Toolset,
    WorldForm,
)

# --- parts ----------------------------------------------------------------------------------------------------------


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


# --- prompts --------------------------------------------------------------------------------------------------------


def examples(name: str) -> list[Any]:
    text = resources.files("synthagent.prompts").joinpath(f"teacher_{name}.md").read_text()
    return [json.loads(line) for line in text.splitlines() if line.startswith('{"')]


def test_the_examples_in_the_prompts_fit_the_shapes_and_the_rules() -> None:
    (toolset,), (check,), (fuzzy,) = examples("toolset"), examples("tool_check"), examples("fuzzy")
    tools, distractors = checked_tools(Toolset.model_validate(toolset), ToolCheck.model_validate(check))
    assert distractors == ("list_feed_brands",)
    facts = Fuzzy.model_validate(fuzzy).facts
    assert all(fact.value in fact.phrase and fact.value in fuzzy["background"] for fact in facts)
    forms = [ConstraintForm.model_validate(example) for example in examples("constraint")]
    call = forms[0].model_copy(update={"output": "acidity"})
    assert rule_of(call, "plan_dose", tools, ())


def test_the_example_world_in_the_prompt_holds_its_proofs() -> None:
    form = WorldForm.model_validate(examples("world")[0])
    text = {"type": "string", "description": "text"}
    shapes = {
        "find_loan": ("reader", "loan_id"),
        "read_loan": ("loan_id", "state"),
        "renew_loan": ("loan_id", "until"),
        "read_fees": ("reader", "fees"),
    }
    tools = tuple(
        Tool(
            name=name,
            parameters={"type": "object", "properties": {arg: text}},
            outputs={output: {"type": "string"}},
        )
        for name, (arg, output) in shapes.items()
    )
    rule = rule_of(
        ConstraintForm.model_validate(
            CALL | {"earlier_tool": "read_loan", "output": "state", "op": "eq", "value": "free"} | {"same": ["loan_id"]}
        ),
        "renew_loan",
        tools,
        (),
    )
    assert rule
    task = Task.model_validate(
        {
            "id": "t",
            "persona_id": "p",
            "domain": "library",
            "difficulty": 1,
            "split": "train",
            "instruction": "Can I keep it longer?",
            "workflow": (),
            "tools": tools,
            "distractors": ("read_fees",),
            "facts": [Fact(slot="reader", value="Priya", phrase="I am Priya")],
            "constraints": [Constraint(id="live", text="Never renew_loan unless read_loan showed it free.")],
            "world_kind": "simulated",
            "world": WorldSpec(tables={}, effects={}, rules={"live": rule}),
            "reference": (),
        }
    )
    made = executable(task, form)
    assert (made.solvable, made.needs_user, made.constraint_live, leaked(made)) == (True, True, True, [])
