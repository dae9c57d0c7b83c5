# ruff: noqa: E402 (the package is imported once what it would import and never use is out of its way)
"""The package `tau2`, made fit for a worker: no client of a model is loaded, and no text of a model is run.

Each domain's data are read once for all problems.
"""

from __future__ import annotations

import gc
import pickle
import sys
import types
from functools import cache
from typing import Any

_NEVER_USED: dict[str, dict[str, Any]] = {  # clients of models, whose place a worker takes, and tables of results
    "litellm": {"completion": None, "completion_cost": None, "disable_cache": lambda: None},
    "litellm.caching": {},
    "litellm.caching.caching": {"Cache": None},
    "litellm.main": {"ModelResponse": None, "Usage": None},
    "pandas": {"DataFrame": None},
}
for _name, _content in _NEVER_USED.items():
    sys.modules[_name] = types.ModuleType(_name)
    vars(sys.modules[_name]).update(_content)

from loguru import logger

logger.remove()  # it tells every step

from tau2.agent import llm_agent
from tau2.agent.llm_agent import LLMAgent, LLMSoloAgent
from tau2.config import DEFAULT_MAX_ERRORS, DEFAULT_MAX_STEPS
from tau2.data_model.message import AssistantMessage, ToolCall
from tau2.data_model.simulation import SimulationRun, TerminationReason
from tau2.data_model.tasks import Task
from tau2.domains.airline import tools as airline_tools
from tau2.domains.retail import tools as retail_tools
from tau2.environment.db import DB
from tau2.evaluator.evaluator import EvaluationType, evaluate_simulation
from tau2.orchestrator.orchestrator import Orchestrator
from tau2.registry import registry
from tau2.user import user_simulator
from tau2.user.base import STOP
from tau2.user.user_simulator import DummyUser, UserSimulator
from tau2.utils.llm_utils import to_litellm_messages

from synthagent.suites.workers.arithmetic import arithmetic

__all__ = [
    "DEFAULT_MAX_ERRORS",
    "DEFAULT_MAX_STEPS",
    "STOP",
    "AssistantMessage",
    "DummyUser",
    "EvaluationType",
    "LLMAgent",
    "LLMSoloAgent",
    "Orchestrator",
    "SimulationRun",
    "Task",
    "TerminationReason",
    "ToolCall",
    "UserSimulator",
    "evaluate_simulation",
    "llm_agent",
    "registry",
    "to_litellm_messages",
    "user_simulator",
]

_load = DB.load.__func__


@cache
def _stored(kind: Any, path: str) -> bytes:
    return pickle.dumps(_load(kind, path))


def _loaded(kind: Any, path: str) -> Any:
    """In place of a domain's `load`: reading a database anew takes most of a problem's time, and it is read thrice."""
    return pickle.loads(_stored(kind, str(path)))


DB.load = classmethod(_loaded)
gc.disable()  # a problem's process lives shortly, and looking for its garbage would take half of that
airline_tools.eval = retail_tools.eval = arithmetic  # a module's own name goes before the built-in one
