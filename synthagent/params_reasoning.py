"""The section `reasoning` of `params.yaml`: problems with a known answer, and the real tools to solve them with."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from synthagent.frozen import Record
from synthagent.params_values import Count, Rate, Share

PythonIsolation = Literal["bubblewrap", "rlimits", "none"]


class PythonParams(Record):
    """The Python tool: how the code that a model writes is kept apart, and what it may use."""

    isolation: PythonIsolation = Field(
        description="bubblewrap: its own root, processes and network; rlimits: limits and a filter of system calls "
        "alone, so that it reads and writes what we can; none: not even these"
    )
    wall_s: Rate = Field(description="longest time of a call")
    cpu_s: Count = Field(description="CPU time of an episode's calls together")
    memory_mb: Count = Field(description="of an episode")
    processes: Count = Field(description="threads at once; code cannot start a process")
    output_chars: Count = Field(description="what a call prints is cut after so many")
    file_mb: Count = Field(description="of a file, and of all it may write")


class SearchParams(Record):
    """The search tool: an index over a corpus, or a web API."""

    corpus: str | None = Field(description="JSON lines file with `text` and optionally `id`, `title`; null: none")
    url: str | None = Field(description="a web API in place of a corpus; null: none")
    api_key_env: str | None = Field(description="name of the environment variable that holds the API's key")
    top: Count = Field(description="passages of an answer")


class ReasoningParams(Record):
    """Problems with a known answer, which a solver solves several times; kept where all its answers agree."""

    path: str | None = Field(
        description="JSON lines file in the format of ToolStar or AIME, relative to the project; null: reasoning-gym"
    )
    kinds: dict[str, Annotated[float, Field(ge=0)]] = Field(
        description="tasks of reasoning-gym, by weight; without a file"
    )
    settings: dict[str, dict[str, Any]] = Field(
        description="by kind: settings of its dataset in reasoning-gym, such as how large numbers are"
    )
    count: Annotated[int, Field(ge=0)] = Field(description="proposals, of a file at most so many; 0: no such problems")
    heldout_share: Share = Field(description="of the problems, chosen by content")
    attempts: Annotated[int, Field(ge=0)] = Field(
        description="how often each is solved; 0: they are taken as they are, and nothing is demonstrated"
    )
    error_rate: Share = Field(description="of the embedded solver: how often its code is wrong")
    python: PythonParams
    search: SearchParams

    @field_validator("kinds")
    @classmethod
    def _some(cls, kinds: dict[str, float]) -> dict[str, float]:
        if not any(kinds.values()):
            raise ValueError("at least one kind needs a weight above 0")
        return kinds
