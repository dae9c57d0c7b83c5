"""A step of a training in passes of bounded size, whose gradients add up to that of the whole step."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from transformers import Trainer

from synthagent.student.lengths import passes_within


class InPasses(Trainer):  # type: ignore[misc]
    """Mixed into TRL's trainers, after them: a batch goes through the network in passes of `most` tokens.

    The trainer's own accumulation is of a fixed number of rows; here it is 1, and a batch all that a step has.
    """

    most: int | None = None  # tokens, padding included; None: the batch at once

    def share(self, part: dict[str, Any], batch: dict[str, Any]) -> float:
        """By what the mean that `compute_loss` gives for a part of a batch counts; 1 where it gives a sum."""
        return 1.0

    def learnt(self, batch: dict[str, Any]) -> list[bool]:
        """Of each row, whether anything is learnt from it; the others need not go through the network."""
        return [True] * len(_lengths(batch))

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """Forward and backward of a batch; returns its loss."""
        if self.most is None:
            return super().training_step(model, inputs, num_items_in_batch)
        model.train()
        batch = self._prepare_inputs(inputs)
        # Negative where nothing is learnt. As many rows in all processes, at least one: such rows take the places left.
        signed = [size if learns else -size for size, learns in zip(_lengths(batch), self.learnt(batch), strict=True)]
        everyones = self.accelerator.gather(torch.tensor([signed], device=self.args.device)).tolist()
        count = max(1, *(sum(size > 0 for size in each) for each in everyones))
        chosen = sorted(range(len(signed)), key=lambda row: signed[row] < 0)[:count]
        widths = [[abs(size) for size in sorted(each, key=lambda size: size < 0)[:count]] for each in everyones]
        passes = passes_within([abs(signed[row]) for row in chosen], self.most, widths)
        total = torch.zeros((), device=self.args.device)
        for places in passes:
            last = places is passes[-1]
            part = _part(batch, [chosen[place] for place in places], len(signed))
            self.accelerator.gradient_state._set_sync_gradients(last)
            with nullcontext() if last else self.accelerator.no_sync(model):
                with self.compute_loss_context_manager():
                    loss = self.compute_loss(model, part, num_items_in_batch=num_items_in_batch)
                loss = loss * self.share(part, batch)
                self.accelerator.backward(loss)
            total += loss.detach()
        return total


def _lengths(batch: dict[str, Any]) -> list[int]:
    """How many tokens each row has, in a batch of SFT or of GRPO."""
    masks = [batch[name] for name in ("attention_mask", "prompt_mask", "completion_mask") if name in batch]
    lengths: list[int] = sum(mask.sum(1) for mask in masks).tolist()
    return lengths


def _part(batch: dict[str, Any], rows: Sequence[int], size: int) -> dict[str, Any]:
    """Some rows of a batch of so many. What is not of rows, such as the number of all tokens, stays."""

    def chosen(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value[list(rows)] if value.ndim and len(value) == size else value
        return [value[row] for row in rows] if isinstance(value, list) and len(value) == size else value

    return {name: chosen(value) for name, value in batch.items()}
