"""GRPO's trainer and its environments: TRL's, less work in a step, and what is watched of an episode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from trl import GRPOTrainer

from synthagent.episodes.episode import Episode
from synthagent.judging.reward import Score
from synthagent.records import Task
from synthagent.student.labelled import Labelled
from synthagent.student.live import TrainingEpisodes
from synthagent.student.passes import InPasses
from synthagent.student.sampler import Sampled
from synthagent.student.training import Resumable

_SUMS = ("cispo", "dapo", "vespo")  # losses that are sums over the tokens of all passes, divided by a number of a step


class Grpo(Resumable, GRPOTrainer, InPasses):  # type: ignore[misc]
    """GRPOTrainer that can be killed. It samples anew at each step, so that no sample need be saved.

    `besides`: what the step logs that is not about its own episodes.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.besides: dict[str, float] = {}

    def note(self, episodes: Sequence[Mapping[str, float]]) -> None:
        """Log the means of these figures, over the episodes of all processes."""
        for figures in episodes:
            for name, value in figures.items():
                self._log_metric(name, value)

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """A step; raises SynthAgentError, before it changes anything, where a server serves another model."""
        loss = super().training_step(*args, **kwargs)
        if self.use_vllm:
            self.vllm_generation.check()
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        super().log({**logs, **self.besides}, start_time)
        self.besides.clear()

    def share(self, part: dict[str, Any], batch: dict[str, Any]) -> float:
        """As `InPasses`: TRL's losses are means over episodes or over tokens, or sums over what the step has."""
        match self.loss_type:
            case "grpo" | "sapo" | "dr_grpo" | "luspo":
                return len(part["completion_ids"]) / len(batch["completion_ids"])
            case "bnpo":
                return float(_own(part).sum() / _own(batch).sum().clamp(min=1))
            case _:
                return 1.0

    def learnt(self, batch: dict[str, Any]) -> list[bool]:
        """As `InPasses`: nothing from an episode that earned what its group did, in a loss that is a sum over tokens.

        What is logged of a step's tokens, such as their entropy, is then of the other episodes.
        """
        besides = self.beta != 0 or self._entropy_bonus_enabled or self.aux_loss_enabled
        every = besides or self.loss_type not in _SUMS
        return [every or advantage != 0 for advantage in batch["advantages"].tolist()]

    def _get_per_token_logps_and_entropies(self, model: Any, input_ids: torch.Tensor, *given: Any, **more: Any) -> Any:
        """As TRL's, in passes of at most so many tokens, where `model` is not given one already.

        As many passes in all processes, by the widest rows of any: in each pass they wait for each other.
        """
        if self.most and not isinstance(model, Labelled):
            width = torch.tensor([input_ids.shape[1]], device=input_ids.device)
            more["batch_size"] = max(1, self.most // int(self.accelerator.gather(width).max()))
        return super()._get_per_token_logps_and_entropies(model, input_ids, *given, **more)

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Any:
        """As TRL's, of a smaller pass: what others said in an episode has no log-probabilities."""
        own = _own(inputs)
        if inputs.get("old_per_token_logps") is not None:
            inputs = {**inputs, "old_per_token_logps": inputs["old_per_token_logps"] * own}
        bare = self.accelerator.unwrap_model(model)
        whole = torch.cat([torch.zeros_like(inputs["prompt_ids"]), own], 1)
        through = Labelled(model, bare, whole, self.temperature, self._entropy_bonus_enabled)
        return super()._compute_loss(through, inputs)


def _own(inputs: Mapping[str, Any]) -> torch.Tensor:
    """1 where a token of a completion is the student's own."""
    own: torch.Tensor = inputs["completion_mask"]
    return own * inputs["tool_mask"] if "tool_mask" in inputs else own


class LiveEpisode:
    """What GRPOTrainer wants of an environment. Its other names are private, lest TRL take them for tools."""

    def __init__(self, tasks: Mapping[str, Task], episodes: TrainingEpisodes) -> None:
        self._tasks, self._episodes = tasks, episodes
        self._episode: Episode
        self._score: Score
        self._sampled: Sampled

    @property
    def task_id(self) -> str:
        """The task of the episode."""
        return self._episode.task.id

    @property
    def _truncated(self) -> bool:
        """Whether the episode was ended by something else than its answer."""
        return self._episode.end != "answer"

    def reset(self, task_id: str, **_: Any) -> None:
        """Begin a fresh episode of a task."""
        self._episode = self._episodes.new(self._tasks[task_id])

    def get_reward(self) -> float:
        """The reward of the episode that has just ended."""
        return self._score.reward


def seen(live: LiveEpisode) -> dict[str, float]:
    """What is watched of an episode that has ended, besides its reward."""
    episode, score = live._episode, live._score
    kind = "reward_reasoning" if episode.task.world_kind == "real" else "reward_tasks"
    return {
        kind: live.get_reward(),
        "perfect": float(score.perfect),
        "violations": float(score.gate == 0),
        "subgoals": score.subgoals,
        "interactions": score.interactions,
        "questions": float(episode.n_questions),
        "turns": float(episode.n_turns),
        "tokens": float(sum(live._sampled.mask)),
        "truncated": float(live._truncated),
        "level": float(episode.task.difficulty),
    }
