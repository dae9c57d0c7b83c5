"""AgentDojo as a worker: tasks of a user in four environments, judged by what became of them and by the last message.

Environments, tools, prompts, parsing and checks are the package's own, as its pipeline without attack and defence uses
them, with the handler of OpenAI endpoints (`native`) or that of models without calls (`prompt`: Python text in tags).

Launch: by `synthagent.suites.worker`, isolated, with the interpreter of `.venv-agentdojo`.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import yaml

from synthagent.suites.workers import protocol
from synthagent.suites.workers.agentdojo_package import (
    SYSTEM_MESSAGES,
    FunctionCall,
    FunctionsRuntime,
    PromptingLLM,
    ToolsExecutor,
    create_python_function_from_tool_call,
    get_suites,
    get_text_content_as_str,
)
from synthagent.suites.workers.protocol import ChatMessage

VERSION = version("agentdojo")
TASKS = "v1.2.2"  # the latest tasks in this version of the package
MOST_ROUNDS = 15  # of calls, as in the package
ATTEMPTS = PromptingLLM._MAX_ATTEMPTS  # at a text with calls that can be read


def problems(category: str) -> list[str]:
    """The ids of a category, which is an environment."""
    return [f"{category}/{task}" for task in get_suites(TASKS)[category].user_tasks]


def texts(category: str) -> list[dict[str, Any]]:
    """What a task may have been copied from."""
    return [_texts(id) for id in problems(category)]


def prepare(id: str) -> dict[str, Any]:
    """Read the environment, which the package keeps as text."""
    _environment(_category(id))
    _system()
    return {}


def start(id: str, style: str) -> _Task:
    """A fresh problem."""
    return _Task(id, style)


def gold(id: str, style: str) -> list[ChatMessage]:
    """The package's ground truth: all its calls at once, since some have more than there may be rounds; its output."""
    task = _Task(id, style)
    return [*_called(task.task.ground_truth(task.environment), style), _answered(task.task.GROUND_TRUTH_OUTPUT, style)]


def _texts(id: str) -> dict[str, Any]:
    task = _Task(id, "native")
    functions = [_tool(function)["function"] for function in task.runtime.functions.values()]
    return protocol.told(id, [task.task.PROMPT], functions, gold(id, "native"))


class _Task:
    """A task of a user in an environment of its own."""

    def __init__(self, id: str, style: str) -> None:
        self.style = style
        self.suite = get_suites(TASKS)[_category(id)]
        self.task = self.suite.user_tasks[id.partition("/")[2]]
        self.environment = self.task.init_environment(_environment(self.suite.name).model_copy(deep=True))
        self.before = self.environment.model_copy(deep=True)
        self.runtime = FunctionsRuntime(self.suite.tools)
        self.calls: list[Any] = []
        self.rounds = 0
        self.unread: list[str] = []  # texts in a row whose calls cannot be read

    def state(self) -> dict[str, Any]:
        asked = {"role": "user", "content": self.task.PROMPT}
        if self.style == "prompt":
            blocks = {"role": "system", "content": _blocks(_system())}
            system = PromptingLLM()._make_tools_prompt(blocks, list(self.runtime.functions.values()))
            text, tools = get_text_content_as_str(system["content"]), []
        else:
            text, tools = _system(), [_tool(function) for function in self.runtime.functions.values()]
        return {"messages": [{"role": "system", "content": text}, asked], "tools": tools, "wants": "policy"}

    def step(self, message: ChatMessage) -> dict[str, Any]:
        if self.style == "prompt":
            try:
                said = _read(message.get("content") or "")
            except Exception as error:  # whatever its parser stumbles over
                return self._asked_again(message, error)
            self.unread = []
        else:
            said = {"content": _blocks(message.get("content") or ""), "tool_calls": _calls(message)}
        self.calls += said["tool_calls"]
        if not said["tool_calls"] or self.rounds == MOST_ROUNDS:
            return self._ended(get_text_content_as_str(said["content"]))
        self.rounds += 1
        return {"messages": self._observed(said["tool_calls"]), "wants": "policy"}

    def _asked_again(self, message: ChatMessage, error: Exception) -> dict[str, Any]:
        self.unread.append(message.get("content") or "")
        if len(self.unread) == ATTEMPTS:
            return self._ended(self.unread[0])
        told = f"Invalid function calling output: {error!s}"[:2_000]
        return {"messages": [{"role": "user", "content": told}], "wants": "policy"}

    def _observed(self, calls: list[Any]) -> list[ChatMessage]:
        found = []
        for call in calls:
            if "unreadable" in (call.placeholder_args or {}):
                result = {"tool_call": call, "content": [], "error": "The arguments are not a JSON object."}
            else:
                asked = [{"role": "assistant", "content": None, "tool_calls": [call]}]
                result = ToolsExecutor().query("", self.runtime, self.environment, asked)[3][-1]
            if self.style == "prompt":
                told = PromptingLLM()._tool_message_to_user_message(result)
                found.append({"role": "user", "content": get_text_content_as_str(told["content"])})
            else:
                text = result["error"] or get_text_content_as_str(result["content"])
                found.append({"role": "tool", "tool_call_id": call.id, "content": text})
        return found

    def _ended(self, output: str) -> dict[str, Any]:
        blocks = _blocks(output)
        passed = self.suite._check_user_task_utility(self.task, blocks, self.before, self.environment, self.calls)
        detail = "" if passed else "its check does not hold"
        if self.rounds == MOST_ROUNDS and not passed:
            detail += f"; stopped after {MOST_ROUNDS} rounds of calls"
        score = {"score": float(bool(passed)), "called": bool(self.calls), "detail": detail}
        return {"messages": [], "wants": "nothing", "score": score}


