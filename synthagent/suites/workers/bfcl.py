"""The Berkeley Function-Calling Leaderboard, V4, as a worker: Python single-turn and multi-turn categories.

Prompts, parsing and scoring are the package's own, as its handler of OpenAI endpoints uses them (`native`), and its
handler of models without calls (`prompt`: Python text).

Launch: by `synthagent.suites.worker`, isolated, with the interpreter of `.venv-bfcl`.
"""

from __future__ import annotations

import ast
import copy
import json
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

from synthagent.suites.workers import protocol
from synthagent.suites.workers.bfcl_package import (
    DEFAULT_USER_PROMPT_FOR_ADDITIONAL_FUNCTION_FC,
    DEFAULT_USER_PROMPT_FOR_ADDITIONAL_FUNCTION_PROMPTING,
    GORILLA_TO_OPENAPI,
    MAXIMUM_STEP_LIMIT,
    Language,
    ModelStyle,
    ast_checker,
    handling,
    multi_turn_checker,
    multi_turn_utils,
    utils,
)
from synthagent.suites.workers.protocol import ChatMessage

VERSION = version("bfcl_eval")


# --- the suite --------------------------------------------------------------------------------------------------------


def problems(category: str) -> list[str]:
    """The ids of a category."""
    return list(_entries(category))


def prepare(id: str) -> dict[str, Any]:
    """Read the problems of a category, and its answers."""
    _entries(_category(id))
    if "irrelevance" not in id:
        _truth(_category(id))
    return {}


def start(id: str, style: str) -> _SingleTurn | _MultiTurn:
    """A fresh problem."""
    return (_MultiTurn if "multi_turn" in id else _SingleTurn)(id, style)


def gold(id: str, style: str) -> list[ChatMessage]:
    """The right calls. All of a turn are made at once, since two problems need more steps than are allowed."""
    category = _category(id)
    if "irrelevance" in category:
        return [{"role": "assistant", "content": "None of the functions can be used."}]
    if "multi_turn" not in category:
        functions = _entries(category)[id]["function"]
        return [_said([_chosen(call, functions) for call in _truth(category)[id]], style)]
    entry = _entries(category)[id]
    hidden = [function for functions in entry.get("missed_function", {}).values() for function in functions]
    names = {function["name"]: list(function["parameters"]["properties"]) for function in entry["function"] + hidden}
    found = []
    for turn in _truth(category)[id]:
        if turn:
            found.append(_said([_named(call, names) for call in turn], style))
        found.append({"role": "assistant", "content": "Done."})
    return found


def texts(category: str) -> list[dict[str, Any]]:
    """What a task may have been copied from."""
    return [_texts(id, entry) for id, entry in _entries(category).items()]


def _texts(id: str, entry: dict[str, Any]) -> dict[str, Any]:
    functions = [*entry["function"], *(f for some in entry.get("missed_function", {}).values() for f in some)]
    instructions = [said["content"] for turn in entry["question"] for said in turn if said["role"] == "user"]
    return protocol.told(id, instructions, functions, gold(id, "native"))


@cache
def _entries(category: str) -> dict[str, dict[str, Any]]:
    return {entry["id"]: entry for entry in utils.load_dataset_entry(category)}


@cache
def _truth(category: str) -> dict[str, list[Any]]:
    # By place, as the package does: ids differ here and there.
    truths = utils.load_ground_truth_entry(category)
    return dict(zip(_entries(category), (entry["ground_truth"] for entry in truths), strict=True))


def _category(id: str) -> str:
    return id.rsplit("_", 1)[0]


