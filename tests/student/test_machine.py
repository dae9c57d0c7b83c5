"""What of a machine is used: threads, the type of the arithmetic, kernels of Liger."""

from __future__ import annotations

import os

import pytest
import torch
from helpers.projects import default_params

from synthagent.errors import ParamsError
from synthagent.params import Params
from synthagent.student import machine
from synthagent.student.machine import arithmetic, threads_of, uses_liger


def params_of(processes: int = 1, **student: object) -> Params:
    params = default_params()
    compute = params.compute.model_copy(update={"processes": processes})
    return params.model_copy(update={"compute": compute, "student": params.student.model_copy(update=student)})


def test_the_built_in_student_has_one_thread_and_another_its_share_of_the_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {*range(12)})
    assert threads_of(params_of(1, base="tiny")) == 1
    assert [threads_of(params_of(n, base="smollm2")) for n in (1, 2, 5, 100)] == [12, 6, 2, 1]


def test_bfloat16_is_computed_where_the_cpu_has_instructions_for_it_else_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    machine._say_once.cache_clear()
    student = params_of(dtype="bfloat16").student
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert arithmetic(student) is torch.bfloat16
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False, "avx2": True})
    assert [arithmetic(student), arithmetic(student)] == [torch.float32] * 2
    assert capsys.readouterr().out.count("no instructions") == 1
    assert arithmetic(params_of(dtype="float32").student) is torch.float32


@pytest.mark.parametrize(
    ("wanted", "there", "gpu", "used"),
    [
        (None, True, True, True),
        (None, True, False, False),
        (None, False, True, False),
        (False, True, True, False),
        (True, True, True, True),
    ],
)
def test_liger_is_used_where_it_is_installed_on_a_gpu(
    wanted: bool | None, there: bool, gpu: bool, used: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "is_liger_kernel_available", lambda: there)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert uses_liger(params_of(liger=wanted).student) is used


@pytest.mark.parametrize(("there", "remedy"), [(False, "pip install it"), (True, "need a GPU")])
def test_liger_that_is_asked_for_and_cannot_be_is_refused(
    there: bool, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "is_liger_kernel_available", lambda: there)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ParamsError, match=rf"student\.liger: .*{remedy}"):
        uses_liger(params_of(liger=True).student)
