"""The shapes of the teacher model's answers, step by step: flat and bounded, so that every answer that fits ends.

Lists of pairs stand for objects with free keys: a grammar has no bound for those, and strict servers refuse them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from synthagent.frozen import Record
from synthagent.worlds import Op


def _tidied(text: str) -> str:
    """One line of printable text.

    Raises:
        ValueError: there is nothing in it.
    """
    line = " ".join("".join(c for c in text if c.isprintable() or c.isspace()).split())
    if not any(c.isalnum() for c in line):
        raise ValueError("must have a letter or a digit")
    return line


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$", description="snake_case")]
NoName = Annotated[str, Field(pattern=r"^([a-z][a-z0-9_]{0,31})?$", description="snake_case, or empty")]
Short = Annotated[str, Field(min_length=1, max_length=60), AfterValidator(_tidied)]
Note = Annotated[str, Field(min_length=3, max_length=70), AfterValidator(_tidied)]
Clause = Annotated[str, Field(min_length=4, max_length=100), AfterValidator(_tidied)]
Sentence = Annotated[str, Field(min_length=12, max_length=240), AfterValidator(_tidied)]
Passage = Annotated[str, Field(min_length=40, max_length=1200), AfterValidator(_tidied)]
RequestText = Annotated[str, Field(min_length=8, max_length=1200), AfterValidator(_tidied)]
ReplyText = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_tidied)]
Whole = Annotated[int, Field(ge=-(10**12), le=10**12)]
Real = Annotated[float, Field(ge=-1e12, le=1e12, allow_inf_nan=False)]
CellValue = Annotated[str, Field(max_length=60)] | bool | Whole | Real
Some = Annotated[str, Field(max_length=60)]


# --- toolset and tool check -----------------------------------------------------------------------------------------


class Parameter(Record):
    """An argument of a tool."""

    name: Name
    type: Literal["string", "integer", "number", "boolean"]
    description: Note
    required: bool


class Output(Record):
    """A field of what a tool answers. Media are named here so that code can take them out."""

    name: Name
    type: Literal["string", "integer", "number", "boolean", "image", "audio", "video", "file"]


class ToolForm(Record):
    """A tool, flat."""

    name: Name
    description: Clause
    parameters: Annotated[tuple[Parameter, ...], Field(max_length=3)]
    outputs: Annotated[tuple[Output, ...], Field(min_length=1, max_length=3)]
    changes_state: bool


class Forbidden(Record):
    """ "Tool X must not be used to do Y, because Z"."""

    tool_number: Annotated[int, Field(ge=1, le=5, description="place in tools, from 1")]
    must_not: Clause
    because: Clause


class Toolset(Record):
    """The first step: from a persona, what is to be done and with what."""

    domain: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{2,29}$", description="snake_case")]
    workflow: Annotated[tuple[Clause, ...], Field(min_length=5, max_length=7)]
    tools: Annotated[tuple[ToolForm, ...], Field(min_length=3, max_length=5)]
    forbidden: Forbidden


class ToolCheck(Record):
    """The second step, as changes to the first: less to write, and what is not named stays as it is."""

    removed: Annotated[tuple[Name, ...], Field(max_length=3)]
    rewritten: Annotated[tuple[ToolForm, ...], Field(max_length=3)]
    distractors: Annotated[tuple[ToolForm, ...], Field(min_length=1, max_length=2)]


# --- fuzzy request and constraint -----------------------------------------------------------------------------------


class Known(Record):
    """A fact that only the user knows."""

    slot: Name
    value: Short
    phrase: Clause


class Fuzzy(Record):
    """The third step: what is asked for, what is kept back, and what is true in the world."""

    instruction: Sentence
    facts: Annotated[tuple[Known, ...], Field(min_length=1, max_length=6)]
    background: Passage


class ConstraintForm(Record):
    """The fourth step: the constraint in words and, unless `licence` is `none`, what licenses the tool."""

    text: Sentence
    licence: Literal["told", "call", "none"]
    slot: NoName
    value: Some
    earlier_tool: NoName
    output: NoName
    op: Op
    same: Annotated[tuple[Name, ...], Field(max_length=2)]


# --- executable world -----------------------------------------------------------------------------------------------


RowForm = Annotated[tuple[CellValue, ...], Field(min_length=1, max_length=8)]


class TableForm(Record):
    """The first column is the key."""

    name: Name
    columns: Annotated[tuple[Name, ...], Field(min_length=1, max_length=8)]
    rows: Annotated[
        tuple[Annotated[tuple[CellValue, ...], Field(min_length=1, max_length=8)], ...], Field(max_length=10)
    ]


class ColumnArgument(Record):
    """A column, and the argument that it has to equal."""

    column: Name
    argument: Name


class WriteForm(Record):
    """A column, and where its value comes from: an argument or, if that is empty, `value`."""

    column: Name
    argument: NoName
    value: CellValue


class Returned(Record):
    """An output, and the column it is read from."""

    output: Name
    column: Name


class ConditionForm(Record):
    """`row[field] op value`."""

    field: Name
    op: Op
    value: CellValue | Annotated[tuple[CellValue, ...], Field(max_length=8)]


class RequirementForm(ConditionForm):
    """A precondition of an effect."""

    of: Literal["row", "args"]
    message: Clause


class EffectForm(Record):
    """What a tool does to a table."""

    tool: Name
    op: Literal["get", "find", "create", "update", "delete"]
    table: Name
    key: NoName
    where: Annotated[tuple[ColumnArgument, ...], Field(max_length=3)]
    write: Annotated[tuple[WriteForm, ...], Field(max_length=8)]
    require: Annotated[tuple[RequirementForm, ...], Field(max_length=3)]
    returns: Annotated[tuple[Returned, ...], Field(max_length=2)]


class AnswerForm(Record):
    """Step: end with an outcome and known values."""

    kind: Literal["answer"]
    outcome: Literal["done", "refused", "kept"]
    values: Annotated[tuple[Name, ...], Field(max_length=3)]
    milestone: Clause


class AskForm(Record):
    """Step: ask the user for a fact."""

    kind: Literal["ask"]
    slot: Name
    guess: Short
    milestone: Clause


class ArgumentForm(Record):
    """An argument, and the name of the known value that fills it."""

    argument: Name
    known: Name


class GuessForm(Record):
    """What would be assumed of an output without the call."""

    output: Name
    value: Short


class CallForm(Record):
    """Step: call a tool."""

    kind: Literal["call"]
    tool: Name
    args: Annotated[tuple[ArgumentForm, ...], Field(max_length=4)]
    precaution: bool
    guess: Annotated[tuple[GuessForm, ...], Field(max_length=2)]
    milestone: Clause
    otherwise: AnswerForm | None


class GuardForm(Record):
    """Step: go on only if what is known meets the conditions."""

    kind: Literal["guard"]
    conditions: Annotated[tuple[ConditionForm, ...], Field(min_length=1, max_length=3)]
    otherwise: AnswerForm


class WorldForm(Record):
    """The fifth step, of `tasks.world: executable`: the world as data, and a program that solves the task."""

    tables: Annotated[tuple[TableForm, ...], Field(min_length=1, max_length=4)]
    effects: Annotated[tuple[EffectForm, ...], Field(min_length=1, max_length=14)]
    new_ids: Annotated[tuple[Short, ...], Field(max_length=6)]
    reference: Annotated[tuple[AskForm | CallForm | GuardForm | AnswerForm, ...], Field(min_length=2, max_length=14)]
