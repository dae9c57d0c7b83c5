"""What the teacher's model is asked for: shapes that any answer can fill and end, and examples that fit them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from typing import Any

import pytest
from pydantic import ValidationError

from synthagent.frozen import Record
from synthagent.judging.proofs import leaked
from synthagent.records import Task
from synthagent.teacher.llm.checks import checked_tools, rule_of
from synthagent.teacher.llm.executable import executable
from synthagent.teacher.llm.shapes import (
    ConstraintForm,
    Fuzzy,
    Parameter,
    ToolCheck,
    Toolset,
    WorldForm,
)
from synthagent.worlds import Constraint, Fact, Tool, WorldSpec


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
    licence = {"licence": "call", "slot": "", "earlier_tool": "read_loan", "output": "state", "op": "eq"}
    said = {"text": "Never do before looking.", "value": "free", "same": ["loan_id"]}
    rule = rule_of(ConstraintForm.model_validate(licence | said), "renew_loan", tools, ())
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


STEPS = (Toolset, ToolCheck, Fuzzy, ConstraintForm, WorldForm)


def parts_of(schema: Any) -> Iterator[dict[str, Any]]:
    """Every schema inside a schema."""
    match schema:
        case dict():
            if "type" in schema:
                yield schema
            for part in schema.values():
                yield from parts_of(part)
        case list():
            for part in schema:
                yield from parts_of(part)


@pytest.mark.parametrize("shape", STEPS)
def test_an_answer_that_fits_has_an_end_and_no_free_keys(shape: type[Record]) -> None:
    for part in parts_of(shape.model_json_schema()):
        match part["type"]:
            case "object":
                assert part["additionalProperties"] is False, part
                assert set(part["required"]) == set(part["properties"]), part
            case "array":
                assert part["maxItems"] <= 14, part
            case "string":
                assert part.keys() & {"maxLength", "enum", "const"} or "*" not in part["pattern"], part
            case "integer" | "number":
                assert {"minimum", "maximum"} <= part.keys(), part


@pytest.mark.parametrize("text", ["...", " \u202e - ", "\x00\x01\x02\x03"])
def test_a_text_that_says_nothing_fits_no_shape(text: str) -> None:
    with pytest.raises(ValidationError, match="a letter or a digit"):
        Parameter(name="n", type="string", description=text, required=True)


def test_a_text_becomes_one_line_of_what_can_be_printed() -> None:
    told = Parameter(name="n", type="string", description=" the\x00 day\n of \u202e it ", required=True)
    assert told.description == "the day of it"


@pytest.mark.parametrize("name", ["", "Day", "2nd", "a-b", "a b", "a" * 33, "é"])
def test_a_name_that_is_no_identifier_fits_no_shape(name: str) -> None:
    with pytest.raises(ValidationError, match="name"):
        Parameter(name=name, type="string", description="the day", required=True)
