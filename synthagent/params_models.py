"""The sections of `params.yaml` about language models: who plays which role, how they are called and served."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from synthagent.frozen import Record
from synthagent.params_values import Count, Rate

Backend = Literal["embedded", "local", "openai"]


class Role(Record):
    """Who plays a role. All but `backend` matter to `openai` only; null leaves the choice to the server.

    With `grpo.generation: served` the policy's base_url, model and api_key_env say where the student is served.
    """

    backend: Backend
    base_url: str | None = Field(default=None, description="such as http://127.0.0.1:8000/v1; null: api.openai.com")
    model: str | None = Field(default=None, description="the name under which the server serves it")
    api_key_env: str | None = Field(default=None, description="name of the environment variable that holds the key")
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: Count | None = Field(default=None, description="most tokens of one answer")


class Roles(Record):
    """The five roles."""

    teacher: Role
    user: Role
    tools: Role
    judge: Role
    policy: Role


class Price(Record):
    """What a model costs, in USD per million tokens."""

    prompt: Annotated[float, Field(ge=0)]
    completion: Annotated[float, Field(ge=0)]


class LlmParams(Record):
    """How endpoints are called, by whatever role. A budget counts all that `.cache/llm` says was paid for here."""

    max_concurrency: Count = Field(description="calls in flight at once, and episodes")
    timeout_s: Rate = Field(description="longest wait for one answer")
    max_retries: Annotated[int, Field(ge=0)] = Field(description="of a call that failed for no fault of its own")
    replay: Literal["off", "only"] = Field(description="only: answer from .cache/llm, never call")
    max_tokens_total: Count | None = Field(description="prompt and completion; null: no limit")
    max_usd: Rate | None = Field(description="needs a price for every model; null: no limit")
    prices: dict[str, Price] = Field(description="model -> USD per million tokens")

    @field_validator("replay", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        return "off" if value is False else value  # YAML reads a bare `off` as false


class ServeParams(Record):
    """How `synthagent serve ROLE` starts a vLLM server; host, port and served name come from the role."""

    python: str = Field(description="interpreter that has vllm, of a virtual environment of its own")
    weights: str | None = Field(description="a folder, or a hub's name; null: the role's model")
    args: tuple[str, ...] = Field(description="further arguments of vllm.entrypoints.openai.api_server")
    policy_args: tuple[str, ...] = Field(
        description="those of the student's server (grpo.generation: served), in place of `args` and `weights`"
    )
    env: dict[str, str] = Field(description="environment of the server")
    start_timeout_s: Rate = Field(description="longest wait for its health")
