"""A checkpoint made ready to be trained, and a trained student to be saved: LoRA adapters, and the types of numbers.

Weights that are trained are float32, and the arithmetic on them of `student.dtype`: what a small rate adds to a weight
would be lost in bfloat16. Weights that stay as they are, under an adapter, are of that type at once.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer

from synthagent.errors import ParamsError
from synthagent.params import LoraParams, StudentParams
from synthagent.student.machine import arithmetic
from synthagent.student.model import Student, load_student


def trainable_student(path: Path, params: StudentParams, seed: int) -> Student:
    """A checkpoint that a stage wrote, with fresh adapters if the params want them."""
    if params.lora is None:
        return load_student(path, torch.float32, params.attention, params.thinking)
    student = load_student(path, arithmetic(params), params.attention, params.thinking)
    check_targets(student.model, params.lora)
    torch.manual_seed(seed)
    config = LoraConfig(
        r=params.lora.rank,
        lora_alpha=params.lora.alpha,
        target_modules=params.lora.targets if isinstance(params.lora.targets, str) else [*params.lora.targets],
        task_type="CAUSAL_LM",
    )
    return replace(student, model=get_peft_model(student.model, config))


def student_to_save(student: Student, params: StudentParams) -> Student:
    """The student as it is kept: adapters merged into the weights, once and in float32, and these of `dtype`."""
    model, dtype = student.model, getattr(torch, params.dtype)
    if isinstance(model, PeftModel):
        for layer in model.modules():
            if isinstance(layer, LoraLayer):
                layer.get_base_layer().float()
                layer.merge()
                layer.get_base_layer().to(dtype)
        model = model.unload()
    return replace(student, model=model.to(dtype))


def check_targets(model: Any, params: LoraParams) -> None:
    """Raise ParamsError where adapters are wanted for a module that the model does not have."""
    if isinstance(params.targets, str):
        return
    output = model.get_output_embeddings()
    linear = [name for name, part in model.named_modules() if isinstance(part, torch.nn.Linear) and part is not output]
    for target in params.targets:
        if not any(name == target or name.endswith(f".{target}") for name in linear):
            there = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
            raise ParamsError(
                f"params.yaml: student.lora.targets: the model has no linear module {target!r} below its output layer; "
                f"it has {there}"
            )
