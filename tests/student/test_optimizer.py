"""Muon and AdamW as one optimizer."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers.student import PARAMS, Demo, train_on
from torch.optim.lr_scheduler import LambdaLR

from synthagent.student import machine
from synthagent.student.format import ChatFormat
from synthagent.student.model import build_model
from synthagent.student.optimizer import MuonAdamW, MuonTogether


@pytest.fixture
def training(tokenizer: Any, demos: list[Demo]) -> Callable[[], tuple[Any, MuonAdamW, list[dict[str, Any]]]]:
    """A fresh model, its optimizer and rows to train on."""

    def begin() -> tuple[Any, MuonAdamW, list[dict[str, Any]]]:
        model = build_model(tokenizer, PARAMS, seed=0)
        rows = [ChatFormat.of(tokenizer).tokenise(demo.messages, demo.task.tools) for demo in demos[:4]]
        return model, MuonAdamW(model, muon_rate=0.05, adam_rate=0.01), rows

    return begin


Training = Callable[[], tuple[Any, MuonAdamW, list[dict[str, Any]]]]


def weights_of(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> list[bool]:
    return [torch.equal(one[name], two[name]) for name in one]


def test_a_step_changes_every_parameter(training: Training) -> None:
    model, optimizer, rows = training()
    before = weights_of(model)
    train_on(model, optimizer, rows)
    assert not any(same(before, weights_of(model)))


def test_every_parameter_is_in_one_group_and_matrices_of_the_blocks_in_muons(training: Training) -> None:
    model, optimizer, _ = training()
    muon, adam = ([id(p) for p in group["params"]] for group in optimizer.param_groups)
    assert sorted(muon + adam) == sorted(id(p) for p in model.parameters())
    names = {id(p): name for name, p in model.named_parameters()}
    assert all(".layers." in names[p] and "norm" not in names[p] for p in muon)
    assert {"model.embed_tokens.weight", "model.norm.weight"} <= {names[p] for p in adam}


def test_a_schedule_drives_both_parts(training: Training) -> None:
    model, optimizer, rows = training()
    schedule = LambdaLR(optimizer, lambda step: 1.0 if step == 0 else 0.0)
    train_on(model, optimizer, rows)
    schedule.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0, 0]
    before = weights_of(model)
    train_on(model, optimizer, rows)
    assert all(same(before, weights_of(model)))


def test_a_training_that_is_taken_up_again_goes_on_as_if_it_had_not_stopped(training: Training) -> None:
    model, optimizer, rows = training()
    optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"] = 0.02, 0.004
    for _ in range(3):
        train_on(model, optimizer, rows)
    state, weights = copy.deepcopy(optimizer.state_dict()), weights_of(model)
    for _ in range(3):
        train_on(model, optimizer, rows)
    second, again, _ = training()
    second.load_state_dict(weights, strict=False)
    again.load_state_dict(state)
    assert [group["lr"] for group in again.param_groups] == [0.02, 0.004]
    for _ in range(3):
        train_on(second, again, rows)
    assert all(same(weights_of(model), weights_of(second)))
    schedule = LambdaLR(again, lambda _: 0.0)
    train_on(second, again, rows)
    schedule.step()
    assert all(same(weights_of(model), weights_of(second)))


def test_gradients_are_cleared_and_scaled_for_all(training: Training) -> None:
    model, optimizer, rows = training()
    train_on(model, optimizer, rows)
    assert all(p.grad is not None for p in model.parameters())
    optimizer.zero_grad()
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("has_instructions", [True, False])
def test_matrices_of_a_shape_together_move_as_torch_moves_each_by_itself(
    has_instructions: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "cpu_has_bfloat16", lambda: has_instructions)
    torch.manual_seed(0)
    shapes = [(16, 16), (16, 16), (48, 16), (16, 48), (48, 16)]
    one, two = ([torch.nn.Parameter(torch.ones(shape)) for shape in shapes] for _ in range(2))
    apart = torch.optim.Muon(one, lr=0.1, momentum=0.9, weight_decay=0.01)
    together = MuonTogether(two, lr=0.1, momentum=0.9, weight_decay=0.01)
    together.step()  # without gradients nothing moves
    for step in range(4):
        for first, second in zip(one, two, strict=True):
            first.grad = torch.randn_like(first)
            second.grad = first.grad.clone()
        if step == 2:  # as where a matrix had no part in a step
            one[1].grad = two[1].grad = None
        apart.step()
        together.step()
    for first, second in zip(one, two, strict=True):
        # bfloat16: elsewhere a product of a stack may round otherwise, and without instructions float32 is computed
        assert torch.allclose(first, second, atol=2e-3 if has_instructions else 1e-2)
        assert not torch.allclose(first, torch.ones_like(first), atol=0.1)
    assert [*apart.state_dict()] == [*together.state_dict()]
    assert [*apart.state_dict()["state"]] == [*together.state_dict()["state"]]


def test_a_cpu_without_instructions_for_bfloat16_moves_matrices_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    gradient, moved = torch.randn(24, 16), {}
    for has_instructions in (True, False):
        monkeypatch.setattr(machine, "cpu_has_bfloat16", lambda has=has_instructions: has)
        matrix = torch.nn.Parameter(torch.zeros(24, 16))
        matrix.grad = gradient.clone()
        MuonTogether([matrix], lr=1.0, momentum=0.0, weight_decay=0.0).step()
        moved[has_instructions] = matrix.detach().double()
    wanted = gradient.double() / gradient.double().norm()
    for _ in range(5):  # torch's five steps, and their coefficients, in double precision
        gram = wanted.mT @ wanted
        wanted = 3.4445 * wanted + wanted @ (-4.775 * gram + 2.0315 * gram @ gram)
    wanted *= -((24 / 16) ** 0.5)
    apart = {has: (found - wanted).abs().max().item() for has, found in moved.items()}
    assert apart[False] < 1e-5
    assert apart[True] > 1e-3
