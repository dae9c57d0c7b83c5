"""What tools are expected to return -> what M starts with, for imported tasks, whose world is simulated. No model.

A path is a list of calls with their returns. M holds them under the digest of the state-changing calls before them
(`synthagent.episodes.mapping`), so that the path, called in order, returns what it should without any model.

Which tools change state is not told, and is decided so:

1. a tool reads if its name begins with a word such as `get` or `check` (and does not go on as `get_or_create`), or
   if its description does and no word of it speaks of writing; any other tool changes state;
2. evidence wins: if the path makes the same call twice with different returns, what stands between changes state.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synthagent.episodes.mapping import Key, Mappings, key_of_call, state_of
from synthagent.episodes.world import ToolEvent, fresh_world
from synthagent.llm.store import canonical
from synthagent.records import Task
from synthagent.worlds import Said, Tool

NO_RETURN = "no_return"  # their word, in `hack_path`, for a call that must never be reached
_DEEPEST, _LONGEST_REPR = 40, 100_000
_READS = frozenset(
    re.findall(
        r"\w+",
        "analyse analyze assess browse calculate check compare compute convert count describe detect determine display "
        "estimate evaluate explain fetch find get has identify inspect is list load locate look lookup monitor preview "
        "query read retrieve scan search select show summarize track translate validate verify view",
    )
)
_WRITES = re.compile(
    r"\b(add|append|book|cancel|chang|clos|creat|delet|edit|insert|issu|log|mark|modif|mov|notif|post|record|register|"
    r"remov|reserv|save|schedul|send|set|stor|submit|transfer|updat|writ)(e|es|s|ies|y|ed|ing)?\b",
    re.IGNORECASE,
)


class ItemError(Exception):
    """An item that cannot become a task: the reason in a word, and what is wrong with it."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class Expected:
    """A call of a path. `response` is None where the item leaves open what comes back."""

    tool: str
    args: dict[str, Any]
    response: dict[str, Any] | None

    def as_json(self) -> dict[str, Any]:
        """The call as one JSON object."""
        return {"tool": self.tool, "args": self.args, "response": self.response}


# --- reading --------------------------------------------------------------------------------------------------------


def calls_of(raw: Any) -> tuple[tuple[Expected, ...], tuple[Expected, ...]]:
    """The calls of `normal_path` and of `hack_path`; the whole may be JSON text.

    Raises:
        ItemError: there is no normal path, or a call of either cannot be read.
    """
    paths = _parsed(raw)
    if not isinstance(paths, dict) or not isinstance(paths.get("normal_path"), list):
        raise ItemError("path", "tool_return_expected has no list `normal_path`")
    normal = tuple(_call(part, f"normal_path call {n}", "") for n, part in enumerate(paths["normal_path"], 1))
    hack = tuple(
        _call(part, f"hack_path call {n}", NO_RETURN) for n, part in enumerate(paths.get("hack_path") or [], 1)
    )
    return normal, hack


def _call(part: Any, place: str, open_word: str) -> Expected:
    if not isinstance(part, dict) or not isinstance(part.get("tool_name"), str) or "expected_output" not in part:
        raise ItemError("path", f"{place}: needs tool_name, input and expected_output")
    args, given = _parsed(part.get("input", {})), part["expected_output"]
    if not isinstance(args, dict):
        raise ItemError("path", f"{place}: its input is no object")
    return Expected(part["tool_name"], args, None if given == open_word else response_of(given))


def response_of(given: Any) -> dict[str, Any]:
    """An expected output as an object: itself, or what its text says, or `{"result": ..}` around it; lossless."""
    value = _parsed(given)
    return value if isinstance(value, dict) else {"result": value}


def _parsed(given: Any) -> Any:
    """A text that is a JSON or Python object or list, as such; anything else as it is."""
    if not isinstance(given, str) or given.strip()[:1] not in ("{", "["):
        return given
    try:
        value = json.loads(given)
    except (ValueError, RecursionError):
        try:
            value = ast.literal_eval(given.strip()) if len(given) <= _LONGEST_REPR else given
            value = json.loads(json.dumps(value, allow_nan=False)) if _is_jsonable(value) else given
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return given
    return given if unsound(value) else value


def _is_jsonable(value: Any) -> bool:
    """Whether JSON keeps a Python value: a set, bytes or a key that is no text would be lost or changed."""
    match value:
        case dict():
            return all(isinstance(key, str) and _is_jsonable(part) for key, part in value.items())
        case list() | tuple():
            return all(map(_is_jsonable, value))
        case _:
            return value is None or isinstance(value, str | int | float | bool)


def unsound(value: Any, levels: int = _DEEPEST) -> str:
    """Why a JSON value cannot be stored: too deep, a number that JSON lacks, half a surrogate pair; else empty."""
    match value:
        case dict() | list() if not levels:
            return f"nested deeper than {_DEEPEST} levels"
        case dict():
            return next((fault for pair in value.items() for part in pair if (fault := unsound(part, levels - 1))), "")
        case list():
            return next((fault for part in value if (fault := unsound(part, levels - 1))), "")
        case float() if not math.isfinite(value):
            return f"{value} is no JSON number"
        case str() if any("\ud800" <= letter <= "\udfff" for letter in value):
            return "a text with half a surrogate pair"
        case _:
            return ""


