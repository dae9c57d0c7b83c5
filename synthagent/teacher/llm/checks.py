"""Checks a model's task and converts its parts: shapes -> function schemas, facts, a rule.

Every check that fails raises `RefusedError` with one of `REASONS`; the proposal becomes a rejected row.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import jsonschema_rs

from synthagent.episodes.user import CONFIRM
from synthagent.teacher.llm.shapes import ConstraintForm, Fuzzy, Known, Output, ToolCheck, ToolForm, Toolset
from synthagent.text import contains_phrase, words_of
from synthagent.worlds import Called, Condition, Fact, Never, Told, Tool

Reason = Literal[
    "bad_tools", "too_few_tools", "constraint_tool", "bad_facts", "placeholder", "names_tool", "names_workflow",
    "constraint_leak",
]  # fmt: skip
REASONS: tuple[str, ...] = get_args(Reason)
MOST_OUTPUTS = 2
_FEWEST, _MOST = 2, 8  # tools: those needed, and all of them
_MEDIA = {"image", "audio", "video", "file"}
_MEDIA_NAMES = _MEDIA | {"photo", "picture", "recording", "sound", "pdf", "screenshot"}
_PLACEHOLDER = re.compile(r"[<\[{][^>\]}]*[>\]}]|\b(x{3,}|tbd|todo|placeholder|lorem|n/a|your \w+)\b|\.\.\.", re.I)


class RefusedError(Exception):
    """A task that breaks a rule: which, and where."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


# --- tools ----------------------------------------------------------------------------------------------------------


def forbidden_tool(toolset: Toolset) -> str:
    """The name of the tool that the constraint is about, once the first step's tools are distinct.

    Raises:
        RefusedError: `bad_tools`, `constraint_tool`.
    """
    _distinct([tool.name for tool in toolset.tools])
    number = toolset.forbidden.tool_number
    if number > len(toolset.tools):
        raise RefusedError("constraint_tool", f"tool {number} of {len(toolset.tools)}")
    return toolset.tools[number - 1].name


def checked_tools(toolset: Toolset, change: ToolCheck) -> tuple[tuple[Tool, ...], tuple[str, ...]]:
    """The tools after the second step, as function schemas sorted by name, and the names of the distractors.

    The constraint's tool stays, whatever the step says.

    Raises:
        RefusedError: `bad_tools`, `too_few_tools`, `constraint_tool`.
    """
    removed = set(change.removed) - {forbidden_tool(toolset)}
    kept = {tool.name: tool for tool in toolset.tools if tool.name not in removed}
    kept |= {tool.name: tool for tool in change.rewritten}
    if len(kept) < _FEWEST:
        raise RefusedError("too_few_tools", f"only {len(kept)} left: {', '.join(kept)}")
    everything = [*kept.values(), *change.distractors]
    _distinct([tool.name for tool in everything])
    if len(everything) > _MOST:
        raise RefusedError("bad_tools", f"{len(everything)} of them; at most {_MOST}")
    # Sorted, so that the order does not show which tools are distractors.
    schemas = tuple(tool_of(tool) for tool in sorted(everything, key=lambda tool: tool.name))
    return schemas, tuple(sorted(tool.name for tool in change.distractors))


def tool_of(form: ToolForm) -> Tool:
    """The tool that the teacher describes.

    Raises:
        RefusedError: `bad_tools`: two parameters of one name, or no valid JSON schema.
    """
    _distinct([parameter.name for parameter in form.parameters], f"{form.name}: ")
    parameters = {
        "type": "object",
        "properties": {p.name: {"type": p.type, "description": p.description} for p in form.parameters},
        "required": [p.name for p in form.parameters if p.required],
        "additionalProperties": False,
    }
    if not jsonschema_rs.meta.is_valid(parameters):
        raise RefusedError("bad_tools", f"{form.name}: its parameters are no JSON schema")
    return Tool(
        name=form.name,
        description=form.description,
        parameters=parameters,
        outputs=text_outputs(form.outputs),
        changes_state=form.changes_state,
    )


def text_outputs(outputs: Sequence[Output]) -> dict[str, Any]:
    """At most two outputs, all of them text: an output that is a picture, sound or video becomes a status and an id."""
    texts: dict[str, Any] = {}
    for output in outputs:
        if output.type in _MEDIA or (output.type == "string" and output.name.rpartition("_")[2] in _MEDIA_NAMES):
            texts["status"] = texts[f"{output.name}_id"] = {"type": "string"}
        else:
            texts[output.name] = {"type": output.type}
    return dict(list(texts.items())[:MOST_OUTPUTS])


def _distinct(names: Sequence[str], place: str = "") -> None:
    if again := sorted({name for name in names if names.count(name) > 1}):
        raise RefusedError("bad_tools", f"{place}more than one {again[0]}")


