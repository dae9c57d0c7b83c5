"""One item of the authors' later task format (AgenticQwen) -> a task with a simulated world. Pure, no model.

    prompt               system: `<policy>` -> constraints, the last non-empty `<tools>` -> tools; user -> instruction
    task_background      -> facts (`synthagent.exchange.background`), and the background that the tools know
    tool_return_expected `normal_path` -> workflow and what M starts with; `hack_path` -> more of M, where it agrees

Whatever the item holds is untrusted; one that cannot be used raises `ItemError`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from synthagent.episodes.world import compile_validators
from synthagent.exchange.background import facts_of
from synthagent.exchange.expected import Expected, ItemError, calls_of, made_in, objects_in, seeded, text_of, unsound
from synthagent.judging.proofs import leaked
from synthagent.records import Split, Task
from synthagent.worlds import Constraint, Tool, WorldSpec

VERSION = "agenticqwen-1"
_POLICY = re.compile(r"<policy>(.*?)</policy>", re.DOTALL)
_TOOLS = re.compile(r"<tools>(.*?)</tools>", re.DOTALL)
# Their harness appends a note about reasoning and tags to every request. It does not hold for our episodes.
_HARNESS = re.compile(r"\n\s*Note: You must provide your brief reasoning.*", re.DOTALL)
_RULE = re.compile(
    r"\b(must|shall|may not|may only|only|cannot|can not|never|require[sd]?|prohibited|forbidden|disallowed|refuse|"
    r"deny|not (?:be )?(?:permitted|allowed)|mandatory|do not|don't|escalated?)\b",
    re.IGNORECASE,
)
_LONGEST_ARGUMENT = 40


class _Message(BaseModel):
    role: str
    content: str


class _Item(BaseModel):
    """The fields that are read; others may be there."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)

    id: str = Field(min_length=1, max_length=200)
    prompt: tuple[_Message, ...]
    task_background: Annotated[str, BeforeValidator(lambda value: "" if value is None else value)] = ""
    rubrics: Any = ""
    test_policy: Any = ""
    user_escape_strategy: Any = ""
    tool_return_expected: Any