class _SingleTurn:
    """One question, one message, judged by the calls in it."""

    def __init__(self, id: str, style: str) -> None:
        self.id, self.style, self.category = id, style, _category(id)
        self.entry = copy.deepcopy(_entries(self.category)[id])
        self.result: Any = ""

    def state(self) -> dict[str, Any]:
        messages, functions = self.entry["question"][0], self.entry["function"]
        if self.style == "prompt":
            messages = handling.system_prompt_pre_processing_chat_model(messages, functions, self.id)
        return {"messages": messages, "tools": _tools(functions, self.style), "wants": "policy"}

    def step(self, message: ChatMessage) -> dict[str, Any]:
        self.result = _result(message, self.style)
        return _ended(self._score())

    def _score(self) -> dict[str, Any]:
        try:
            calls, fault = _decoded(self.result, self.style), ""
        except Exception as error:
            calls, fault = None, f"no calls in it: {error}"
        called = calls is not None and not utils.is_empty_output(calls)
        if "irrelevance" in self.category:
            return _scored(not called, called, "" if not called else f"called {_short(calls)}")
        if not utils.is_function_calling_format_output(calls):
            return _scored(False, called, fault or "not in the form of calls")
        found = ast_checker(
            self.entry["function"], calls, _truth(self.category)[self.id], Language.PYTHON, self.category, self.style
        )
        return _scored(found["valid"], called, "" if found["valid"] else f"{found['error_type']}: {found['error']}")


class _MultiTurn:
    """Several requests of a user, one after the other, in the package's simulators, judged by their state."""

    def __init__(self, id: str, style: str) -> None:
        self.id, self.style, self.category = id, style, _category(id)
        self.entry = copy.deepcopy(_entries(self.category)[id])
        self.turn = self.steps = 0
        self.results: list[list[Any]] = [[]]

    def state(self) -> dict[str, Any]:
        messages = self.entry["question"][0]
        if self.style == "prompt":
            messages = handling.system_prompt_pre_processing_chat_model(messages, self.entry["function"], self.id)
        return {"messages": messages, "tools": _tools(self.entry["function"], self.style), "wants": "policy"}

    def step(self, message: ChatMessage) -> dict[str, Any]:
        result = _result(message, self.style)
        self.results[-1].append(result)
        try:
            calls = _executable(result, self.style)
        except Exception:
            calls = []
        if multi_turn_utils.is_empty_execute_response(calls):
            return self._next_turn()
        observed, _ = multi_turn_utils.execute_multi_turn_func_call(
            calls,
            self.entry["initial_config"],
            self.entry["involved_classes"],
            self.style,
            self.id,
            long_context="long_context" in self.category,
        )
        self.steps += 1
        if self.steps > MAXIMUM_STEP_LIMIT:
            return _ended(self._score())
        return {"messages": self._observations(message, calls, observed), "wants": "policy"}

    def _observations(self, message: ChatMessage, calls: list[str], observed: list[str]) -> list[ChatMessage]:
        if self.style == "prompt":
            text = handling.format_execution_results_prompting({}, observed, {"model_responses_decoded": calls})
            return [{"role": "user", "content": text}]
        ids = [call["id"] for call in message["tool_calls"]]
        return [{"role": "tool", "tool_call_id": i, "content": said} for i, said in zip(ids, observed, strict=True)]

    def _next_turn(self) -> dict[str, Any]:
        self.turn, self.steps = self.turn + 1, 0
        if self.turn == len(self.entry["question"]):
            return _ended(self._score())
        self.results.append([])
        found: dict[str, Any] = {"messages": self.entry["question"][self.turn], "wants": "policy"}
        if (added := self.entry.get("missed_function", {}).get(str(self.turn))) is not None:
            self.entry["function"] += added
            told = DEFAULT_USER_PROMPT_FOR_ADDITIONAL_FUNCTION_FC
            if self.style == "prompt":
                told = DEFAULT_USER_PROMPT_FOR_ADDITIONAL_FUNCTION_PROMPTING.format(functions=added)
            found["messages"] = [{"role": "user", "content": told}]
            found["tools"] = _tools(self.entry["function"], self.style)
        return found

    def _score(self) -> dict[str, Any]:
        truth = _truth(self.category)[self.id]
        decoded: list[list[list[str]]] = []
        for turn in self.results:
            decoded.append([])
            for result in turn:
                try:
                    calls = _executable(result, self.style)
                except Exception:
                    continue
                if not multi_turn_utils.is_empty_execute_response(calls):
                    decoded[-1].append(calls)
        called = any(decoded)
        if len(decoded) != len(truth):
            return _scored(False, called, f"stopped after {MAXIMUM_STEP_LIMIT} steps in turn {self.turn}")
        found = multi_turn_checker(decoded, truth, self.entry, self.category, self.style)
        return _scored(found["valid"], called, f"{found.get('error_type', '')}: {found.get('error_message', '')}")


