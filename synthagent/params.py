"""`params.yaml` -> `Params`, parsed once into a frozen object. No other module holds defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator

from synthagent.errors import MissingBackendError, ParamsError
from synthagent.records import Record

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]
Formula = Literal["cubed", "product", "paper"]


class PersonasParams(Record):
    """Where personas come from."""

    path: str | None = Field(description="JSON lines file, relative to the project; null: the built-in list")
    count: Count | None = Field(description="how many to take, from the top; null: all")


class TasksParams(Record):
    """How many tasks are proposed, and which."""

    count: Count
    difficulty_mix: tuple[Share, Share, Share]
    blend_share: Share
    unseen_share: Share
    heldout_share: Share
    world: Literal["simulated", "executable"] = Field(
        description="what an openai teacher writes; an executable world that fails its proofs becomes simulated"
    )

    @field_validator("difficulty_mix")
    @classmethod
    def _some(cls, mix: tuple[float, float, float]) -> tuple[float, float, float]:
        if sum(mix) <= 0:
            raise ValueError("at least one level needs a share above 0")
        return mix


class RubricsParams(Record):
    """Demonstrations and the filter on them."""

    demos_per_task: Count = Field(description="of the embedded teacher")
    trajectories: Count = Field(description="of an openai teacher; its rubrics are extracted from them")
    skill: Share
    min_coverage: Share


class TinyParams(Record):
    """The built-in student: a Qwen3 made from scratch, with a tokenizer trained on the demonstrations."""

    vocab_size: Annotated[int, Field(ge=400)]
    hidden_size: Count
    layers: Count
    heads: Count


class LoraParams(Record):
    """Low-rank adapters of peft, trained in place of the weights and merged into them when the student is saved."""

    rank: Count
    alpha: Rate = Field(description="what the adapters give is scaled by alpha / rank")
    targets: Literal["all-linear"] | Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="names of linear modules, such as q_proj; all-linear: all of them but the output layer"
    )


class StudentParams(Record):
    """The model that is trained, and how. All but `tiny` is about any base."""

    base: Annotated[str, Field(min_length=1)] = Field(
        description="tiny: the built-in one; smollm2: what `make smollm2` converted; or a folder, or a hub's name"
    )
    tiny: TinyParams
    lora: LoraParams | None = Field(description="null: all weights are trained")
    dtype: Literal["float32", "bfloat16"] = Field(
        description="of the arithmetic, and of the weights that are saved; weights being trained are float32"
    )
    attention: Literal["sdpa", "eager", "flash_attention_2"] | None = Field(description="null: what the model prefers")
    gradient_checkpointing: bool = Field(description="less memory in training for a third more time")
    optimizer: Literal["muon", "adamw"] | None = Field(description="null: muon for tiny, adamw for any other base")
    chat_template: str | None = Field(
        description="a Jinja file in place of the base's own, which may ignore tools; null: its own (of smollm2, ours)"
    )


class SftParams(Record):
    """The warm start."""

    demos: Annotated[int, Field(ge=0)] = Field(
        description="how many demonstrations to train on, once each; 0: the base is passed on as it is"
    )
    batch_size: Count
    muon_rate: Rate = Field(description="learning rate of the matrices in the blocks, under muon")
    adam_rate: Rate = Field(description="learning rate of embeddings and norms; under adamw, of all weights")


class EpisodeParams(Record):
    """Limits of one episode. Tokens count turns and observations, not the opening."""

    max_turns: Count
    max_tokens: Count
    max_turn_tokens: Count
    mapping: bool = Field(description="M: simulated tools answer an equal call as before, in all episodes of a task")


class RolloutsParams(Record):
    """Episodes of the student before RL, from which tasks of middling difficulty are chosen."""

    tasks: Count
    samples: Annotated[int, Field(ge=2)]


class GrpoParams(Record):
    """Group-relative policy optimisation; paper section 6."""

    steps: Annotated[int, Field(ge=0)]
    tasks_per_step: Count
    group_size: Annotated[int, Field(ge=2)]
    muon_rate: Rate
    adam_rate: Rate
    clip_low: Share
    clip_high: Share


class SuiteParams(Record):
    """A benchmark that others wrote, as a source of evaluation."""

    name: str = Field(description="bfcl, or another of synthagent/suites/known.py")
    categories: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        default=None, description="null: all that the suite has"
    )
    count: Count | None = Field(default=None, description="problems of each category, drawn by the seed; null: all")
    style: str = Field(default="native", description="native: tool calls; prompt: the suite's own, as text")
    max_tokens: Count = Field(
        default=512, description="most tokens of one message; the role's own limit, if that is less"
    )


class EvaluateParams(Record):
    """How many tasks of each held-out split are evaluated, and in which benchmarks of others the students act."""

    tasks: Count
    suites: tuple[SuiteParams, ...] = ()


class ComputeParams(Record):
    """What of this machine is used."""

    processes: Count = Field(description="training ranks and sampling processes; on a GPU box, the number of GPUs")
    checkpoint_minutes: Annotated[float, Field(ge=0)] | None = Field(
        description="a training saves so often what it needs to go on; 0: whenever it logs; null: never"
    )


class RewardParams(Record):
    """How verdicts become a reward."""

    formula: Formula
    require_answer: bool


Backend = Literal["embedded", "local", "openai"]


class Role(Record):
    """Who plays a role. All but `backend` matter to `openai` only; null leaves the choice to the server."""

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
    env: dict[str, str] = Field(description="environment of the server")
    start_timeout_s: Rate = Field(description="longest wait for its health")


class Params(Record):
    """All of `params.yaml`: one section a stage, and what stages share."""

    seed: int
    personas: PersonasParams
    tasks: TasksParams
    rubrics: RubricsParams
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


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and validate the params file.

    Raises:
        ParamsError: no such file, not YAML, an unknown or missing key, or a value of the wrong type; all faults named.
        MissingBackendError: a role asks for a backend that this version does not have.
    """
    try:
        raw: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParamsError(f"{path}: {error.strerror}; run from the project's root, where params.yaml is") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ParamsError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    try:
        params = Params.model_validate(raw)
    except ValidationError as error:
        raise ParamsError("\n".join(_explain(path, fault) for fault in error.errors())) from None
    _check_backends(path, params.roles)
    return params


def _explain(path: Path, fault: Any) -> str:
    place = ".".join(map(str, fault["loc"])) or "the file"
    match fault["type"]:
        case "extra_forbidden":
            return f"{path}: {place}: unknown key; remove it, or see synthagent/params.py for the keys there are"
        case "missing":
            return f"{path}: {place}: missing key; add it (its default stands in the params.yaml of the repository)"
        case _:
            return f"{path}: {place}: {fault['msg']}, but it is {str(fault['input'])[:80]!r}"


def _check_backends(path: Path, roles: Roles) -> None:
    for name in Roles.model_fields:
        role: Role = getattr(roles, name)
        usable = ("local", "openai") if name == "policy" else ("embedded", "openai")
        if role.backend not in usable:
            raise MissingBackendError(
                f"{path}: roles.{name}.backend: {role.backend!r} is not available for this role; "
                f"set it to {' or '.join(map(repr, usable))}"
            )
        if role.backend == "openai" and not role.model:
            raise ParamsError(
                f"{path}: roles.{name}.model: missing; name the model that {role.base_url or 'api.openai.com'} serves"
            )