def task_of(raw: Any, source: str, split: Split = "train") -> Task:
    """The task that an item describes; `source` is the name of the file it comes from.

    Raises:
        ItemError: the item lacks something, or M does not answer its normal path.
    """
    item = _read(raw)
    said = [message.content for message in item.prompt]
    system = "\n".join(message.content for message in item.prompt if message.role == "system")
    instruction = "\n".join(_HARNESS.sub("", m.content).strip() for m in item.prompt if m.role == "user").strip()
    if not instruction:
        raise ItemError("prompt", f"no message of the user among its {len(said)} messages")
    normal, hack = calls_of(item.tool_return_expected)
    tools = _tools(system)
    used = {call.tool for call in normal}
    draft = Task(
        id=f"agenticqwen-{re.sub(r'[^A-Za-z0-9_-]+', '-', item.id)}",
        persona_id="agenticqwen",
        domain=_domain(system),
        difficulty=min(3, max(1, (len(normal) + 2) // 2)),
        split=split,
        instruction=instruction,
        workflow=(*(_milestone(call, tools) for call in normal), *_outcome(text_of(item.rubrics))),
        facts=(),
        tools=tools,
        distractors=tuple(tool.name for tool in tools if tool.name not in used),
        constraints=_constraints(system),
        world_kind="simulated",
        world=WorldSpec(tables={}, effects={}, background=item.task_background.strip()),
        reference=(),
        provenance={
            "backend": "agenticqwen",
            "version": VERSION,
            "source": source,
            "source_id": item.id,
            "rubrics": item.rubrics,
            "test_policy": item.test_policy,
            "user_escape_strategy": item.user_escape_strategy,
            "hack_path": [call.as_json() for call in hack],
            "tokens": 0,
        },
    )
    inputs = [(name, value) for call in (*normal, *hack) for name, value in call.args.items()]
    return _with_facts(seeded(draft, normal, hack), inputs)


def _with_facts(task: Task, inputs: Sequence[tuple[str, Any]]) -> Task:
    """The task with the facts of its background. What the request or a schema shows is no secret, and so no fact."""
    task = task.model_copy(update={"facts": facts_of(task.world.background, inputs, made_in(task))})
    public = leaked(task)
    facts = tuple(fact for fact in task.facts if fact.slot not in public)
    provenance = {**task.provenance, "public": public}
    return task.model_copy(update={"facts": facts, "no_leak": True, "provenance": provenance})


def _read(raw: Any) -> _Item:
    if wrong := unsound(raw):
        raise ItemError("item", wrong)
    try:
        return _Item.model_validate(raw)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"])) or "the item"
        raise ItemError("item", f"{place}: {fault['msg']}") from None


# --- tools ----------------------------------------------------------------------------------------------------------


def _tools(system: str) -> tuple[Tool, ...]:
    blocks = [block for block in _TOOLS.findall(system) if block.strip()]
    if not blocks:
        raise ItemError("tools", "no <tools> block in the system message, or only empty ones")
    tools = tuple(_tool(found) for found in objects_in(blocks[-1]))
    names = [tool.name for tool in tools]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        raise ItemError("tools", f"{twice[0][:80]!r} is there twice" if twice else "the last <tools> block lists none")
    return tools


def _tool(found: dict[str, Any]) -> Tool:
    """A tool in our form: `outputs` beside `function`, `parameters` a schema."""
    function = found.get("function", found)
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or not re.fullmatch(r"[\w.-]{1,64}", name):
        raise ItemError("tools", f"no tool can be named {str(name)[:80]!r}")
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    if not isinstance(parameters, dict) or any(not ref.startswith("#") for ref in _references(parameters)):
        raise ItemError("tools", f"{name}: its parameters are no schema of its own")
    tool = Tool(
        name=name,
        description=text_of(function.get("description", "")),
        parameters=parameters,
        outputs=_outputs(function.get("outputs", found.get("outputs"))),
    )
    try:
        compile_validators([tool])
    except ValueError as error:
        raise ItemError("tools", f"{name}: its parameters are no JSON schema: {' '.join(str(error).split())}") from None
    return tool


def _outputs(given: Any) -> dict[str, Any]:
    """Name -> schema with a `type`, from an object schema, a mapping, or a list of names or of named schemas."""
    match given:
        case {"properties": dict(properties)}:
            named = properties
        case dict() if given.get("type") == "object" and "properties" not in given:
            named = {}
        case dict():
            named = given
        case list():
            named = dict(_named(part) for part in given)
        case _:
            named = {}
    return {str(name): _typed(schema) for name, schema in named.items()}


def _named(part: Any) -> tuple[str, Any]:
    match part:
        case {"name": str(name), **rest}:
            return name, rest
        case _:
            return text_of(part), {}


def _typed(schema: Any) -> dict[str, Any]:
    match schema:
        case {"type": _}:
            return dict(schema)
        case dict():
            return {"type": "string", **schema}
        case "string" | "number" | "integer" | "boolean" | "array" | "object":
            return {"type": schema}
        case _:
            return {"type": "string", "description": text_of(schema)} if schema else {"type": "string"}


def _references(schema: Any) -> Iterator[str]:
    """The targets of every `$ref`: one that leads out of the schema would be fetched."""
    inside = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    if isinstance(schema, dict):
        yield from (str(schema[key]) for key in ("$ref", "$dynamicRef", "$schema", "$id") if key in schema)
    for part in inside:
        yield from _references(part)


# --- words ----------------------------------------------------------------------------------------------------------


def _constraints(system: str) -> tuple[Constraint, ...]:
    """A constraint for each paragraph with a rule; headings and explanations stay with the rule that they precede.

    A list belongs to the line that introduces it. Joined by blank lines, the constraints are all of `<policy>`.
    """
    found = _POLICY.findall(system)
    policy = (found[-1] if found else "").strip()
    texts, waiting = list[str](), list[str]()
    for block in _blocks(policy):
        waiting.append(block)
        if _RULE.search(block) and not _is_heading(block):
            texts.append("\n\n".join(waiting))
            waiting = []
    if waiting:
        texts[-1:] = ["\n\n".join([*texts[-1:], *waiting])]
    return tuple(Constraint(id=f"c{number}", text=text) for number, text in enumerate(texts, 1))


def _blocks(policy: str) -> list[str]:
    return [block.strip("\n") for block in re.split(r"\n[ \t]*\n", policy) if block.strip()]


def _is_heading(block: str) -> bool:
    return "\n" not in block and bool(re.match(r"#{1,6} |\*\*[^*]+\*\*:?$", block.strip()))


def _domain(system: str) -> str:
    """The title of `<policy>`, without the word itself: `pottery commission management`."""
    title = re.search(r"<policy>\s*#+\s*(.+)", system)
    words = re.findall(r"[a-z0-9]+", title.group(1).lower()) if title else []
    return " ".join([word for word in words if word != "policy"][:6]) or "agenticqwen"


def _milestone(call: Expected, tools: Sequence[Tool]) -> str:
    """`update_commission_status (new_status: design_approved): Updates the status of a commission.`"""
    description = next((tool.description for tool in tools if tool.name == call.tool), "")
    first = re.split(r"(?<=[.!?])\s", description.strip())[0]
    short = [f"{name}: {text}" for name, value in call.args.items() if len(text := text_of(value)) <= _LONGEST_ARGUMENT]
    args = f" ({', '.join(short)})" if short else ""
    return f"{call.tool}{args}" + (f": {first}" if first else "")


def _outcome(rubrics: str) -> tuple[str, ...]:
    return (f"Outcome: {rubrics.strip()}",) if rubrics.strip() else ()
