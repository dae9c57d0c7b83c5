"""What `params.yaml` says, as one frozen object (`synthagent.params_file` reads it). No other module holds defaults.

All sections are imported from here. Those about the student, about models and about reasoning problems are written
down in `params_student.py`, `params_models.py` and `params_reasoning.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from synthagent.frozen import Record
from synthagent.params_models import Backend, LlmParams, Price, Role, Roles, ServeParams
from synthagent.params_reasoning import PythonParams, ReasoningParams, SearchParams
from synthagent.params_student import (
    CurriculumParams,
    EpisodeParams,
    GrpoParams,
    LoraParams,
    LossType,
    ProbeParams,
    RolloutsParams,
    SftParams,
    StudentParams,
    Thinking,
    TinyParams,
)
from synthagent.params_values import Count, Mix, Share

__all__ = [
    "Backend",
    "ComputeParams",
    "CurriculumParams",
    "DecontaminateParams",
    "EmbeddingsParams",
    "EpisodeParams",
    "EvaluateParams",
    "Formula",
    "GrpoParams",
    "LlmParams",
    "LoraParams",
    "LossType",
    "Mix",
    "NaturalParams",
    "Params",
    "PatternShares",
    "PersonasParams",
    "Price",
    "ProbeParams",
    "PythonParams",
    "ReasoningParams",
    "RewardParams",
    "Role",
    "Roles",
    "RolloutsParams",
    "RubricsParams",
    "SearchParams",
    "ServeParams",
    "SftParams",
    "StudentParams",
    "SuiteParams",
    "TasksParams",
    "Thinking",
    "TinyParams",
]

Formula = Literal["cubed", "product", "paper"]


class PersonasParams(Record):
    """Where personas come from."""

    path: str | None = Field(description="JSON lines file, relative to the project; null: the built-in list")
    count: Count | None = Field(description="how many to take, from the top; null: all")


class EmbeddingsParams(Record):
    """A model that says how near two texts are."""

    model: Annotated[str, Field(min_length=1)] = Field(description="a folder with an encoder; a name, of an endpoint")
    near: Share = Field(description="the cosine from which on two texts count as one; it depends on the model")
    base_url: str | None = Field(default=None, description="an OpenAI-compatible endpoint; null: `model` is a folder")
    api_key_env: str | None = Field(default=None, description="name of the environment variable that holds the key")


class DecontaminateParams(Record):
    """What no task may be a copy of."""

    path: str | None = Field(
        description="a file of problems, or a folder of such (`synthagent export problems`); null: nothing is compared"
    )
    embeddings: EmbeddingsParams | None = Field(description="null: by words, tools and answers alone")


class PatternShares(Record):
    """How many of the natural tasks are of each pattern (`synthagent.teacher.natural.compose`)."""

    one: Share
    several: Share
    parallel: Share
    chain: Share
    rule: Share
    condition: Share
    two: Share
    cannot: Share

    @model_validator(mode="after")
    def _whole(self) -> PatternShares:
        total = sum(self.model_dump().values())
        if abs(total - 1) > 1e-6:
            change = f"{'take' if total > 1 else 'add'} {abs(total - 1):g}"
            raise ValueError(f"the shares of patterns sum to {total:g}, and 1 is wanted: {change}")
        return self


class NaturalParams(Record):
    """Natural tasks: which patterns, and how often something is left out of the request."""

    patterns: PatternShares
    missing: Share = Field(description="of tasks of the patterns one, parallel and chain: a needed value is not said")
    masked: Share = Field(description="of toolsets: names of tools and parameters say nothing, so descriptions have to")
    wordings: Literal["many", "one"] = Field(
        description="how users and agents say a thing; one: always in the same frame, an ablation"
    )
    desk: Count = Field(
        description="so many tasks in a row have toolset and policy in common, where their pattern allows it; 1: none"
    )
    reword: bool = Field(
        description="an openai teacher words requests and replies anew; where a value or a proof is lost, ours stay"
    )


class TasksParams(Record):
    """How many tasks are proposed, and which."""

    count: Count
    language: Literal["plain", "natural"] = Field(
        description="how the embedded teacher writes: plain, for a student without any; natural, for a pretrained one"
    )
    natural: NaturalParams
    difficulty_mix: Mix
    blend_share: Share
    unseen_share: Share
    heldout_share: Share
    world: Literal["simulated", "executable"] = Field(
        description="what an openai teacher writes; an executable world that fails its proofs becomes simulated"
    )
    information_gap: bool = Field(
        description="false: the embedded teacher's instructions say all that only the user would know; an ablation"
    )
    decontaminate: DecontaminateParams


class RubricsParams(Record):
    """Demonstrations and the filter on them."""

    demos_per_task: Count = Field(description="of the embedded teacher")
    trajectories: Count = Field(description="of an openai teacher; its rubrics are extracted from them")
    skill: Share
    min_coverage: Share
    from_demos: Count | None = Field(
        description="of the embedded teacher: a rubric asks only what so many demonstrations reached; null: all that "
        "the reference reaches"
    )

    @field_validator("from_demos")
    @classmethod
    def _enough(cls, count: int | None, others: ValidationInfo) -> int | None:
        most = others.data.get("demos_per_task")
        if count is not None and most is not None and count > most:
            raise ValueError(f"it must be at most demos_per_task ({most})")
        return count


class SuiteParams(Record):
    """A benchmark that others wrote, as a source of evaluation."""

    name: str = Field(description="bfcl, tau2, or another of synthagent/suites/known.py")
    categories: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        default=None, description="null: all that the suite has"
    )
    count: Count | None = Field(default=None, description="problems of each category, drawn by the seed; null: all")
    trials: Count = Field(default=1, description="how often each is run; pass^k needs k of them")
    style: str = Field(default="native", description="native: tool calls; prompt: the suite's own, as text")
    max_tokens: Count = Field(
        default=512, description="most tokens of one message, also a user's; the role's own limit, if that is less"
    )


class EvaluateParams(Record):
    """How many tasks of each held-out split are evaluated, and in which benchmarks of others the students act."""

    tasks: Count
    reasoning: Annotated[int, Field(ge=0)] = Field(description="held-out reasoning problems that are evaluated")
    suites: tuple[SuiteParams, ...] = ()


class ComputeParams(Record):
    """What of this machine, or of several, is used."""

    processes: Count = Field(
        description="training ranks, of all nodes together, and processes that share other work; as many as GPUs"
    )
    launcher: Annotated[str, Field(min_length=1)] | None = Field(
        description="null: processes of our own; else how `accelerate launch` runs trainings: one of "
        "synthagent/student/launchers, or a file that `accelerate config` wrote"
    )
    runner: Literal["processes", "ray"] = Field(
        description="what shares proofs, demonstrations and the student's episodes out; the bytes are the same"
    )
    ray_address: str | None = Field(
        description="under ray: null: a cluster on this machine, for one stage; auto: the one that runs here; host:port"
    )
    checkpoint_minutes: Annotated[float, Field(ge=0)] | None = Field(
        description="a training saves so often what it needs to go on; 0: whenever it logs; null: never"
    )


class RewardParams(Record):
    """How verdicts become a reward."""

    formula: Formula
    require_answer: bool


class Params(Record):
    """All of `params.yaml`: one section a stage, and what stages share."""

    seed: int
    personas: PersonasParams
    tasks: TasksParams
    rubrics: RubricsParams
    reasoning: ReasoningParams
    student: StudentParams
    sft: SftParams
    episode: EpisodeParams
    rollouts: RolloutsParams
    grpo: GrpoParams
    evaluate: EvaluateParams
    compute: ComputeParams
    reward: RewardParams
    roles: Roles
    llm: LlmParams
    serve: ServeParams
