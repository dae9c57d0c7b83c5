"""The optimizer of a student: Muon for the matrices of the blocks and AdamW for the rest, as one; or AdamW for all.

AdamW is torch's own, and Muon but for the order of its work. Muon (Jordan et al. 2024) orthogonalises the update of a
matrix; the tiny student learns with it to copy names from half as many episodes as with AdamW alone (see
docs/decisions.md). A model of others was trained with AdamW as a rule, and is here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch

from synthagent.params import StudentParams
from synthagent.student.machine import narrow_type


def optimizer_of(
    model: torch.nn.Module, params: StudentParams, muon_rate: float, adam_rate: float
) -> torch.optim.Optimizer:
    """The optimizer that the params choose, of the weights that are trained."""
    if params.uses_muon:
        return MuonAdamW(model, muon_rate, adam_rate)
    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(trained, lr=adam_rate, weight_decay=0.0, fused=True)


class MuonAdamW(torch.optim.Optimizer):
    """Two optimizers that share one list of parameter groups, so that a learning-rate schedule drives both."""

    def __init__(self, model: torch.nn.Module, muon_rate: float, adam_rate: float) -> None:
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        matrices = [p for name, p in named if p.ndim == 2 and "embed" not in name and "lm_head" not in name]
        chosen = {id(p) for p in matrices}
        others = [p for _, p in named if id(p) not in chosen]
        self._parts: list[torch.optim.Optimizer] = []
        if matrices:
            self._parts.append(MuonTogether(matrices, lr=muon_rate, momentum=0.95, weight_decay=0.0))
        if others:  # there are none where adapters are trained
            self._parts.append(torch.optim.AdamW(others, lr=adam_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True))
        groups = [{"params": matrices, "lr": muon_rate}, {"params": others, "lr": adam_rate}]
        super().__init__([group for group in groups if group["params"]], {})
        self._share_groups()

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """One update of all parameters."""
        loss = closure() if closure is not None else None
        for part in self._parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The state of the parts."""
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the parts."""
        for part, state in zip(self._parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share_groups()

    def _share_groups(self) -> None:
        self.param_groups = [group for part in self._parts for group in part.param_groups]


class MuonTogether(torch.optim.Muon):
    """torch's Muon, which takes one matrix after the other; here those of a shape are orthogonalised together.

    The result is the same, and so is the state. For a student of small matrices it takes two thirds of the time, which
    was a fifth of a step.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """One update of the matrices."""
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            if not (matrices := [p for p in group["params"] if p.grad is not None]):
                continue
            gradients = [p.grad for p in matrices]
            for p in matrices:
                self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
            momenta = [self.state[p]["momentum_buffer"] for p in matrices]
            torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
            updates = torch._foreach_lerp(gradients, momenta, group["momentum"])
            torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
            alike: dict[torch.Size, list[int]] = defaultdict(list)
            for number, matrix in enumerate(matrices):
                alike[matrix.shape].append(number)
            for (height, width), numbers in alike.items():
                moves = _orthogonal(torch.stack([updates[number] for number in numbers]), group)
                rate = group["lr"] * max(1, height / width) ** 0.5
                torch._foreach_add_([matrices[number] for number in numbers], list(moves), alpha=-rate)
        return loss


def _orthogonal(matrices: torch.Tensor, group: dict[str, Any]) -> torch.Tensor:
    """Of each matrix of a stack about the nearest orthogonal one, by the iteration (Newton-Schulz) of torch's Muon.

    In bfloat16, as torch does, but in float32 on a CPU without instructions for it: there the iteration takes some
    twenty times as long in bfloat16, which was most of a training of the built-in student.
    """
    first, second, third = group["ns_coefficients"]
    tall = matrices.shape[1] > matrices.shape[2]
    found = (matrices.mT if tall else matrices).to(narrow_type(matrices.device.type))
    found = found / found.norm(dim=(1, 2), keepdim=True).clamp(min=group["eps"])
    for _ in range(group["ns_steps"]):
        gram = found @ found.mT
        found = torch.baddbmm(found, torch.baddbmm(gram, gram, gram, beta=second, alpha=third), found, beta=first)
    return found.mT if tall else found
