"""A causal language model as others give one: a folder with a small Llama, a tokenizer, and Qwen's chat template."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from helpers.chat_templates import QWEN
from helpers.tasks import accepted_tasks

_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def save_given(folder: Path) -> Path:
    """Save one, always the same; its weights are random, in bfloat16 as is usual."""
    tasks = accepted_tasks()[:60]
    texts = [f"{task.instruction}\n{json.dumps([tool.schema_of_openai for tool in task.tools])}" for task in tasks]
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1_000, special_tokens=_SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    words.train_from_iterator([*texts, QWEN], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token=_SPECIAL[2])
    tokenizer.chat_template = QWEN
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=1_024,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.1,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