# --- request --------------------------------------------------------------------------------------------------------


def checked_facts(fuzzy: Fuzzy, tools: Sequence[Tool], workflow: Sequence[str]) -> tuple[Fact, ...]:
    """The facts, once request and facts keep the rules of the fuzzy step.

    A phrase that does not say the value is replaced by one that does.

    Raises:
        RefusedError: `bad_facts`, `placeholder`, `names_tool`, `names_workflow`.
    """
    slots = [fact.slot for fact in fuzzy.facts]
    if again := sorted({slot for slot in slots if slots.count(slot) > 1}):
        raise RefusedError("bad_facts", f"more than one {again[0]}")
    for fact in fuzzy.facts:
        if _PLACEHOLDER.search(fact.value):
            raise RefusedError("placeholder", f"{fact.slot}: {fact.value}")
    facts = tuple(map(_fact, fuzzy.facts))
    spoken = [fuzzy.instruction, *(fact.phrase for fact in facts)]
    # A name of one word may also be an ordinary word.
    names = [name for tool in tools if "_" in (name := tool.name)]
    for text in spoken:
        if said := next((name for name in names if contains_phrase(text, name)), None):
            raise RefusedError("names_tool", f"{said} in: {text}")
        if said := next((milestone for milestone in workflow if contains_phrase(text, milestone)), None):
            raise RefusedError("names_workflow", f"{said} in: {text}")
    return facts


def _fact(known: Known) -> Fact:
    said = known.phrase
    if not contains_phrase(said, known.value):
        said = known.value if known.slot == CONFIRM else f"the {known.slot.replace('_', ' ')} is {known.value}"
    return Fact(slot=known.slot, value=known.value, phrase=said)


# --- constraint -----------------------------------------------------------------------------------------------------


def constraint_text(form: ConstraintForm, tool: str, facts: Sequence[Fact]) -> str:
    """The text of the constraint. It names its tool, and no fact other than the one that permits the call.

    Raises:
        RefusedError: `constraint_leak`.
    """
    secret = [fact for fact in facts if not (form.licence == "told" and fact.slot == form.slot)]
    if told := [fact.slot for fact in secret if contains_phrase(form.text, fact.value)]:
        raise RefusedError("constraint_leak", f"tells {', '.join(told)}: {form.text}")
    return form.text if contains_phrase(form.text, tool) else f"{tool}: {form.text}"


def rule_of(form: ConstraintForm, tool: str, tools: Sequence[Tool], facts: Sequence[Fact]) -> Never | None:
    """The constraint in executable form; None if the model gave none that fits: then a judge decides."""
    schemas = {tool.name: tool for tool in tools}
    if form.licence == "told":
        return _told_rule(form, tool, facts)
    if form.licence == "call" and form.earlier_tool in schemas and form.earlier_tool != tool:
        return _call_rule(form, tool, schemas)
    return None


def _told_rule(form: ConstraintForm, tool: str, facts: Sequence[Fact]) -> Never | None:
    fact = next((fact for fact in facts if fact.slot == form.slot), None)
    if fact is None:
        return None
    # Spelling aside ("Yes" for "yes"), only the fact's own value permits the call.
    value = fact.value if words_of(fact.value) == words_of(form.value) else form.value
    return Never(tool=tool, told=Told(slot=fact.slot, value=value or None))


def _call_rule(form: ConstraintForm, tool: str, schemas: Mapping[str, Tool]) -> Never | None:
    earlier = schemas[form.earlier_tool]
    shown = _arguments(earlier) | set(earlier.outputs)
    if not set(form.same) <= _arguments(schemas[tool]) & shown:
        return None
    result: tuple[Condition, ...] = ()
    if form.output:
        if form.output not in earlier.outputs:
            return None
        value = _typed(form.value, earlier.outputs[form.output]["type"], form.op)
        if value is None:
            return None
        result = (Condition(field=form.output, op=form.op, value=value),)
    return Never(tool=tool, seen=Called(tool=form.earlier_tool, result=result), same=form.same)


def _arguments(tool: Tool) -> set[str]:
    return set(tool.arguments)


def _typed(text: str, kind: str, op: str) -> Any:
    """The value that a text stands for among outputs of type `kind`; none if it stands for none."""
    if op in ("in", "not_in"):
        parts = [_typed(part.strip(), kind, "eq") for part in text.split(",")]
        return None if None in parts else parts
    try:
        match kind:
            case "integer":
                return int(text)
            case "number":
                return number if math.isfinite(number := float(text)) else None
            case "boolean":
                return {"true": True, "false": False}[text.lower()]
            case _:
                return text or None
    except (ValueError, KeyError):
        return None
