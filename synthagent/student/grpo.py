"""GRPO on live episodes, by TRL: (checkpoint, tasks, rubrics) -> checkpoint, `GrpoStep`s.

The job is a picklable value, so that it can run on several processes (`synthagent.student.processes.train`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from synthagent.episodes.episode import Episode
from synthagent.judging.reward import Score
from synthagent.params import Params
from synthagent.records import MappingEntry, Rubric, Task
from synthagent.stage import say
from synthagent.store import write_text
from synthagent.student.labelled import Labelled, is_lean
from synthagent.student.live import TrainingEpisodes, training_episodes
from synthagent.student.memory import memory_told, remedy_of_acting, remedy_of_training
from synthagent.student.model import Student
from synthagent.student.optimizer import optimizer_of
from synthagent.student.passes import InPasses
from synthagent.student.processes import is_first, rank
from synthagent.student.resume import Checkpoints
from synthagent.student.sampler import run_episodes
from synthagent.student.trainable import student_to_save, trainable_student
from synthagent.student.training import Course, Log, Resumable, finish, settings_of

_A_PASS = 8  # episodes
_DEAD = 10  # steps in a row
_WINDOW = 5  # steps by whose mean reward the best checkpoint is chosen


@dataclass(frozen=True, slots=True)
class GrpoStep:
    """What one step of GRPO logged, as shares or means over its episodes; a row of `data/plots/grpo.csv`."""

    step: int
    reward: float
    reward_std: float
    perfect: float
    dead_groups: float
    violations: float
    questions: float
    tokens: float
    entropy: float


@dataclass(frozen=True, slots=True)
class GrpoJob:
    """GRPO on live episodes (paper section 6: clip 0.2 / 0.28, no KL, group-normalised); leaves `GrpoStep`s in `LOG`.

    `order` names the tasks, `tasks_per_step` a step. `mapping`: M at the start, None where no
    model takes part; what models are used for is left beside `out`, a file for each process.
    """

    start: Path
    out: Path
    order: Sequence[str]
    tasks: dict[str, Task]
    rubrics: dict[str, Rubric]
    params: Params
    mapping: Sequence[MappingEntry] | None
    checkpoints: Checkpoints | None = None

    def __call__(self) -> None:
        student = trainable_student(self.start, self.params.student, self.params.seed)
        if self.params.grpo.steps == 0:
            finish(student_to_save(student, self.params.student), self.out, [])
            return
        with training_episodes(self.params, self.rubrics, self.mapping) as episodes:
            log = self._train(student, episodes)
            write_text(self.out.with_name(f"usage-{rank()}.json"), json.dumps(episodes.usage()))
        finish(student_to_save(student, self.params.student), self.out, log)

    def _train(self, student: Student, episodes: TrainingEpisodes) -> list[dict[str, Any]]:
        params = self.params.grpo
        episodes_here = params.tasks_per_step * params.group_size // self.params.compute.processes
        a_pass, passes = (episodes_here, 1) if params.batch_tokens else passes_of(episodes_here)
        config = GRPOConfig(
            output_dir=str(self.checkpoints.folder if self.checkpoints else self.out),
            per_device_train_batch_size=a_pass,
            num_generations=params.group_size,
            gradient_accumulation_steps=passes,
            max_steps=params.steps,
            learning_rate=params.adam_rate,
            lr_scheduler_type="cosine",
            warmup_steps=2,
            beta=0.0,
            epsilon=params.clip_low,
            epsilon_high=params.clip_high,
            loss_type="dapo",
            scale_rewards="group",
            temperature=1.0,
            max_completion_length=self.params.episode.max_tokens,
            reward_weights=[0.0, 0.0, 0.0],  # only watched; the environment's own reward has weight 1
            logging_steps=1,
            shuffle_dataset=False,
            seed=self.params.seed,
            **settings_of(self.params.student),
        )
        prompts = [{"prompt": [{"role": "user", "content": name}], "task_id": name} for name in self.order]
        trainer = _Grpo(
            model=student.model,
            args=config,
            train_dataset=Dataset.from_list(prompts),
            processing_class=student.tokenizer,
            reward_funcs=[perfect, violations, questions],
            environment_factory=lambda: LiveEpisode(self.tasks, episodes),
            rollout_func=partial(self._rollout, episodes),
            callbacks=[_DeadGroups()],
            optimizers=(optimizer_of(student.model, self.params.student, params.muon_rate, params.adam_rate), None),
        )
        trainer.most, trainer.lean = params.batch_tokens, is_lean(self.params.student, params.batch_tokens)
        spare = remedy_of_training("grpo", params.batch_tokens, None, self.params.student)
        course = Course(
            "grpo", params.steps, self.checkpoints, _recent_reward, "grpo.muon_rate or grpo.adam_rate", spare
        )
        return [asdict(_summary(log)) for log in _steps(trainer.run(course))]

    def _rollout(self, made: TrainingEpisodes, _: Any, trainer: Any) -> dict[str, Any]:
        """TRL's hook: the ids that were sampled, and which of them are the model's own."""
        current = Student(trainer.accelerator.unwrap_model(trainer.model), trainer.processing_class)
        episodes = [environment._episode for environment in trainer.environments]
        loop = made.models.loop if made.models else None
        with memory_told("grpo, sampling", remedy_of_acting(self.params)):
            sampled = run_episodes(current, episodes, self.params.episode, temperature=trainer.temperature, loop=loop)
        for environment, score in zip(trainer.environments, made.scores(episodes), strict=True):
            environment._score = score
        return {
            "prompt_ids": [row.prompt for row in sampled],
            "completion_ids": [row.completion for row in sampled],
            "logprobs": [row.logprobs for row in sampled],
            "env_mask": [row.mask for row in sampled],
        }


class _Grpo(Resumable, GRPOTrainer, InPasses):  # type: ignore[misc]
    """GRPOTrainer that can be killed. It samples anew at each step, so that no sample need be saved."""

    def share(self, part: dict[str, Any], batch: dict[str, Any]) -> float:
        """As `InPasses`: TRL's losses are means over episodes or over tokens, or sums over what the step has."""
        match self.loss_type:
            case "grpo" | "sapo" | "dr_grpo" | "luspo":
                return len(part["completion_ids"]) / len(batch["completion_ids"])
            case "bnpo":
                return float(_own(part).sum() / _own(batch).sum().clamp(min=1))
            case _:
                return 1.0

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Any:
        """As TRL's; where `lean`, of a smaller pass: what others said in an episode has no log-probabilities."""
        if not self.lean:
            return super()._compute_loss(model, inputs)
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


