"""What a trainer sends and gets over OpenEnv, and its client: an action is a chat message, an observation what answers.

`synthagent export openenv FOLDER` copies this module into the package that it writes.
"""

# mypy: disable-error-code="import-not-found,misc"

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openenv.core import EnvClient
from openenv.core.client_types import StepResult
from openenv.core.env_server.types import Action, Observation, State
from pydantic import Field


class WorldAction(Action):
    """One message of the assistant, as of OpenAI's chat completions: native calls, or text.

    Text is said to the user, unless it has `<answer>..</answer>`, which ends the episode; calls that the model wrote as
    text in the Hermes format are calls, too.
    """

    content: str = Field(default="", description="text to the user, or the answer in its tags")
    tool_calls: list[dict[str, Any]] = Field(
        default_factory=list, description='`{"id": .., "function": {"name": .., "arguments": JSON text}}` each'
    )


class WorldObservation(Observation):
    """The messages that answer; after `reset` those that open the episode, and the tools."""

    messages: list[dict[str, Any]] = Field(default_factory=list, description="OpenAI chat messages")
    tools: list[dict[str, Any]] = Field(default_factory=list, description="OpenAI function schemas; after reset only")
    outcome: dict[str, Any] = Field(default_factory=dict, description="at the end: verdicts, and what they come to")


class WorldState(State):
    """Where an episode stands; nothing that the policy may not know."""

    task_id: str = ""
    end: str | None = Field(default=None, description="answer, turn_limit or error; null before the end")


class WorldClient(EnvClient[WorldAction, WorldObservation, WorldState]):
    """A session with the server: `reset(task_id=..)`, `reset(split=.., index=..)` or `reset(seed=..)`, then `step`."""

    def _step_payload(self, action: WorldAction) -> dict[str, Any]:
        return dict(action.model_dump())

    def _parse_result(self, payload: Mapping[str, Any]) -> StepResult[WorldObservation]:
        done, reward = bool(payload.get("done")), payload.get("reward")
        observation = WorldObservation(**payload.get("observation", {}), done=done, reward=reward)
        return StepResult(observation=observation, reward=reward, done=done)

    def _parse_state(self, payload: Mapping[str, Any]) -> WorldState:
        return WorldState(**payload)
