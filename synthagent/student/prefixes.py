"""Rows that begin alike go through the network as one, up to where they part: a batch -> its distinct tokens.

What a causal model makes of a token depends on those before it alone. The episodes of a group have their prompt in
common, the demonstrations of twins most of it: half of the tokens of a step of GRPO, a quarter of those of SFT. The
distinct tokens go through as one row without padding; only attention puts the rows together again (`attention`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Merged:
    """The distinct tokens of a batch of rows, numbered row by row.

    `ids`, `positions`: of each token, of shape (1, tokens). `numbers`: of each place of a row its token's, of shape
    (rows, width); 0 where there is padding. `layout`: the same for attention, of shape (1, 1, rows, width): where a
    row is the first that has the token, its number n, elsewhere -1 - n.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    numbers: torch.Tensor
    layout: torch.Tensor


def merge(ids: torch.Tensor, real: torch.Tensor) -> Merged:
    """The tokens of these rows, (rows, width), of which `real` are no padding, which is at the right."""
    alike = (ids[:, None] == ids) & real[:, None] & real
    lengths, sources = alike.int().cumprod(2).sum(2).tril(-1).max(1)  # in common with a row before, the most
    columns = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    new = real & (columns >= lengths[:, None])
    numbers = torch.zeros_like(ids)
    numbers[new] = torch.arange(int(new.sum()), device=ids.device)
    for row, (length, source) in enumerate(zip(lengths.tolist(), sources.tolist(), strict=True)):
        numbers[row, :length] = numbers[source, :length]
    layout = numbers.where(new, -1 - numbers)
    return Merged(ids[new][None], columns[new][None], numbers, layout[None, None])