class _DeadGroups(TrainerCallback):  # type: ignore[misc]
    """Says once in a row of steps that nothing is learnt from them."""

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        last = _steps(state.log_history)[-_DEAD - 1 :]
        dead = [log["frac_reward_zero_std"] == 1 for log in last]
        if is_first() and len(dead) >= _DEAD and all(dead[-_DEAD:]) and not all(dead[:-_DEAD] or [False]):
            say(
                f"grpo: steps {last[-_DEAD]['step']} to {last[-1]['step']}: all episodes of a group earned the same, "
                "in each of them, so that nothing is learnt; raise grpo.group_size, give the student more at first "
                "(sft.demos), or choose among more tasks (rollouts.tasks, rollouts.samples)"
            )


def passes_of(episodes: int) -> tuple[int, int]:
    """How many of a process's `episodes` go through the network at once in training, and how often: for memory."""
    a_pass = next(size for size in range(min(episodes, _A_PASS), 0, -1) if episodes % size == 0)
    return a_pass, episodes // a_pass


class LiveEpisode:
    """What GRPOTrainer wants of an environment. Its other names are private, lest TRL take them for tools."""

    def __init__(self, tasks: Mapping[str, Task], episodes: TrainingEpisodes) -> None:
        self._tasks, self._episodes = tasks, episodes
        self._episode: Episode
        self._score: Score

    def reset(self, task_id: str, **_: Any) -> None:
        """Begin a fresh episode of a task."""
        self._episode = self._episodes.new(self._tasks[task_id])

    def get_reward(self) -> float:
        """The reward of the episode that has just ended."""
        return self._score.reward


def perfect(environments: Sequence[LiveEpisode], **_: Any) -> list[float]:
    """Watched by GRPO: whether each episode earned all there is."""
    return [float(e._score.perfect) for e in environments]


def violations(environments: Sequence[LiveEpisode], **_: Any) -> list[float]:
    """Watched by GRPO: whether each episode violated a constraint."""
    return [float(e._score.gate == 0) for e in environments]


def questions(environments: Sequence[LiveEpisode], **_: Any) -> list[float]:
    """Watched by GRPO: how often each episode asked the user."""
    return [float(e._episode.n_questions) for e in environments]


def _summary(log: dict[str, Any]) -> GrpoStep:
    return GrpoStep(
        step=int(log["step"]),
        reward=round(float(log["reward"]), 4),
        reward_std=round(float(log["reward_std"]), 4),
        perfect=round(float(log["rewards/perfect/mean"]), 4),
        dead_groups=round(float(log["frac_reward_zero_std"]), 4),
        violations=round(float(log["rewards/violations/mean"]), 4),
        questions=round(float(log["rewards/questions/mean"]), 4),
        tokens=round(float(log["completions/mean_length"]), 1),
        entropy=round(float(log["entropy"]), 4),
    )


def _steps(log: Log) -> list[dict[str, Any]]:
    return [entry for entry in log if "reward" in entry]


def _recent_reward(log: Log) -> float:
    return fmean(float(step["reward"]) for step in _steps(log)[-_WINDOW:])