def objects_in(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects in a text, one a line or otherwise, in a list or not.

    Raises:
        ItemError: something else stands between them.
    """
    decoder, place = json.JSONDecoder(), 0
    while rest := re.compile(r"[\s,]*").match(text, place):
        place = rest.end()
        if place == len(text):
            return
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            raise ItemError("tools", f"not JSON at line {text.count(chr(10), 0, place) + 1} of <tools>") from None
        for found in value if isinstance(value, list) else [value]:
            if not isinstance(found, dict):
                raise ItemError("tools", "<tools> lists something that is no object")
            yield found


def text_of(value: Any) -> str:
    """A value as text: a text as it is, nothing for null, JSON for the rest."""
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


# --- M --------------------------------------------------------------------------------------------------------------


def seeded(task: Task, normal: Sequence[Expected], hack: Sequence[Expected]) -> Task:
    """The task with its state-changing tools marked and its M started, so that `normal` is answered from M.

    Raises:
        ItemError: a call of `normal` is one that no tool takes, or contradicts an earlier one.
    """
    for number, call in enumerate(normal, 1):
        if refusal := fresh_world(task).refusal(call.tool, call.args):
            raise ItemError("path", f"normal_path call {number}, {call.tool[:80]!r}: {refusal.result['error']}")
    task = _marked(task, {tool.name for tool in task.tools if not _only_reads(tool)})
    while found := _contradiction(task, normal):
        task = _marked(task, _changing(task) | found)
    known = dict(_keyed(task, normal))
    known |= {key: call for key, call in _agreeing(task, hack, known) if key not in known}
    said = tuple(
        Said(tool=key.tool, args=call.args, state=key.state, response=call.response or {})
        for key, call in known.items()
    )
    task = task.model_copy(update={"world": task.world.model_copy(update={"said": said})})
    prove_path(task, normal)
    return task


def prove_path(task: Task, path: Sequence[Expected]) -> None:
    """Call a path in order, with what M starts with and nothing else.

    Raises:
        ItemError: M does not know a call, or answers otherwise than expected.
    """
    mappings = Mappings()
    mappings.begin(task)
    known = {key_of_call(e.tool, e.args, e.state): e.response for e in mappings.entries_of(task.id)}
    for number, (key, call) in enumerate(_keyed(task, path), 1):
        if key not in known or canonical(known[key]) != canonical(call.response):
            raise ItemError("path", f"normal_path call {number}, {call.tool[:80]!r}: M does not answer it as expected")


def made_in(task: Task) -> Iterator[str]:
    """Texts that state-changing calls in M return and did not receive: only tools can make them."""
    changing = _changing(task)
    for said in task.world.said:
        if said.tool in changing:
            given = {text_of(value) for value in said.args.values()}
            yield from (value for value in said.response.values() if isinstance(value, str) and value not in given)


def _keyed(task: Task, path: Sequence[Expected]) -> Iterator[tuple[Key, Expected]]:
    """The calls of a path under their keys in M."""
    events = list[ToolEvent]()
    for call in path:
        yield key_of_call(call.tool, call.args, state_of(task, events)), call
        response = call.response or {}
        events.append(ToolEvent(call.tool, call.args, "error" not in response, response))


def _agreeing(task: Task, hack: Sequence[Expected], known: Mapping[Key, Expected]) -> Iterator[tuple[Key, Expected]]:
    """The calls of the hack path with a known return, up to the first that contradicts M or has no known return."""
    world, changing = fresh_world(task), _changing(task)
    seen = dict(known)
    for key, call in _keyed(task, hack):
        earlier = seen.setdefault(key, call).response
        if world.refusal(call.tool, call.args) or canonical(earlier) != canonical(call.response):
            return
        if call.response is not None:
            yield key, call
        elif call.tool in changing:
            return


def _contradiction(task: Task, path: Sequence[Expected]) -> set[str]:
    """Tools to be marked, as the path shows the same call with different returns; empty if it does not."""
    first: dict[Key, int] = {}
    changing = _changing(task)
    for number, (key, call) in enumerate(_keyed(task, path)):
        start = first.setdefault(key, number)
        if canonical(path[start].response) == canonical(call.response):
            continue
        candidates = [
            c.tool for c in path[start:number] if "error" not in (c.response or {}) and c.tool not in changing
        ]
        between = {tool for tool in candidates if tool != call.tool} or set(candidates)
        if not between:
            raise ItemError(
                "path", f"normal_path call {number + 1}, {call.tool!r}: contradicts call {start + 1}, the same call"
            )
        return between
    return set()


def _changing(task: Task) -> set[str]:
    return {tool.name for tool in task.tools if tool.changes_state}


def _marked(task: Task, changing: set[str]) -> Task:
    tools = tuple(tool.model_copy(update={"changes_state": tool.name in changing}) for tool in task.tools)
    return task.model_copy(update={"tools": tools})


def _only_reads(tool: Tool) -> bool:
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", tool.name).lower())
    if words and words[0] in _READS:
        return not {"and", "or"} & set(words)
    description = tool.description.lower()
    first = next(iter(re.findall(r"[a-z]+", description)), "")
    stems = {first, first.removesuffix("s"), first.removesuffix("es"), f"{first.removesuffix('ies')}y"}
    return bool(stems & _READS) and not _WRITES.search(description)
