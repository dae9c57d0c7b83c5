"""What a task is made of: hidden facts, constraints, tools; its world and checks in executable form; the reference.

Tasks are written in these records, and nothing else: worlds run them (`episodes/`), checks read them (`judging/`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, GetJsonSchemaHandler, model_serializer, model_validator
from pydantic_core import CoreSchema

from synthagent.frozen import Json, Record

Op = Literal["eq", "ne", "in", "not_in", "lt", "le", "gt", "ge", "same"]  # same: by meaning (`synthagent.meaning`)


def _is_empty(value: Json) -> bool:
    return not value


def _rare(default: Json, description: str) -> Json:
    """A field that most tasks do without: not stored where it is empty. `default`: or `dict`, for an empty one."""
    if default is dict:  # pydantic copies a default that can change for each record, which takes as long as the rest
        return Field(default_factory=dict, description=description, exclude_if=_is_empty)
    return Field(default=default, description=description, exclude_if=_is_empty)


class Fact(Record):
    """Something only the user knows, until the policy asks."""

    slot: str = Field(description="the name the tools use for it, such as `loan_id`; `confirm` for a consent")
    value: str
    phrase: str = Field(description="how the user says it")


class Constraint(Record):
    """Something the task forbids, in words. Its executable form is `WorldSpec.rules[id]`."""

    id: str
    text: str


class Tool(Record):
    """A tool, as the policy sees it. Read and stored as an OpenAI function schema, with what is only ours beside it:

    `{"type": "function", "function": {name, description, parameters}, "outputs": .., "changes_state": true}`
    """

    name: str
    description: str = ""
    parameters: dict[str, Json] = Field(default_factory=dict, description="JSON schema of the arguments")
    outputs: dict[str, Json] = Field(default_factory=dict, description="name -> JSON schema of what a call gives back")
    changes_state: bool = Field(default=False, description="simulated: later calls may be answered otherwise")

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of the arguments, in order."""
        return tuple(self.parameters.get("properties", ()))

    @property
    def schema_of_openai(self) -> dict[str, Json]:
        """What an OpenAI-compatible endpoint, or a chat template, takes."""
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": function}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> Json:
        """What is stored, for who writes it; the flat form is read, too."""
        flat = handler.resolve_ref_schema(handler(core))
        if "properties" not in flat:  # asked for what is written, which pydantic takes from the serializer
            return flat
        fields, ours = flat["properties"], ("outputs", "changes_state")
        function = {name: schema for name, schema in fields.items() if name not in ours}
        flat["properties"] = {
            "type": {"const": "function"},
            "function": {
                "type": "object",
                "properties": function,
                "required": ["name"],
                "additionalProperties": False,
            },
            **{name: fields[name] for name in ours},
        }
        flat["required"] = ["function"]
        return flat

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, given: Json) -> Json:
        if not isinstance(given, dict) or not isinstance(given.get("function"), dict):
            return given
        return {**given["function"], **{key: part for key, part in given.items() if key not in ("type", "function")}}

    @model_serializer
    def stored(self) -> dict[str, Json]:
        """The schema with what is only ours beside it, as it is stored."""
        return {
            **self.schema_of_openai,
            "outputs": self.outputs,
            **({"changes_state": True} if self.changes_state else {}),
        }


# --- the executable world -------------------------------------------------------------------------------------------


class Condition(Record):
    """`row[field] op value`."""

    field: str
    op: Op = "eq"
    value: Json


class Requirement(Condition):
    """A precondition of an effect: unless it holds of the row (or of the call's arguments), the call fails."""

    message: str
    of: Literal["row", "args"] = "row"


class Effect(Record):
    """What a tool does to one table. A tool is a list of effects, applied all or none."""

    op: Literal["get", "find", "create", "update", "delete"]
    table: str
    key: str | None = Field(default=None, description="get, update, delete: the argument that holds the row's key")
    where: dict[str, str] = Field(default_factory=dict, description="find: column -> argument that it must equal")
    write: dict[str, Json] = Field(
        default_factory=dict, description='create, update: column -> {"arg": name} or {"value": constant}'
    )
    require: tuple[Requirement, ...] = ()
    returns: dict[str, str] = Field(default_factory=dict, description="output name -> column")
    by_meaning: bool = _rare(False, "find: columns are compared by meaning")
    defaults: dict[str, Json] = _rare(dict, "what an argument that is left out stands for")
    busy: int = _rare(0, "so many calls at the start fail in passing, and change nothing")


class Table(Record):
    """Rows with a key column."""

    key: str
    rows: tuple[dict[str, Json], ...]


class Called(Record):
    """Check: a call of `tool` with such arguments happened, and went well (`ok`) with such a result."""

    kind: Literal["called"] = "called"
    tool: str
    ok: bool = True
    args: tuple[Condition, ...] = ()
    result: tuple[Condition, ...] = ()


class RowExists(Record):
    """Check: the final state has a row that meets all conditions. `new`: one that was not there at the start."""

    kind: Literal["row"] = "row"
    table: str
    where: tuple[Condition, ...]
    new: bool = False


class Told(Record):
    """Check: the user told this fact (and, if `value` is given, it was that)."""

    kind: Literal["told"] = "told"
    slot: str
    value: str | None = None


