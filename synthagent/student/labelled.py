"""Logits only where a label is, what rows begin with once: a student's pass, for the losses of TRL's trainers.

TRL calls its model with rows of a batch, and reads log-probabilities of the labels; what stands in for the model here
gives the same for a smaller pass. The vocabulary's matrix is a fifth of the arithmetic of a small model, and its logits
most of the memory; of an episode, one token in ten is the student's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from synthagent.student.attention import takes_merged
from synthagent.student.format import IGNORED
from synthagent.student.prefixes import Merged, merge


@dataclass(slots=True)
class Asked:
    """What TRL's losses read of a pass: of each next token that has a label, 0 elsewhere. The names are TRL's."""

    log_probs: torch.Tensor
    entropy: torch.Tensor
    is_top1: torch.Tensor | None
    label_mask: torch.Tensor
    aux_loss: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class Labelled:
    """Stands in for `model`, which a trainer has prepared, where TRL computes a loss.

    `bare`: the same model without what the trainer wrapped around it. `own`: which of the inputs are the student's own
    tokens, where TRL does not know; no others keep their label. `temperature`: by which logits are divided.
    `learns_entropy`: whether the loss has a term of entropy, which then needs a gradient.
    """

    model: Any
    bare: Any
    own: torch.Tensor | None = None
    temperature: float = 1.0
    learns_entropy: bool = False

    def __call__(
        self, *, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor, **more: Any
    ) -> Asked:
        """As the model with TRL's fused head: what is asked of each next token, 0 where it has no label."""
        if self.own is not None:
            labels = labels.masked_fill(self.own == 0, IGNORED)
        order = _left_first(attention_mask)
        width = int(attention_mask.sum(1).max())
        rows = {"input_ids": input_ids.gather(1, order)[:, :width]}
        real = attention_mask.gather(1, order)[:, :width]
        labels = labels.masked_fill(attention_mask == 0, IGNORED).gather(1, order)[:, :width]
        balanced = bool(more.get("output_router_logits"))
        if balanced:  # experts are, over what is not padding
            rows["attention_mask"] = real
        if input_ids.device.type == "cpu":
            merged = None if balanced or not takes_merged(self.bare) else merge(rows["input_ids"], real.bool())
            output = self._where_labels_are(rows, merged, labels, more)
        else:  # TRL's kernel leaves out what has no label by itself
            output = self.model(**rows, labels=labels, **more)
        # Back to where TRL had the tokens: the place of a label, less one.
        places = (order[:, 1:width] - 1).clamp(min=0)
        for name in ("log_probs", "entropy", "is_top1", "label_mask"):
            if (found := getattr(output, name)) is not None:
                whole = found.new_zeros(input_ids.shape[0], input_ids.shape[1] - 1)
                setattr(output, name, whole.scatter(1, places, found))
        return output

    def _where_labels_are(
        self, rows: dict[str, torch.Tensor], merged: Merged | None, labels: torch.Tensor, more: dict[str, Any]
    ) -> Asked:
        """The model's own forward, whose output layer is given the states before a label only."""
        mask = labels[:, 1:] != IGNORED
        chosen: Any = torch.nn.functional.pad(mask, (0, 1))
        if merged is not None:
            rows = {"input_ids": merged.ids, "position_ids": merged.positions, "attention_mask": merged.layout}
            chosen = (0, merged.numbers[chosen])
        more = {name: value for name, value in more.items() if name != "fused_lm_head"} | {"use_cache": False}
        with _only(self.bare.get_output_embeddings(), chosen):
            output = self.model(**rows, **more)
        logits = output.logits.float() / self.temperature
        logps = torch.log_softmax(logits, -1)
        with torch.set_grad_enabled(self.learns_entropy and torch.is_grad_enabled()):
            entropy = -(logps.exp() * logps).sum(-1)
        wanted = labels[:, 1:][mask]

        def spread(values: torch.Tensor) -> torch.Tensor:
            return values.new_zeros(mask.shape).masked_scatter(mask, values)

        return Asked(
            log_probs=spread(logps.gather(1, wanted[:, None]).squeeze(1)),
            entropy=spread(entropy),
            is_top1=spread(logps.detach().argmax(-1) == wanted),
            label_mask=mask,
            aux_loss=getattr(output, "aux_loss", None),
        )


def _left_first(attention_mask: torch.Tensor) -> torch.Tensor:
    """For each row, the places of its tokens in their order, then those of its padding."""
    return torch.argsort(1 - attention_mask.long(), dim=1, stable=True)


@contextmanager
def _only(output: torch.nn.Module, chosen: Any) -> Iterator[None]:
    """Give an output layer the `chosen` of its states; its logits are then of shape (chosen, vocabulary)."""
    hook = output.register_forward_pre_hook(lambda _, inputs: (inputs[0][chosen],))
    try:
        yield
    finally:
        hook.remove()
