"""Simulated tools: a call in a simulated world -> its event, from the mapping M or, for a new call, from a model.

One call of the model both looks for an equal entry of M and, where there is none, writes the response, which then
enters M. What decides the answer is the world, the call and the state, not the prompt (M grows by chance): a stage that
is run again gets the same world.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, conlist, create_model

from synthagent.episodes.episode import Episode
from synthagent.episodes.mapping import Key, Mappings, digest_of, key_of_call, made_entry, state_of
from synthagent.episodes.world import ToolEvent
from synthagent.errors import SynthAgentError
from synthagent.frozen import Record
from synthagent.llm.client import Llm, Request
from synthagent.llm.prompts import fenced, render
from synthagent.llm.store import canonical
from synthagent.records import MappingEntry, Task
from synthagent.worlds import Tool

_LONGEST_TEXT = 200
_MOST_ITEMS = 8
_MOST_EQUAL, _MOST_OTHERS, _LONGEST_LINE = 30, 20, 400


class Failure(Record):
    """What a tool says when it cannot do what it was called for."""

    error: str = Field(min_length=1, max_length=120)


class SimulatedTools:
    """The tools of simulated worlds. `llm` is None where the role `tools` has no model: then only M answers."""

    def __init__(self, llm: Llm | None, mappings: Mappings) -> None:
        self._llm, self._mappings = llm, mappings
        self._shapes: dict[str, type[BaseModel]] = {}
        self._digests: dict[str, str] = {}

    async def call(self, episode: Episode, name: str, args: Any) -> ToolEvent:
        """The event of a call; not logged.

        Raises:
            BadReplyError: the model's answer cannot be used.
            SynthAgentError: M does not know the call, and the role has no model; or as `Llm.chat`.
        """
        refused = episode.world.refusal(name, args)
        if refused is not None:
            return refused
        task = episode.task
        key = key_of_call(name, args, state_of(task, episode.world.events))
        entry = await self._mappings.answer(task, key, lambda: self._make(episode, key))
        return ToolEvent(name, args, "error" not in entry.response, entry.response)

    async def _make(self, episode: Episode, key: Key) -> MappingEntry:
        """Ask the model."""
        llm, task = self._llm, episode.task
        if llm is None:
            raise SynthAgentError(
                f"{task.id}: its world is simulated, and nothing is known of this call of {key.tool}; set "
                "roles.tools.backend to openai, with base_url and model, in params.yaml"
            )
        decided_by: dict[str, Any] = {"world": self._digest(task), **key._asdict()}
        sample = 0
        if not self._mappings.enabled:
            decided_by |= {"task": task.id, "call": episode.n_tool_calls}
            sample = 1_000 * episode.sample + episode.n_tool_calls  # another seed for the server, too
        known = self._mappings.entries_of(task.id) if self._mappings.enabled else []
        equal = [e for e in known if (e.tool, e.state) == (key.tool, key.state)][:_MOST_EQUAL]
        tool = next(tool for tool in task.tools if tool.name == key.tool)
        prompt = render("tools", **_shown(episode, tool, key, equal, known))
        request = Request(prompt.messages, prompt.version, sample, decided_by=decided_by)
        given = (await llm.ask("tools", request, self._shape(tool))).value.model_dump(by_alias=True)
        number, response = given["equal_to"], given["response"]
        if number is None:
            return made_entry(task, key, response, equal=False)
        # What the number stood for is kept: when this is run again, M may have grown in another order.
        chosen = equal[number - 1].response if 1 <= number <= len(equal) else None
        kept = json.loads(llm.settle("tools", {"equal": decided_by, "prompt": prompt.version}, json.dumps(chosen)))
        return made_entry(task, key, response if kept is None else kept, equal=kept is not None)

    def _digest(self, task: Task) -> str:
        if task.id not in self._digests:
            self._digests[task.id] = digest_of(task)
        return self._digests[task.id]

    def _shape(self, tool: Tool) -> type[BaseModel]:
        """The shape of an answer for this tool; guided decoding holds the model to it."""
        text = canonical(tool.outputs)
        if text not in self._shapes:
            self._shapes[text] = answer_shape(tool.outputs)
        return self._shapes[text]


def answer_shape(outputs: Mapping[str, Any]) -> type[BaseModel]:
    """The record of an answer: `equal_to`, `ok` and `response`, which has the declared outputs, or `error`.

    What kind of response it is decides whether the call went well; `ok` makes the model think of it first. Outputs that
    are not declared are dropped. Fields are numbered, and named by alias, as an output may have any name.
    """
    fields: dict[str, Any] = {
        f"output_{number}": (_type_of(declared), Field(alias=name))
        for number, (name, declared) in enumerate(outputs.items())
    }
    config = ConfigDict(
        frozen=True, extra="ignore", coerce_numbers_to_str=True, json_schema_extra={"additionalProperties": False}
    )
    response: Any = create_model("Response", __config__=config, **fields)
    return create_model(
        "ToolAnswer",
        __config__=ConfigDict(frozen=True, extra="ignore", json_schema_extra={"additionalProperties": False}),
        equal_to=(int | None, Field()),
        ok=(bool, Field()),
        response=(response | Failure, Field()),
    )


def _type_of(declared: Any) -> Any:
    """The Python type of an output's JSON schema, bounded, so that every answer ends."""
    text: Any = Annotated[str, Field(max_length=_LONGEST_TEXT)]
    schema = declared if isinstance(declared, Mapping) else {}
    kinds = schema.get("type", "string")
    if isinstance(kinds, list):
        types = [_type_of({**schema, "type": kind}) for kind in kinds] or [text]
        union = types[0]
        for further in types[1:]:
            union = union | further
        return union
    choices = schema.get("enum")
    if isinstance(choices, list) and choices and all(isinstance(choice, str) for choice in choices):
        return Literal[tuple(choices)]
    match kinds:
        case "integer":
            return int
        case "number":
            return Annotated[float, Field(allow_inf_nan=False)] | int
        case "boolean":
            return bool
        case "null":
            return None
        case "array":
            item = schema.get("items")
            inner = item if isinstance(item, Mapping) and item.get("type") not in ("array", "object") else {}
            return conlist(_type_of(inner), max_length=_MOST_ITEMS)
        case "object":
            return Annotated[dict[text, text], Field(max_length=_MOST_ITEMS)]
        case _:
            return text