def _tools(functions: list[dict[str, Any]], style: str) -> list[dict[str, Any]]:
    if style == "prompt":
        return []
    found: list[dict[str, Any]] = handling.convert_to_tool(functions, GORILLA_TO_OPENAPI, ModelStyle.OPENAI_COMPLETIONS)
    return found


def _result(message: ChatMessage, style: str) -> Any:
    """What the package keeps of a message: its text, or its calls."""
    calls = message.get("tool_calls")
    if style == "prompt" or not calls:
        return message.get("content") or ""
    return [{call["function"]["name"]: call["function"]["arguments"]} for call in calls]


def _decoded(result: Any, style: str) -> Any:
    if style == "prompt":
        return handling.default_decode_ast_prompting(result)
    return [{name: json.loads(arguments) for name, arguments in call.items()} for call in result]


def _executable(result: Any, style: str) -> Any:
    if style == "prompt":
        return handling.default_decode_execute_prompting(result)
    return handling.convert_to_function_call(result)


def _ended(score: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [], "wants": "nothing", "score": score}


def _scored(passed: bool, called: bool, detail: str) -> dict[str, Any]:
    return {
        "score": float(passed),
        "called": called,
        "detail": "" if passed else detail[:300],
    }


def _short(value: Any) -> str:
    return str(value)[:200]


# --- gold -------------------------------------------------------------------------------------------------------------


def _chosen(call: dict[str, dict[str, list[Any]]], functions: list[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """A call of which every argument has the first of its right values; one that may be left out is."""
    ((name, arguments),) = call.items()
    required = next(f["parameters"].get("required", ()) for f in functions if f["name"] == name)
    return name, _of_options(arguments, required)


def _of_options(options: dict[str, list[Any]], required: Sequence[str] = ()) -> dict[str, Any]:
    return {
        name: next((_plain(option) for option in some if option != ""), some[0] if some else [])
        for name, some in options.items()
        if "" not in some or name in required
    }


def _plain(option: Any) -> Any:
    """An option without options in it. Of an object in an object the suite has the value alone."""
    if isinstance(option, dict) and all(isinstance(some, list) for some in option.values()):
        return _of_options(option)
    return [_plain(part) for part in option] if isinstance(option, list) else option


def _named(call: str, names: dict[str, list[str]]) -> tuple[str, dict[str, Any]]:
    """A call written in Python, all its arguments by name."""
    tree = ast.parse(call, mode="eval").body
    assert isinstance(tree, ast.Call)
    name = ast.unparse(tree.func)
    arguments = [*zip(names[name], tree.args, strict=False), *((key.arg, key.value) for key in tree.keywords)]
    return name, {str(key): ast.literal_eval(value) for key, value in arguments}


def _said(calls: list[tuple[str, dict[str, Any]]], style: str) -> ChatMessage:
    if style == "prompt":
        texts = (f"{name}({', '.join(f'{key}={value!r}' for key, value in args.items())})" for name, args in calls)
        return {"role": "assistant", "content": f"[{', '.join(texts)}]"}
    functions = [{"name": name.replace(".", "_"), "arguments": json.dumps(args)} for name, args in calls]
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": f"c{i}", "type": "function", "function": f} for i, f in enumerate(functions)],
    }


if __name__ == "__main__":
    protocol.serve(sys.modules[__name__])
