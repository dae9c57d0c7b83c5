"""AgentDojo: what a user wants done in an office, a bank, a chat, on a journey; without its attacks."""

from __future__ import annotations

from synthagent.ops.environments import ENVIRONMENTS
from synthagent.suites.suite import Suite

AGENTDOJO = Suite(
    name="agentdojo",
    environment=next(environment for environment in ENVIRONMENTS if environment.name == "agentdojo"),
    worker="synthagent.suites.workers.agentdojo",
    categories=("workspace", "travel", "banking", "slack"),
    styles=("native", "prompt"),
)
