"""What the teacher's model is asked for: shapes that any answer can fill and end, and examples that fit them."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from synthagent.judging.proofs import leaked
from synthagent.records import Constraint, Fact, Task, Tool, WorldSpec
from synthagent.teacher.llm.checks import checked_tools, rule_of
from synthagent.teacher.llm.executable import executable
from synthagent.teacher.llm.shapes import (
    ConstraintForm,
    Fuzzy,
    ToolCheck,
    Toolset,
    WorldForm,
)


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
