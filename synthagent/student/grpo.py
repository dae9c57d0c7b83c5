"""GRPO on live episodes, by TRL: (checkpoint, tasks, rubrics) -> checkpoint, `GrpoStep`s (`student.grpo_log`).

The job is a picklable value, so that it can run on several processes (`synthagent.student.processes.train`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from trl import GRPOConfig

from synthagent.episodes.episode import Episode
from synthagent.judging.reward import SamePrompt
from synthagent.params import Params
from synthagent.reasoning.reward import rubric_of
from synthagent.records import MappingEntry, Problem, Rubric, Task
from synthagent.store import write_text
from synthagent.student.callbacks import DeadGroups, PairProbe
from synthagent.student.format import ChatFormat
from synthagent.student.grpo_log import row_of, step_logged, steps_of, tokens_of, worth_of
from synthagent.student.grpo_trainer import Grpo, LiveEpisode, seen
from synthagent.student.live import TrainingEpisodes, training_episodes
from synthagent.student.memory import memory_told, remedy_of_acting, remedy_of_training
from synthagent.student.model import Student
from synthagent.student.optimizer import optimizer_of
from synthagent.student.processes import is_first, rank
from synthagent.student.prompts import TaskChoice, sample_step
from synthagent.student.resume import Checkpoints
from synthagent.student.sampler import Sampled, run_episodes
from synthagent.student.served import CORRECTION, Served, served
from synthagent.student.sharded import acting, gathered
from synthagent.student.trainable import trainable_student
from synthagent.student.training import Course, finish, settings_of
from synthagent.student.watch import Live, Seen, Watch, due, write_episodes

_A_PASS = 8  # episodes


class _Trained(NamedTuple):
    """The student after a training, where this process has it, and what the steps logged."""

    student: Student | None
    steps: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class GrpoJob:
    """GRPO on live episodes (paper section 6: clip 0.2 / 0.28, no KL, group-normalised); leaves `GrpoStep`s in `LOG`.

    `order` names the tasks, `tasks_per_step` a step. `mapping`: M at the start, None where no
    model takes part; what models are used for is left beside `out`, a file for each process. `pool`: what may be
    sampled besides the scheduled tasks (`synthagent.student.prompts`). `pairs`: those of the probe. `problems`: in the
    order in which they are taken; their tasks are among `tasks`.
    """

    start: Path
    out: Path
    order: Sequence[str]
    tasks: dict[str, Task]
    rubrics: dict[str, Rubric]
    params: Params
    mapping: Sequence[MappingEntry] | None
    pool: Sequence[SamePrompt] = ()
    pairs: Sequence[SamePrompt] = ()
    problems: Sequence[Problem] = ()
    checkpoints: Checkpoints | None = None
    live: Live | None = None

    def __call__(self) -> None:
        student = trainable_student(self.start, self.params.student, self.params.seed)
        if self.params.grpo.steps == 0:
            finish(student, self.params.student, self.out, [])
            return
        with (
            training_episodes(self.params, self.rubrics, self.mapping, self._by_name()) as episodes,
            served(self.params, episodes, self.start) as generation,
        ):
            trained, log = self._train(student, episodes, generation)
            write_text(self.out.with_name(f"usage-{rank()}.json"), json.dumps(episodes.usage()))
        finish(trained, self.params.student, self.out, log)

    def _train(self, student: Student, episodes: TrainingEpisodes, generation: Served | None) -> _Trained:
        params = self.params.grpo
        config = config_of(self.params, self.checkpoints.folder if self.checkpoints else self.out)
        prompts = [{"prompt": [{"role": "user", "content": name}], "task_id": name} for name in self.order]
        trainer = Grpo(
            model=student.model,
            args=config,
            train_dataset=Dataset.from_list(prompts),
            processing_class=student.tokenizer,
            environment_factory=lambda: LiveEpisode(self.tasks, episodes),
            rollout_func=partial(self._rollout, episodes, generation),
            callbacks=[DeadGroups(params.updates)],
        )
        trainer.most = params.batch_tokens
        if generation:
            generation.attach(trainer)
        if self.pairs and params.probe is not None:
            ask = partial(self._perfect, episodes, trainer)
            every, may_save = params.probe.every * params.updates, self.checkpoints is not None
            trainer.add_callback(PairProbe(self.pairs, every, ask, trainer.besides, may_save))
        steps = [asdict(step_logged(params.updates, log)) for log in steps_of(trainer.run(self._course()))]
        fresh = partial(trainable_student, self.start, self.params.student, self.params.seed)
        return _Trained(gathered(trainer, student, fresh), steps)

    def _course(self) -> Course:
        params, student = self.params.grpo, self.params.student
        return Course(
            stage="grpo",
            steps=params.steps,
            checkpoints=self.checkpoints,
            optimizer=partial(optimizer_of, params=student, muon_rate=params.muon_rate, adam_rate=params.adam_rate),
            score=worth_of,
            lower="grpo.muon_rate or grpo.adam_rate",
            spare=remedy_of_training("grpo", params.batch_tokens, None, student),
            watch=Watch(
                partial(row_of, params.updates),
                partial(tokens_of, params.tasks_per_step * params.group_size),
                self.live.folder if self.live else None,
            ),
            updates=params.updates,
        )

    def _rollout(self, made: TrainingEpisodes, generation: Served | None, _: Any, trainer: Any) -> dict[str, Any]:
        """TRL's hook: the ids that were sampled, and which of them are the model's own and to be learnt from."""
        seats, accelerator = trainer.environments, trainer.accelerator
        step = trainer.state.global_step // self.params.grpo.updates
        logged = steps_of(trainer.state.log_history)
        rewards = [float(entry.get("reward_tasks", entry["reward"])) for entry in logged]
        levels = {name: task.difficulty for name, task in self.tasks.items()}
        problems = [problem.id for problem in self.problems]
        choice = TaskChoice(self.order, self.pool, levels, self.params.grpo, self.params.seed, problems)

        def play(seats: Sequence[LiveEpisode]) -> None:
            episodes = [seat._episode for seat in seats]
            sampled = self._sampled(made, trainer, episodes, generation=generation)
            for seat, tokens, score in zip(seats, sampled, made.scores(episodes), strict=True):
                seat._sampled, seat._score = tokens, score

        came = sample_step(
            seats,
            choice.of_step(step, rewards),
            accelerator.process_index * len(seats),
            self.params.grpo,
            play=play,
            gather=lambda values: accelerator.gather(torch.tensor(values, device=accelerator.device)).tolist(),
            instead=choice.in_place(step, rewards),
        )
        trainer.note([{**seen(seat), "dead_groups": came.dead, "replaced": came.replaced} for seat in seats])
        if self.live and is_first() and due(step + 1, self.params.grpo.steps):
            self._show(self.live, made, step + 1, seats)
        masked = self.params.grpo.mask_truncated_completions
        rows = [seat._sampled for seat in seats]
        return {
            "prompt_ids": [row.prompt for row in rows],
            "completion_ids": [row.completion for row in rows],
            "logprobs": [row.logprobs for row in rows],
            # Not TRL's own masking, which takes a last token that ends a turn for the end of the episode.
            "env_mask": [[0] * len(s._sampled.mask) if masked and s._truncated else s._sampled.mask for s in seats],
        }

    def _sampled(
        self,
        made: TrainingEpisodes,
        trainer: Any,
        episodes: Sequence[Episode],
        greedy: bool = False,
        generation: Served | None = None,
    ) -> list[Sampled]:
        """Have the student, as it stands, act in episodes to their ends: in process, or by `generation`."""
        thinking, tokenizer = self.params.student.thinking, trainer.processing_class
        if generation:
            return generation.run(ChatFormat.of(tokenizer, thinking), episodes)
        loop = made.models.loop if made.models else None
        limits, temperature = self.params.episode, trainer.temperature
        with acting(trainer) as model:  # all processes take part, also those without an episode
            if not episodes:
                return []
            current = Student(model, tokenizer, thinking)
            with memory_told("grpo, sampling", remedy_of_acting(self.params)):
                return run_episodes(current, episodes, limits, temperature=temperature, greedy=greedy, loop=loop)

    def _perfect(self, made: TrainingEpisodes, trainer: Any, names: Sequence[str]) -> dict[str, bool]:
        """Whether the student, as it stands, does these tasks perfectly, greedily."""
        episodes = [made.new(self.tasks[name]) for name in names]
        self._sampled(made, trainer, episodes, greedy=True)
        return {name: score.perfect for name, score in zip(names, made.scores(episodes), strict=True)}

    def _by_name(self) -> dict[str, Problem]:
        return {problem.id: problem for problem in self.problems}

    def _show(self, live: Live, made: TrainingEpisodes, step: int, seats: Sequence[LiveEpisode]) -> None:
        """Leave the best and the worst of this process's episodes as text."""
        ranked = sorted(seats, key=lambda seat: seat.get_reward())
        shown = [seat._episode for seat in (ranked[-1], ranked[0])]
        rubrics = {**self.rubrics, **{name: rubric_of(problem) for name, problem in self._by_name().items()}}
        write_episodes(live, step, [Seen(e.trajectory("grpo"), made.reward(e), rubrics.get(e.task.id)) for e in shown])


