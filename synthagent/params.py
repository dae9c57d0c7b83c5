"""What `params.yaml` says, as one frozen object (`synthagent.params_file` reads it). No other module holds defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from synthagent.frozen import Record

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]
Mix = tuple[Share, Share, Share]  # of levels 1, 2, 3
Formula = Literal["cubed", "product", "paper"]
Thinking = Literal["keep", "drop"]


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

    @field_validator("difficulty_mix")
    @classmethod
    def _some(cls, mix: Mix) -> Mix:
        return _with_a_share(mix)


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
    liger: bool | None = Field(description="kernels of liger-kernel; null: where it is installed and a GPU is there")
    optimizer: Literal["muon", "adamw"] | None = Field(description="null: muon for tiny, adamw for any other base")
    thinking: Thinking = Field(
        description="keep: thoughts are part of prompts, demonstrations and records; drop: it is told not to think"
    )
    chat_template: str | None = Field(
        description="a Jinja file in place of the base's own, which may ignore tools; null: its own (of smollm2, ours)"
    )

    @property
    def uses_muon(self) -> bool:
        """Whether the matrices of the blocks are trained by Muon."""
        return self.optimizer == "muon" or (self.optimizer is None and self.base == "tiny")


class SftParams(Record):
    """The warm start."""

    demos: Annotated[int, Field(ge=0)] = Field(
        description="how many demonstrations to train on, once each; 0: the base is passed on as it is"
    )
    tokens: Count | None = Field(
        description="most tokens of all demonstrations together, prompts included; null: as many as they have"
    )
    batch_size: Count = Field(description="demonstrations of a step")
    batch_tokens: Count | None = Field(
        description="most tokens, padding included, that a process puts through the network at once; null: all its rows"
    )
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


LossType = Literal["dapo", "grpo", "dr_grpo", "bnpo", "cispo", "sapo", "luspo", "vespo"]
_MEAN_OF_SEQUENCES = ("grpo", "sapo", "luspo")  # the losses in which an episode counts as one


class CurriculumParams(Record):
    """The mix of levels moves with the mean reward of the last steps: `start` up to `low`, `end` from `high` on."""

    start: Mix = Field(description="shares of levels 1, 2, 3")
    end: Mix
    low: Share = Field(description="mean reward")
    high: Share

    @field_validator("start", "end")
    @classmethod
    def _some(cls, mix: Mix) -> Mix:
        return _with_a_share(mix)

    @field_validator("high")
    @classmethod
    def _above(cls, high: float, info: ValidationInfo) -> float:
        if high <= info.data.get("low", -1.0):
            raise ValueError("must be above grpo.curriculum.low")
        return high


class ProbeParams(Record):
    """Pairs of training tasks on which nothing is trained show how the student does."""

    every: Count = Field(description="steps between two looks; the last step has one, too")
    pairs: Count = Field(description="how many pairs, greedily, once each")


class GrpoParams(Record):
    """Group-relative policy optimisation; paper section 6. `loss_type` to `mask_truncated_completions` are TRL's."""

    steps: Annotated[int, Field(ge=0)]
    tasks_per_step: Count
    group_size: Annotated[int, Field(ge=2)]
    updates: Count = Field(
        description="of the weights in a step, each by its share of the episodes; ratios move from 2 on"
    )
    batch_tokens: Count | None = Field(
        description="most tokens, padding included, that a process trains on at once; null: eight episodes"
    )
    muon_rate: Rate
    adam_rate: Rate
    loss_type: LossType = Field(description="how tokens are weighed: dapo and cispo alike, grpo by episode")
    clip_low: Share
    clip_high: Annotated[float, Field(ge=0)] = Field(description="of cispo the highest ratio itself, such as 5")
    importance_sampling_level: Literal["token", "sequence"] = Field(description="sequence with loss grpo: GSPO")
    scale_rewards: Literal["group", "batch", "none"] = Field(description="by whose deviation advantages are divided")
    mask_truncated_completions: bool = Field(description="nothing is learnt from episodes that a limit or error ended")
    replace_dead: Annotated[int, Field(ge=0)] = Field(
        description="a step samples at most so often anew for groups that all earned the same, on other tasks"
    )
    curriculum: CurriculumParams | None = Field(description="null: every task as often as any other")
    probe: ProbeParams | None = Field(description="null: none; the best checkpoint is then that of the best reward")
    generation: Literal["local", "served"] = Field(
        description="who writes its episodes: the student in process, or a vLLM server at roles.policy.base_url"
    )
    tool_errors: Share = Field(
        description="how often an embedded tool contradicts what it has said, where episode.mapping is off; an ablation"
    )

    @field_validator("clip_high")
    @classmethod
    def _ratio_or_distance(cls, clip: float, info: ValidationInfo) -> float:
        loss = info.data.get("loss_type")
        if loss == "cispo" and clip <= 1:
            raise ValueError("with grpo.loss_type cispo it is the highest ratio: must be above 1, such as 5")
        if loss != "cispo" and clip > 1:
            raise ValueError("is the distance from a ratio of 1: must be at most 1, such as 0.28")
        return clip

    @field_validator("importance_sampling_level")
    @classmethod
    def _that_the_loss_has(cls, level: str, info: ValidationInfo) -> str:
        loss = info.data.get("loss_type")
        if level == "sequence" and loss is not None and loss not in _MEAN_OF_SEQUENCES:
            raise ValueError(
                f"grpo.loss_type {loss} weighs tokens: set token here, or loss_type to grpo, sapo or luspo"
            )
        if level == "token" and loss == "luspo":
            raise ValueError("grpo.loss_type luspo is about sequences: set sequence here, or another loss_type")
        return level


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


def _with_a_share(mix: Mix) -> Mix:
    if sum(mix) <= 0:
        raise ValueError("at least one level needs a share above 0")
    return mix