@cache
def _environment(category: str) -> Any:
    return get_suites(TASKS)[category].load_and_inject_default_environment({})


@cache
def _system() -> str:
    text: str = yaml.safe_load(SYSTEM_MESSAGES.read_text(encoding="utf-8"))["default"]
    return text


def _category(id: str) -> str:
    return id.partition("/")[0]


def _blocks(text: str) -> list[dict[str, str]]:
    return [{"type": "text", "content": text}]


def _tool(function: Any) -> dict[str, Any]:
    schema = function.parameters.model_json_schema()
    return {
        "type": "function",
        "function": {"name": function.name, "description": function.description, "parameters": schema},
    }


def _calls(message: ChatMessage) -> list[Any]:
    """The calls of a message. The package stops as a whole where arguments are no JSON; here the model is told."""
    found = []
    for call in message.get("tool_calls") or ():
        name = call["function"]["name"]
        try:
            arguments = json.loads(call["function"]["arguments"])
            found.append(FunctionCall(function=name, args=arguments, id=call["id"]))
        except (ValueError, RecursionError):  # pydantic's errors are among the first
            found.append(FunctionCall(function=name, args={}, id=call["id"], placeholder_args={"unreadable": True}))
    return found


def _read(text: str) -> dict[str, Any]:
    """What the package's handler of texts makes of one."""
    if "<function-call>" not in text:
        return {"content": _blocks(text), "tool_calls": []}
    said: dict[str, Any] = PromptingLLM()._parse_model_output(SimpleNamespace(content=text))
    return said


def _called(calls: list[Any], style: str) -> list[ChatMessage]:
    if not calls:
        return []
    if style == "prompt":
        text = ", ".join(map(create_python_function_from_tool_call, calls))
        return [{"role": "assistant", "content": f"<function-call>[{text}]</function-call>"}]
    made = [
        {"id": f"c{i}", "type": "function", "function": {"name": call.function, "arguments": json.dumps(call.args)}}
        for i, call in enumerate(calls)
    ]
    return [{"role": "assistant", "content": "", "tool_calls": made}]


def _answered(output: str, style: str) -> ChatMessage:
    text = f"<function-call>[]</function-call><answer>{output}</answer>" if style == "prompt" else output
    return {"role": "assistant", "content": text}


if __name__ == "__main__":
    protocol.serve(sys.modules[__name__])
