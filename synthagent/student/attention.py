"""Causal attention for training on a CPU: blocks of queries, each against what lies before it, by plain products.

torch's own kernel for the CPU takes three times as long at the lengths of episodes, which was two fifths of a step of
SmolLM2 (see docs/decisions.md). What is not a plain causal pass, such as one with a cache, goes to that kernel. A model
that takes its attention from here can also be given the distinct tokens of several rows (`prefixes`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from synthagent.student.prefixes import merge

NAME = "sdpa_in_blocks"
MERGING = "sdpa_in_blocks_merging"  # the same, of a model that was seen to take merged rows
_BLOCK = 128  # queries
_ROUNDING = 0.02  # of logits, in bfloat16
_LONGEST = 2048  # beyond it the weights of attention, which are kept for the backward pass, take too much memory


@contextmanager
def fast_attention(model: Any) -> Iterator[None]:
    """Have a model on a CPU, whose attention is torch's, train by `in_blocks`."""
    before = model.config._attn_implementation
    if model.device.type != "cpu" or before != "sdpa":
        yield
        return
    model.set_attn_implementation(NAME)
    if _can_take_merged(model):
        model.set_attn_implementation(MERGING)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def takes_merged(model: Any) -> bool:
    """Whether a model that trains here makes the same of merged rows."""
    return bool(model.config._attn_implementation == MERGING)


def _can_take_merged(model: Any) -> bool:
    """Try it: a model that mixes tokens elsewhere than in attention does not."""
    ids = torch.tensor([[3, 4, 5, 6, 7], [3, 4, 5, 7, 8], [3, 4, 9, 6, 5]], device=model.device)
    rows = merge(ids, torch.ones_like(ids, dtype=torch.bool))
    with torch.no_grad(), torch.random.fork_rng([]):  # with dropout it is not the same either
        plain = model(input_ids=ids, use_cache=False).logits.float()
        try:
            merged = model(
                input_ids=rows.ids, position_ids=rows.positions, attention_mask=rows.layout, use_cache=False
            ).logits.float()
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
            return False
    return bool((merged[0, rows.numbers] - plain).norm() < _ROUNDING * plain.norm())


def attention_forward(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as transformers calls it: (batch, heads, length, size) -> (batch, length, heads, size).

    Of merged rows, whose mask is their layout, the batch is one row of distinct tokens.
    """
    if attention_mask is not None and attention_mask.dtype == torch.long:
        layout = attention_mask[0, 0]
        numbers = layout.where(layout >= 0, -1 - layout).flatten()
        query, key, value = (_in_rows(each[0], numbers, layout.shape) for each in (query, key, value))
        out, _ = attention_forward(module, query, key, value, None, dropout, scaling, **more)
        return out[layout >= 0][None], None
    length = query.shape[2]
    plain = attention_mask is None and not dropout and more.get("softcap") is None
    causal = getattr(module, "is_causal", True) and more.get("is_causal") is not False and key.shape[2] == length
    alike = value.shape[3] == query.shape[3]
    if not (plain and causal and alike and torch.is_grad_enabled() and 1 < length <= _LONGEST):
        result: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **more
        )
        return result
    if torch.is_autocast_enabled("cpu"):
        query, key, value = (each.to(torch.get_autocast_dtype("cpu")) for each in (query, key, value))
    with torch.autocast("cpu", enabled=False):
        return in_blocks(query, key, value, scaling or query.shape[3] ** -0.5).transpose(1, 2), None


def in_blocks(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float) -> torch.Tensor:
    """Causal attention; several heads of queries may share one of keys and values."""
    result: torch.Tensor = _InBlocks.apply(query, key, value, scaling)  # type: ignore[no-untyped-call]
    return result


class _InBlocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float) -> torch.Tensor:
        batch, heads, length, size = query.shape
        shared = key.shape[1]
        grouped = (query * scaling).reshape(batch, shared, heads // shared, length, size)
        out, weights = torch.empty_like(grouped), []
        for first, end in _blocks(length):
            scores = _flat(grouped, first, end) @ key[:, :, :end].transpose(-1, -2)
            square = scores.view(batch, shared, heads // shared, end - first, end)[..., first:]
            square.masked_fill_(torch.ones(square.shape[-2:], dtype=torch.bool).triu(1), float("-inf"))
            weights.append(torch.softmax(scores, -1))
            out[:, :, :, first:end] = (weights[-1] @ value[:, :, :end]).view_as(out[:, :, :, first:end])
        ctx.save_for_backward(grouped, key, value, *weights)
        ctx.scaling = scaling
        return out.view(query.shape)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None]:
        grouped, key, value, *weights = ctx.saved_tensors
        grad = grad.reshape(grouped.shape)
        of_query = torch.empty_like(grouped)
        of_key, of_value = (torch.zeros_like(each, dtype=torch.float32) for each in (key, value))
        for weight, (first, end) in zip(weights, _blocks(grouped.shape[3]), strict=True):
            part = _flat(grad, first, end)
            of_value[:, :, :end] += weight.transpose(-1, -2) @ part
            of_scores = torch._softmax_backward_data(
                part @ value[:, :, :end].transpose(-1, -2), weight, -1, weight.dtype
            )
            of_query[:, :, :, first:end] = (of_scores @ key[:, :, :end]).view_as(of_query[:, :, :, first:end])
            of_key[:, :, :end] += of_scores.transpose(-1, -2) @ _flat(grouped, first, end)
        of_query = (of_query * ctx.scaling).flatten(1, 2)
        return of_query, of_key.to(key.dtype), of_value.to(value.dtype), None


def _in_rows(tokens: torch.Tensor, numbers: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Of distinct tokens, (heads, tokens, size), those of rows: (rows, heads, width, size)."""
    chosen = tokens.transpose(0, 1).index_select(0, numbers)
    return chosen.view(*shape, *chosen.shape[1:]).transpose(1, 2)


def _blocks(length: int) -> Iterator[tuple[int, int]]:
    return ((first, min(length, first + _BLOCK)) for first in range(0, length, _BLOCK))


def _flat(grouped: torch.Tensor, first: int, end: int) -> torch.Tensor:
    """A block of queries, those of the heads that share keys one after the other."""
    return grouped[:, :, :, first:end].flatten(2, 3)


for _name in (NAME, MERGING):
    AttentionInterface.register(_name, attention_forward)
    AttentionMaskInterface.register(_name, sdpa_mask)
