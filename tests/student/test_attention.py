"""Attention for training on a CPU: the same as torch's, for what it takes over; all else is torch's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.given import save_given
from torch.nn.functional import scaled_dot_product_attention

from synthagent.student import attention
from synthagent.student.attention import MERGING, fast_attention, in_blocks
from synthagent.student.model import Student, load_student


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Student:
    return load_student(save_given(tmp_path_factory.mktemp("given")))


@pytest.mark.parametrize("length", [2, 128, 300])
@pytest.mark.parametrize("shared", [1, 2, 6])
def test_outputs_and_gradients_are_those_of_torch(length: int, shared: int) -> None:
    torch.manual_seed(length)
    query = torch.randn(2, 6, length, 16, requires_grad=True)
    key, value = (torch.randn(2, shared, length, 16, requires_grad=True) for _ in range(2))
    grad = torch.randn(2, 6, length, 16)
    ours = in_blocks(query, key, value, 0.3)
    torchs = scaled_dot_product_attention(query, key, value, is_causal=True, scale=0.3, enable_gqa=True)
    torch.testing.assert_close(ours, torchs)
    for one, other in zip(
        torch.autograd.grad(ours, (query, key, value), grad),
        torch.autograd.grad(torchs, (query, key, value), grad),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_a_model_gives_the_same_and_is_as_before_afterwards(given: Student) -> None:
    ids = torch.randint(3, 1000, (2, 200))
    before = given.model(input_ids=ids, use_cache=False).logits
    with fast_attention(given.model):
        assert given.model.config._attn_implementation == MERGING
        logits = given.model(input_ids=ids, use_cache=False).logits
    assert given.model.config._attn_implementation == "sdpa"
    torch.testing.assert_close(logits, before, rtol=1e-3, atol=1e-4)
    assert not torch.equal(logits, before)  # it did take another way


@pytest.mark.parametrize("case", ["no gradient", "padding", "cache"])
def test_what_is_no_plain_causal_pass_is_left_to_torch(
    case: str, given: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: Any) -> None:
        raise AssertionError("not for this")

    ids, mask = torch.randint(3, 1000, (2, 20)), torch.ones(2, 20, dtype=torch.long)
    if case == "padding":
        mask[0, :4] = 0
    monkeypatch.setattr(attention, "in_blocks", forbidden)
    with fast_attention(given.model), torch.set_grad_enabled(case == "padding"):
        first = given.model(input_ids=ids, attention_mask=mask, use_cache=case == "cache")
        if case == "cache":
            more = torch.ones(2, 21, dtype=torch.long)
            past = first.past_key_values
            given.model(input_ids=ids[:, :1], attention_mask=more, past_key_values=past)