class Answered(Record):
    """Check: the final answer has all of `words` and none of `none_of`, so that listing every option earns nothing."""

    kind: Literal["answered"] = "answered"
    words: tuple[str, ...]
    none_of: tuple[str, ...] = ()


class Unasked(Record):
    """Check: the user was asked nothing: the request had said it all."""

    kind: Literal["unasked"] = "unasked"


class AllOf(Record):
    """Check: every one of `checks` holds."""

    kind: Literal["all"] = "all"
    checks: tuple[Check, ...] = Field(min_length=1)


class AnyOf(Record):
    """Check: at least one of `checks` holds: a sub-goal with more than one path."""

    kind: Literal["any"] = "any"
    checks: tuple[Check, ...] = Field(min_length=1)


class Never(Record):
    """Check of a constraint: no well-formed call of `tool` without a licence before it.

    The licence is either an earlier `seen` call, about the same thing (`same` names arguments of `tool` that must
    reappear in the earlier call's arguments or result), or something the user `told`.
    """

    kind: Literal["never"] = "never"
    tool: str
    seen: Called | None = None
    same: tuple[str, ...] = ()
    told: Told | None = None


Check = Annotated[Called | RowExists | Told | Answered | Unasked | AllOf | AnyOf | Never, Field(discriminator="kind")]


class Said(Record):
    """What a simulated tool has said: a call, in a state of the world, and the response. An entry of the mapping M."""

    tool: str
    args: dict[str, Json]
    state: str = Field(default="", description="digest of the state-changing calls before it; empty before the first")
    response: dict[str, Json]


class Removed(Record):
    """A tool that was taken away, what it did, and the call that would have been right."""

    tool: Tool
    effects: tuple[Effect, ...]
    args: dict[str, Json]


class WorldSpec(Record):
    """The start of a world, and the constraints in executable form.

    Executable: rows, and what each tool does to them. Simulated: no tables and no effects; a model answers for them,
    from `background` and the mapping M, which starts with `said`.
    """

    tables: dict[str, Table]
    effects: dict[str, tuple[Effect, ...]]
    background: str = Field(default="", description="simulated: what is true in this world, for the tools only")
    said: tuple[Said, ...] = Field(default=(), description="simulated: what the tools are known to say")
    new_ids: tuple[str, ...] = Field(default=(), description="keys given to created rows, in order")
    rules: dict[str, Never] = Field(
        default_factory=dict,
        description="constraint id -> its check; natural tasks: also of a condition that the request makes",
    )
    opening: str = _rare("", "natural tasks: where the policy works, and what day it is; stands before the constraints")
    canonical: dict[str, Json] = _rare(
        dict, "natural tasks: slot of a fact -> the value that tools want in place of it"
    )
    asked_by: dict[str, tuple[str, ...]] = _rare(dict, "natural tasks: slot -> words, any of which asks for it")
    goes_on: tuple[str, ...] = _rare(
        (), "natural tasks: what a message has to tell, all of it, before the user says the fact `next_request`"
    )
    removed: Removed | None = _rare(None, "natural tasks: the tool that would do what is wanted; it is not there")


# --- the reference solution -----------------------------------------------------------------------------------------


class Answer(Record):
    """Step: end the episode with `outcome` and the known values named in `values`."""

    kind: Literal["answer"] = "answer"
    outcome: str
    values: tuple[str, ...] = ()
    milestone: str


class Ask(Record):
    """Step: ask the user for a fact; it is then known by its slot."""

    kind: Literal["ask"] = "ask"
    slot: str
    guess: Json = Field(description="what a policy that does not ask would assume")
    milestone: str
    question: str = _rare("", "natural tasks: how the expert asks")
    tells: tuple[str, ...] = _rare((), "known values that stand in the question, as `{name}`")


class Call(Record):
    """Step: call a tool; its outputs are then known by their names."""

    kind: Literal["call"] = "call"
    tool: str
    args: dict[str, str] = Field(description="argument -> name of a known value")
    precaution: bool = Field(default=False, description="only there to be sure; a reckless run leaves it out")
    guess: dict[str, str] = Field(
        default_factory=dict, description="outputs that a policy would assume that does without the call"
    )
    milestone: str
    otherwise: Answer | None = Field(default=None, description="what to do when the call fails")
    given: dict[str, Json] = _rare(dict, "arguments that the instruction tells")
    together: bool = _rare(False, "made in one turn with the call before it")
    keeps: dict[str, str] = _rare(dict, "output -> a name that calls after this one do not overwrite")


class Guard(Record):
    """Step: go on only if the known values meet all conditions; else give the answer `otherwise`."""

    kind: Literal["guard"] = "guard"
    conditions: tuple[Condition, ...]
    otherwise: Answer
    instead: tuple[Call, ...] = _rare((), "calls to make before the answer `otherwise`")


class Pick(Record):
    """Step: of several results of the last call, go on with the one that has these values; it is then known."""

    kind: Literal["pick"] = "pick"
    given: dict[str, Json] = Field(default_factory=dict, description="output -> its value, which the instruction tells")
    known: dict[str, str] = Field(default_factory=dict, description="output -> name of a known value")


Step = Annotated[Ask | Call | Guard | Pick | Answer, Field(discriminator="kind")]


for _model in (AllOf, AnyOf, WorldSpec):
    _model.model_rebuild()
