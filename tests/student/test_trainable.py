"""LoRA adapters and the types of numbers: what is trained, and what is saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.given import save_given
from helpers.projects import default_params

from synthagent.errors import ParamsError
from synthagent.params import LoraParams, StudentParams
from synthagent.student import machine
from synthagent.student.base import given_base
from synthagent.student.model import Student, acting_student
from synthagent.student.named import named_student
from synthagent.student.optimizer import MuonAdamW, optimizer_of
from synthagent.student.trainable import student_to_save, trainable_student

LORA = LoraParams(rank=4, alpha=8, targets="all-linear")
IDS = torch.tensor([[5, 300, 7, 401, 9]])


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_given(tmp_path_factory.mktemp("given"))


def params(lora: LoraParams | None = None, **changes: Any) -> StudentParams:
    return default_params().student.model_copy(update={"base": "given", "lora": lora, **changes})


def shaken(student: Student) -> Student:
    """A student whose trained weights have moved, as training moves them."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in student.model.parameters():
            if weight.requires_grad:
                weight += 0.05 * torch.randn(weight.shape, generator=generator)
    return student


def logits(student: Student) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = student.model(input_ids=IDS).logits.float()
    return found


def test_all_weights_are_trained_in_float32_whatever_they_are_saved_as(given: Path) -> None:
    wanted = params(dtype="bfloat16")
    student = trainable_student(given, wanted, 0)
    assert {weight.dtype for weight in student.model.parameters()} == {torch.float32}
    assert all(weight.requires_grad for weight in student.model.parameters())
    assert student_to_save(student, wanted).model.dtype == torch.bfloat16


def test_under_adapters_only_these_are_trained_in_float32_and_the_rest_is_as_it_is_saved(
    given: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    student = trainable_student(given, params(LORA, dtype="bfloat16"), 0)
    kinds = {(weight.requires_grad, weight.dtype) for weight in student.model.parameters()}
    assert kinds == {(True, torch.float32), (False, torch.bfloat16)}
    assert not [n for n, p in student.model.named_parameters() if p.requires_grad and "lm_head" in n]


def test_fresh_adapters_change_nothing_and_depend_on_the_seed_alone(given: Path) -> None:
    plain = trainable_student(given, params(), 0)
    one, again, other = (trainable_student(given, params(LORA), seed) for seed in (0, 0, 1))
    assert torch.equal(logits(one), logits(plain))
    assert torch.equal(logits(shaken(one)), logits(shaken(again)))
    assert not torch.equal(logits(shaken(other)), logits(one))


@pytest.mark.parametrize("targets", ["all-linear", ("q_proj", "down_proj")])
def test_merged_adapters_give_what_they_gave_beside_the_weights(given: Path, targets: Any) -> None:
    wanted = params(LoraParams(rank=4, alpha=8, targets=targets))
    student, before = shaken(trainable_student(given, wanted, 0)), logits(trainable_student(given, params(), 0))
    told = logits(student)
    merged = student_to_save(student, wanted)
    assert type(merged.model).__name__ == "LlamaForCausalLM"
    assert not [name for name in merged.model.state_dict() if "lora" in name]
    assert (told - before).abs().max() > 0.1
    torch.testing.assert_close(logits(merged), told, atol=1e-4, rtol=1e-4)


def test_adapters_are_merged_in_float32_and_rounded_once(given: Path) -> None:
    wanted = params(LORA, dtype="bfloat16")
    student = shaken(trainable_student(given, wanted, 0))
    layers = {name: part for name, part in student.model.named_modules() if name.endswith("_proj")}
    exact = {
        name.removeprefix("base_model.model."): part.get_base_layer().weight.float()
        + LORA.alpha / LORA.rank * part.lora_B["default"].weight @ part.lora_A["default"].weight
        for name, part in layers.items()
    }
    merged = student_to_save(student, wanted).model.state_dict()
    assert len(exact) == 14
    for name, weight in exact.items():
        torch.testing.assert_close(merged[f"{name}.weight"].float(), weight, atol=0, rtol=2**-8)


@pytest.mark.parametrize("target", ["c_attn", "lm_head", "proj", "input_layernorm"])
def test_a_target_that_is_no_linear_module_is_told_with_those_there_are(given: Path, target: str) -> None:
    lora = LoraParams(rank=4, alpha=8, targets=("q_proj", target))
    said = rf"student\.lora\.targets: the model has no linear module '{target}' .*it has down_proj, .*, v_proj"
    with pytest.raises(ParamsError, match=said):
        trainable_student(given, params(lora), 0)


def test_muon_is_for_tiny_and_adamw_for_all_others_unless_the_params_say_so(given: Path) -> None:
    model = trainable_student(given, params(), 0).model

    def kind(**changes: Any) -> type:
        return type(optimizer_of(model, params(**changes), 0.1, 0.01))

    assert kind(base="tiny") is MuonAdamW
    assert kind(base="given") is torch.optim.AdamW
    assert kind(base="given", optimizer="muon") is MuonAdamW
    assert kind(base="tiny", optimizer="adamw") is torch.optim.AdamW


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_an_optimizer_moves_adapters_and_nothing_else(given: Path, optimizer: str) -> None:
    student = trainable_student(given, params(LORA), 0)
    before = {name: weight.detach().clone() for name, weight in student.model.named_parameters()}
    one = optimizer_of(student.model, params(LORA, optimizer=optimizer), 0.1, 0.01)
    student.model(input_ids=IDS, labels=IDS).loss.backward()
    one.step()
    moved = {name for name, weight in student.model.named_parameters() if not torch.equal(weight, before[name])}
    assert moved
    assert all("lora_" in name for name in moved)


@pytest.mark.parametrize("lora", [None, LORA])
def test_thoughts_are_kept_or_dropped_as_the_params_say_wherever_the_student_is_used(
    given: Path, lora: LoraParams | None
) -> None:
    wanted = params(lora, base=str(given), thinking="drop")
    trained = trainable_student(given, wanted, 0)
    for student in (given_base(wanted), acting_student(given, wanted), trained, student_to_save(trained, wanted)):
        assert student.format.template.thinking == "drop"
    assert acting_student(given, params(lora)).format.template.thinking == "keep"


@pytest.mark.parametrize(("has_instructions", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_whoever_acts_computes_in_bfloat16_only_on_a_machine_with_instructions_for_it(
    given: Path, has_instructions: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(machine, "cpu_has_bfloat16", lambda: has_instructions)
    wanted = params(base=str(given), dtype="bfloat16")
    whole = default_params().model_copy(update={"student": wanted})
    acting = (acting_student(given, wanted), named_student("base", whole), named_student(str(given), whole))
    assert [student.model.dtype for student in acting] == [dtype] * 3
    assert given_base(wanted).model.dtype is torch.bfloat16, "as it is stored, and passed on without a warm start"
