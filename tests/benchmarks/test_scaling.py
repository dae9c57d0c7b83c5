"""What training large students takes: the formulas against real models, and the tables of the document."""

from __future__ import annotations

import pytest
import torch
from helpers.projects import ROOT
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM

from benchmarks.scaling import BUILT_IN, GPUS, RANK, kept_by_a_block, memory, shape_of, tables

SMALL = {
    "model_type": "qwen3",
    "head_dim": 16,
    "num_key_value_heads": 2,
    "vocab_size": 500,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 96,
}


@pytest.mark.parametrize("raw", [SMALL, SMALL | {"tie_word_embeddings": True}, *BUILT_IN.values()])
def test_parameters_and_adapters_are_those_of_the_real_model(raw: dict[str, object]) -> None:
    shape = shape_of("x", raw | {"kept": 1})
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**raw))
        assert shape.parameters == sum(weight.numel() for weight in model.parameters())
        adapted = get_peft_model(model, LoraConfig(r=RANK, target_modules="all-linear", task_type="CAUSAL_LM"))
    assert shape.adapters == sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)


def test_what_a_block_keeps_grows_with_its_tokens() -> None:
    few, many = (kept_by_a_block(SMALL, tokens) for tokens in (32, 128))
    assert few == pytest.approx(many, rel=0.02)
    assert few > 2 * (3 * SMALL["hidden_size"] + 3 * SMALL["intermediate_size"])  # at least the inputs of all products


def test_sharing_out_leaves_each_gpu_an_eighth_of_gradients_and_optimizer() -> None:
    whole, shared, *_ = memory(shape_of("Qwen3-8B", BUILT_IN["Qwen3-8B"] | {"kept": 1}))
    for place in (3, 4):
        assert float(shared[place]) == pytest.approx(float(whole[place]) / GPUS, abs=0.1)


def test_the_tables_of_the_document_are_those_that_are_computed() -> None:
    text = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    shown = text.partition("<!-- python -m benchmarks.scaling -->\n")[2].partition("<!-- end -->")[0]
    assert shown == tables([shape_of(name, raw) for name, raw in BUILT_IN.items()])