def config_of(params: Params, folder: Path) -> GRPOConfig:
    """What the params say to TRL; whatever it saves, it saves in `folder`."""
    grpo = params.grpo
    episodes = grpo.tasks_per_step * grpo.group_size // params.compute.processes // grpo.updates
    a_pass, passes = (episodes, 1) if grpo.batch_tokens else passes_of(episodes)
    return GRPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=a_pass,
        num_generations=grpo.group_size,
        gradient_accumulation_steps=passes,
        steps_per_generation=passes * grpo.updates,
        max_steps=grpo.steps * grpo.updates,
        learning_rate=grpo.adam_rate,
        lr_scheduler_type="cosine",
        warmup_steps=2,
        beta=0.0,
        epsilon=grpo.clip_low,
        epsilon_high=grpo.clip_high,
        loss_type=grpo.loss_type,
        importance_sampling_level=grpo.importance_sampling_level,
        scale_rewards=grpo.scale_rewards,
        temperature=1.0,
        max_completion_length=params.episode.max_tokens,
        logging_steps=grpo.updates,
        shuffle_dataset=False,
        seed=params.seed,
        **CORRECTION,
        **settings_of(params.student),
    )


def passes_of(episodes: int) -> tuple[int, int]:
    """How many of a process's `episodes` go through the network at once in training, and how often: for memory."""
    a_pass = next(size for size in range(min(episodes, _A_PASS), 0, -1) if episodes % size == 0)
    return a_pass, episodes // a_pass
