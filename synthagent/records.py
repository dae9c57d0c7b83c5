"""The rows of all datasets: what flows through the pipeline. What a task is made of is in `worlds.py`.

Everything else in the package is functions over these. The Parquet columns of `synthagent.store` are derived from the
fields here; a field marked `JsonText` is stored as JSON text because its shape is open.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from synthagent.frozen import Json, JsonText, Record
from synthagent.worlds import Check, Constraint, Fact, Step, Tool, WorldSpec

FORMAT = 3  # of the datasets, as in their Parquet metadata; 1, which has none, knew one tool call a turn; 2 no twins

Message = dict[str, Any]  # an OpenAI chat message
Kind = Literal["constraint", "subgoal", "interaction"]
Split = Literal["train", "heldout", "unseen_domain"]
WorldKind = Literal["executable", "simulated", "real"]
BENCHMARK = "synthagent"  # what our own tasks are called among other suites
REASONING = "reasoning"  # what problems are called there; also the domain of the tasks that are made of them
CONSTANT = "constant"  # the policy that answers problems without looking at them
End = Literal["answer", "turn_limit", "token_limit", "error"]
Decoding = Literal["sampled", "greedy", "scripted"]
Outcome = Literal["done", "refused", "kept", "cannot"]  # cannot: of other benchmarks


class Persona(Record):
    """Who the task is for; one persona seeds one task."""

    id: str
    text: str
    source: str = Field(description="file name, or 'built-in'")


class Task(Record):
    """A small world with a hidden part; a row of `data/tasks.parquet`."""

    id: str
    persona_id: str
    domain: str
    difficulty: int = Field(ge=1, le=3)
    split: Split
    instruction: str = Field(description="all that the policy is told of the request")
    workflow: tuple[str, ...] = Field(description="milestones, in words; the policy never sees them")
    facts: tuple[Fact, ...]
    tools: Annotated[tuple[Tool, ...], JsonText] = Field(description="OpenAI function schemas + `outputs`")
    distractors: tuple[str, ...] = Field(description="names of tools that the reference does not need")
    constraints: tuple[Constraint, ...]
    world_kind: WorldKind = Field(
        description="who answers for the tools: our rows, a model, or, of problems, tools that really run"
    )
    world: Annotated[WorldSpec, JsonText]
    reference: Annotated[tuple[Step, ...], JsonText] = Field(description="a program that solves the task")
    twin_of: str | None = Field(
        default=None, description="the task that looks the same and has another right outcome; each names the other"
    )
    solvable: bool | None = None
    needs_user: bool | None = None
    constraint_live: bool | None = None
    no_leak: bool | None = Field(default=None, description="false: the instruction tells the facts, on purpose")
    unique: bool | None = None
    decisive: bool | None = Field(default=None, description="the twin is as `twin_of` says; null without a twin")
    provenance: Annotated[dict[str, Json], JsonText] = Field(default_factory=dict)


class Problem(Record):
    """A problem with a known answer, to be solved with real tools; a row of `data/reasoning.parquet`."""

    id: str
    persona_id: str
    kind: str = Field(description="of reasoning-gym the name of its task, of a file its `kind`, or 'given'")
    split: Literal["train", "heldout"]
    instruction: str = Field(description="all that the policy is told")
    answer: str = Field(description="as the source writes it")
    source: str = Field(description="'reasoning-gym:NAME', or the file's name")
    tools: tuple[Literal["python", "search"], ...] = Field(description="the real tools that it comes with")
    provenance: Annotated[dict[str, Json], JsonText] = Field(
        default_factory=dict, description="how it was made, what its source's scorer needs, what the solver answered"
    )


class Rejected(Record):
    """What did not become a task, and why; a row of `data/rejected.parquet`."""

    id: str
    stage: str
    reason: str
    detail: str
    payload: str


class Criterion(Record):
    """One line of a rubric; `check` decides it, where it is decidable."""

    id: str
    kind: Kind
    text: str
    check: Annotated[Check | None, JsonText] = None


class Rubric(Record):
    """What an episode of a task is judged by; a row of `data/rubrics.parquet`."""

    task_id: str
    criteria: tuple[Criterion, ...]
    coverage: float = Field(ge=0, le=1, description="share of the workflow that the demonstrations executed")


class Trajectory(Record):
    """The record of one episode; a row of `data/demos.parquet` and `data/rollouts.parquet`."""

    id: str
    task_id: str
    policy: str
    sample: int
    messages: Annotated[tuple[dict[str, Json], ...], JsonText] = Field(description="OpenAI chat messages")
    n_turns: int
    n_tool_calls: int
    n_questions: int
    end: End
    mapping_hits: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    error: str | None = None


class MappingEntry(Record):
    """An entry of a task's mapping M; a row of `data/mappings.parquet`."""

    task_id: str
    tool: str
    args: Annotated[dict[str, Json], JsonText]
    state: str
    response: Annotated[dict[str, Json], JsonText]
    source: Literal["task", "model", "equal"] = Field(
        description="known from the start; written by the model; or equal, it said, to an earlier entry"
    )


class Verdict(Record):
    """A criterion passed or not, by check or by judge, with the evidence."""

    criterion: str
    passed: bool
    by: Literal["check", "judge"]
    evidence: str


class Reward(Record):
    """What a trajectory earned; a row of `data/rewards.parquet`. Values are null when `status` is `error`."""

    trajectory_id: str
    task_id: str
    gate: float | None
    subgoals: float | None
    interactions: float | None
    reward: float | None
    reward_paper: float | None
    verdicts: Annotated[tuple[Verdict, ...], JsonText]
    status: Literal["ok", "error"]


class EvaluatedEpisode(Trajectory):
    """The record of an evaluated episode; a row of `data/episodes.parquet`.

    Its id is TASK.POLICY.SAMPLE, and TASK.POLICY.greedy.SAMPLE where it was decoded greedily. What it earned is in
    `data/evaluation.parquet`.
    """

    decoding: Decoding
    verdicts: Annotated[tuple[Verdict, ...], JsonText] = Field(description="none where it has no score")


class Evaluation(Record):
    """One evaluated episode; a row of `data/evaluation.parquet`. Null is what a benchmark cannot know."""

    policy: str
    benchmark: str
    category: str | None = Field(default=None, description="of other benchmarks: the part of it")
    version: str | None = Field(default=None, description="of other benchmarks: the package's")
    task_id: str
    twin_of: str | None = Field(default=None, description="the task's twin")
    split: str | None = None
    difficulty: int | None = None
    outcome: Outcome | None = Field(default=None, description="the right one")
    sample: int
    decoding: Decoding
    reward: float = Field(description="of other benchmarks: their score, from 0 to 1")
    reward_paper: float | None = None
    gate: float | None = None
    subgoals: float | None = None
    interactions: float | None = None
    n_turns: int
    n_questions: int | None = None
    extra_questions: int | None = Field(default=None, description="beyond those that the reference asks")
    extra_calls: int | None = Field(default=None, description="beyond those that the reference makes")
    end: End
