"""What is trained on when training is timed: demonstrations of the embedded teacher, and students of several sizes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from synthagent.params import Params
from synthagent.params_file import load_params
from synthagent.records import Rubric, Task
from synthagent.stages.personas import built_in
from synthagent.stages.rubrics import demonstrate
from synthagent.stages.sft import Example, base_student
from synthagent.stages.tasks import propose
from synthagent.student.model import Student
from synthagent.teacher.acceptance import judge_proposals
from synthagent.teacher.domains import load_vocabulary

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Taught:
    """Tasks, their rubrics, and a demonstration of each."""

    examples: tuple[Example, ...]
    rubrics: dict[str, Rubric]

    @property
    def tasks(self) -> list[Task]:
        return [example.task for example in self.examples]


def taught(count: int) -> Taught:
    """The first `count` tasks, by the repository's params."""
    params, personas, vocabulary = shipped(), list(built_in()), load_vocabulary()
    proposals = (propose(number, personas, vocabulary, params.tasks, params.seed) for number in range(count))
    tasks = [row for row in judge_proposals(proposals) if isinstance(row, Task) and row.split == "train"][:count]
    made = [demonstrate(task, params) for task in tasks]
    examples = tuple(Example(one.demos[0].messages, task) for one, task in zip(made, tasks, strict=True))
    return Taught(examples, {one.rubric.task_id: one.rubric for one in made})


def shipped(**student: Any) -> Params:
    """The repository's params, one process, with other values of `student`."""
    params = load_params(ROOT / "params.yaml")
    compute = params.compute.model_copy(update={"processes": 1})
    return params.model_copy(
        update={"compute": compute, "student": params.student.model_copy(update=student), "seed": 0}
    )


def tiny(examples: tuple[Example, ...]) -> Student:
    """The built-in student, untrained."""
    return base_student(shipped(), examples)


def qwen3_of_600m(tokenizer: Any) -> Student:
    """A network of the size of Qwen3-0.6B, with random weights."""
    config = Qwen3Config(
        vocab_size=151_936,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=40_960,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    torch.manual_seed(0)
    return Student(Qwen3ForCausalLM(config).to(torch.bfloat16), tokenizer)
