"""The sections of `params.yaml` about the student: what it is, how it acts, how it is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from synthagent.frozen import Record
from synthagent.params_values import Count, Mix, Rate, Share

Thinking = Literal["keep", "drop"]


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
    reasoning_share: Share = Field(
        description="of the demonstrations, those of reasoning problems; fewer where there are not so many"
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
    reasoning_share: Share = Field(description="of a step's prompts, those that are reasoning problems")
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
