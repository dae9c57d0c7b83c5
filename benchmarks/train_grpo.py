"""Row b of `benchmarks.train`: a step of our GRPO against TRL's own, on single turns after prompts of equal length.

Both train the same model with the same settings on the same number of tokens: all prompts are one task's, and an end
token is never drawn, so that every completion has all the tokens it may. Ours runs a world and scores what was done by
a rubric; the peer generates with `generate` of transformers and is rewarded at random.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from datasets import Dataset
from transformers import PrinterCallback
from trl import GRPOTrainer

from benchmarks.train_clock import Spent, Steps, median, timed_steps
from benchmarks.train_data import Taught, shipped
from synthagent.params import Params
from synthagent.student.grpo import GrpoJob, config_of
from synthagent.student.model import Student, load_student, save_student
from synthagent.student.optimizer import optimizer_of
from synthagent.student.sampler import Sampled, run_episodes

TASKS, GROUP = 2, 8


@dataclass(frozen=True, slots=True)
class Stepped:
    """A step of each side: time, and tokens that were written in all steps."""

    ours: Spent
    plain: Spent
    tokens: tuple[int, int]


def compare(student: Student, data: Taught, tokens: int, steps: int, repeats: int, **chosen: Any) -> Stepped:
    """`steps` steps of each side, one after the other, `repeats` times; the first step of each is a warm-up."""
    params = _params(tokens, steps + 1, chosen)
    ours, plain, wrote = list[Spent](), list[Spent](), [0, 0]
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "start"
        save_student(student, start)
        for _ in range(repeats):
            with never_ending(student), written() as count:
                ours += timed_steps(_job(Path(folder), data, params))[1:]
            wrote[0] += count[0]
            with never_ending(student) as count:
                plain += _plain(start, Path(folder), data, params)[1:]
            wrote[1] += count[0]
    return Stepped(median(ours), median(plain), (wrote[0], wrote[1]))


def _params(tokens: int, steps: int, chosen: dict[str, Any]) -> Params:
    params = shipped(**chosen)
    rates = {} if params.student.base == "tiny" else {"adam_rate": 1e-5}
    grpo = params.grpo.model_copy(update={"steps": steps, "tasks_per_step": TASKS, "group_size": GROUP, **rates})
    limits = params.episode.model_copy(update={"max_turns": 1, "max_tokens": tokens, "max_turn_tokens": tokens})
    return params.model_copy(update={"grpo": grpo, "episode": limits})


def _job(folder: Path, data: Taught, params: Params) -> GrpoJob:
    task = data.tasks[0]
    order = [task.id] * (TASKS * params.grpo.steps)
    return GrpoJob(folder / "start", folder / "out", order, {task.id: task}, data.rubrics, params, None)


def _plain(start: Path, folder: Path, data: Taught, params: Params) -> list[Spent]:
    """TRL's own trainer, with the settings that our job gives it."""
    student = load_student(start, torch.float32, params.student.attention)
    prompt = student.tokenizer.decode(student.format.prompt_ids(data.tasks[0]))
    rng, grpo = random.Random(0), params.grpo
    config = config_of(params, folder / "plain")
    config.top_k = 0  # as ours samples
    steps = Steps()
    trainer = GRPOTrainer(
        model=student.model,
        args=config,
        train_dataset=Dataset.from_list([{"prompt": prompt}] * (TASKS * grpo.steps)),
        processing_class=student.tokenizer,
        reward_funcs=[lambda completions, **_: [rng.random() for _ in completions]],
        callbacks=[steps],
        optimizers=(optimizer_of(student.model, params.student, grpo.muon_rate, grpo.adam_rate), None),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return steps.spent


@contextmanager
def written() -> Iterator[list[int]]:
    """Counts the tokens that ours writes: a prompt goes through once for several episodes."""
    count = [0]

    def counted(*args: Any, **kwargs: Any) -> list[Sampled]:
        rows = run_episodes(*args, **kwargs)
        count[0] += sum(sum(row.mask) for row in rows)
        return rows

    with patch("synthagent.student.grpo.run_episodes", counted):
        yield count


@contextmanager
def never_ending(student: Student) -> Iterator[list[int]]:
    """Have models of this class give an end token no chance when they generate; counts the tokens TRL generates."""
    ends, count = sorted(student.format.end_ids), [0]
    kind = type(student.model)
    forward = kind.forward

    def endless(self: Any, *args: Any, **kwargs: Any) -> Any:
        output = forward(self, *args, **kwargs)
        if not torch.is_grad_enabled() and output.logits is not None:
            output.logits[..., ends] = -1e4
            count[0] += output.logits.shape[0]
        return output

    kind.forward = endless
    try:
        yield count
    finally:
        kind.forward = forward
