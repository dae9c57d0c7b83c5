"""tau2-bench: an agent serves a user in a domain, judged by the domain's state and by what the user was told."""

from __future__ import annotations

from synthagent.ops.environments import ENVIRONMENTS
from synthagent.records import Message
from synthagent.suites.suite import Published, Suite

_WITH_USER = ("mock", "airline", "retail", "telecom")
_ALONE = ("mock_solo", "telecom_solo")
_TEXT: Message = {"role": "assistant", "content": "I cannot help you."}
_DONE: Message = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "c0", "type": "function", "function": {"name": "done", "arguments": "{}"}}],
}

TAU2 = Suite(
    name="tau2",
    environment=next(environment for environment in ENVIRONMENTS if environment.name == "tau2"),
    worker="synthagent.suites.workers.tau2",
    categories=(*_WITH_USER, *_ALONE),
    unsolvable={
        "mock_solo:update_task_with_initialization_data": "something has to be said, and nobody is there to hear it",
    },
    without_gold={
        "mock:update_task_with_history_and_env_assertions": "the task has no actions, but wants a state changed",
    },
    published=(
        Published(
            source="ScaleEnv (arXiv 2602.06820), before and after its training",
            harness="tau2-bench, too; of which version, and which model plays the user, we have not seen",
            figures={
                "Qwen3-8B": {"retail": 38.4, "airline": 30.5, "telecom": 21.5},
                "Qwen3-8B with ScaleEnv": {"retail": 50.9, "airline": 37.5, "telecom": 27.2},
            },
        ),
    ),
    with_user=_WITH_USER,
    farewell="###STOP###",
    silence=dict.fromkeys(_WITH_USER, _TEXT) | dict.fromkeys(_ALONE, _DONE),
)
