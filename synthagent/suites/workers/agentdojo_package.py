# ruff: noqa: E402 (the package is imported once what it would import and never use is out of its way)
"""The package `agentdojo`, made fit for a worker: only what a worker uses is loaded, and the time stands still.

What it would import besides are the clients of vendors: its pipelines ask models themselves, a worker never does.
"""

from __future__ import annotations

import sys
import types
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_found = find_spec("agentdojo")
if _found is None or not _found.submodule_search_locations:
    raise ImportError("the package agentdojo is not here")
_FOLDER = Path(_found.submodule_search_locations[0])
_OPENAI = ("AssistantMessageParam", "DeveloperMessageParam", "Message", "MessageParam", "ToolMessageParam")
_NEVER_USED: dict[str, dict[str, Any]] = {
    # Packages whose own modules are wanted, but not all that their `__init__` imports.
    "agentdojo.agent_pipeline": {"__path__": [str(_FOLDER / "agent_pipeline")]},
    "agentdojo.agent_pipeline.llms": {"__path__": [str(_FOLDER / "agent_pipeline" / "llms")]},
    "agentdojo.agent_pipeline.llms.google_llm": {"EMPTY_FUNCTION_NAME": "<empty-function-name>"},
    "agentdojo.agent_pipeline.llms.openai_llm": {
        "OpenAILLM": type("OpenAILLM", (), {}),
        **dict.fromkeys(("_message_to_openai", "_tool_call_to_openai", "chat_completion_request")),
    },
    "agentdojo.logging": {"Logger": None},
    "openai": {"__path__": []},
    "openai.types": {"__path__": []},
    "openai.types.chat": dict.fromkeys((f"ChatCompletion{name}" for name in (*_OPENAI, "UserMessageParam")), Any),
}
for _name, _content in _NEVER_USED.items():
    sys.modules[_name] = types.ModuleType(_name)
    vars(sys.modules[_name]).update(_content)

from agentdojo.agent_pipeline.llms.prompting_llm import PromptingLLM
from agentdojo.agent_pipeline.tool_execution import ToolsExecutor
from agentdojo.ast_utils import create_python_function_from_tool_call
from agentdojo.default_suites.v1.tools import cloud_drive_client, email_client
from agentdojo.functions_runtime import FunctionCall, FunctionsRuntime
from agentdojo.task_suite.load_suites import get_suites
from agentdojo.types import get_text_content_as_str

__all__ = [
    "SYSTEM_MESSAGES",
    "FunctionCall",
    "FunctionsRuntime",
    "PromptingLLM",
    "ToolsExecutor",
    "create_python_function_from_tool_call",
    "get_suites",
    "get_text_content_as_str",
]

SYSTEM_MESSAGES = _FOLDER / "data" / "system_messages.yaml"

# Two modules say when a mail was sent, or a file written, by the clock. A policy would read another text in each run;
# no check looks at it. It is later than all that happens in the environments, as the clock is.
_STANDING = types.SimpleNamespace(datetime=types.SimpleNamespace(now=lambda: datetime(2026, 1, 1)))
email_client.datetime = cloud_drive_client.datetime = _STANDING