def _shown(
    episode: Episode,
    tool: Tool,
    key: Key,
    equal: Sequence[MappingEntry],
    known: Sequence[MappingEntry],
) -> dict[str, Any]:
    """What the prompt shows."""
    others = [e for e in known if (e.tool, e.state) != (key.tool, key.state)][-_MOST_OTHERS:]
    changes = {tool.name for tool in episode.task.tools if tool.changes_state}
    done = [
        _line({"tool": e.tool, "arguments": e.args, "response": e.result})
        for e in episode.world.events
        if isinstance(e, ToolEvent) and e.ok and e.tool in changes
    ]
    return {
        "tool": fenced(json.dumps({**tool.schema_of_openai["function"], "outputs": tool.outputs})),
        "background": fenced(episode.task.world.background),
        "equal": fenced("\n".join(f"{n}. {_line(_said(e))}" for n, e in enumerate(equal, 1))) if equal else "",
        "others": fenced("\n".join(_line(_said(e)) for e in others)) if others else "",
        "done": fenced("\n".join(done)) if done else "",
        "call": fenced(f"{key.tool} {key.args}"),
        "example": json.dumps({"equal_to": None, "ok": True, "response": dict.fromkeys(tool.outputs, "...")}),
    }


def _said(entry: MappingEntry) -> dict[str, Any]:
    return {"tool": entry.tool, "arguments": entry.args, "response": entry.response}


def _line(value: Any) -> str:
    return json.dumps(value, default=str)[:_LONGEST_LINE]
