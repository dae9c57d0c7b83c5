"""Muon for the matrices of the blocks, AdamW for embeddings and norms, as one optimizer for a Trainer.

Both are torch's own. Muon (Jordan et al. 2024) orthogonalises the update of a matrix; on this student it learns to copy
names from half as many episodes as AdamW alone (see docs/decisions.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class MuonAdamW(torch.optim.Optimizer):
    """Two optimizers that share one list of parameter groups, so that a learning-rate schedule drives both."""

    def __init__(self, model: torch.nn.Module, muon_rate: float, adam_rate: float) -> None:
        named = list(model.named_parameters())
        matrices = [p for name, p in named if p.ndim == 2 and "embed" not in name and "lm_head" not in name]
        chosen = {id(p) for p in matrices}
        others = [p for _, p in named if id(p) not in chosen]
        self._parts: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=muon_rate, momentum=0.95, weight_decay=0.0),
            torch.optim.AdamW(others, lr=adam_rate, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        super().__init__([{"params": matrices, "lr": muon_rate}, {"params": others, "lr": adam_rate}], {})
        self._share_groups()

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """One update of all parameters."""
        loss = closure() if closure is not None else None
        for part in self._parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The state of both parts."""
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore both parts."""
        for part, state in zip(self._parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share_groups()

    def _share_groups(self) -> None:
        self.param_groups = [group for part in self._parts for group in part.param_groups]
