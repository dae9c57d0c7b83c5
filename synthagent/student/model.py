"""The built-in student's network, a Qwen3 of about a million parameters, from scratch; and checkpoints on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
from transformers.utils import logging

from synthagent.errors import StoreError
from synthagent.params import StudentParams, Thinking, TinyParams
from synthagent.student.format import ChatFormat
from synthagent.student.machine import arithmetic


@dataclass(frozen=True, slots=True)
class Student:
    """A network, the tokenizer it was trained with, and whether its thoughts are kept (see `ChatFormat.of`)."""

    model: Any
    tokenizer: Any
    thinking: Thinking = "keep"

    @property
    def format(self) -> ChatFormat:
        """The text format that the tokenizer's chat template gives."""
        return ChatFormat.of(self.tokenizer, self.thinking)


def build_model(tokenizer: PreTrainedTokenizerFast, params: TinyParams, seed: int) -> Qwen3ForCausalLM:
    """An untrained student. `initializer_range` of d^-0.5: with less, tied embeddings learn to copy much later."""
    torch.manual_seed(seed)
    size = params.hidden_size
    config = Qwen3Config(
        vocab_size=(len(tokenizer) + 63) // 64 * 64,
        hidden_size=size,
        intermediate_size=3 * size,
        num_hidden_layers=params.layers,
        num_attention_heads=params.heads,
        num_key_value_heads=params.heads,
        head_dim=size // params.heads,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        use_sliding_window=False,
        initializer_range=size**-0.5,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    return Qwen3ForCausalLM(config)


def load_student(
    path: Path, dtype: torch.dtype = torch.float32, attention: str | None = None, thinking: Thinking = "keep"
) -> Student:
    """A checkpoint that a stage wrote, on the CPU. `attention`: how it is computed; None: as the model prefers.

    Raises:
        StoreError: there is none.
        InputError: its chat template does not suit a student.
    """
    if not (path / "config.json").is_file():
        raise StoreError(f"{path}: no checkpoint; run the stage that writes it (see dvc.yaml), or `dvc repro`")
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(path)
    ChatFormat.of(tokenizer, thinking)  # told before the weights are read
    model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, attn_implementation=attention)
    return Student(model, tokenizer, thinking)


def acting_student(path: Path, params: StudentParams) -> Student:
    """A checkpoint that a stage wrote, as it acts on this machine; raises as `load_student`."""
    return load_student(path, arithmetic(params), params.attention, params.thinking)


def save_student(student: Student, path: Path) -> None:
    """Write a checkpoint; the same weights give the same bytes.

    Raises:
        StoreError: the disk refuses.
    """
    logging.disable_progress_bar()
    try:
        student.model.save_pretrained(path)
        student.tokenizer.save_pretrained(path)
    except (OSError, SafetensorError) as error:
        raise StoreError(f"{path}: cannot be written: {error}; what was there is unchanged") from error


def device() -> torch.device:
    """Where a student acts: on a GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
