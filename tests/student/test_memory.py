"""Out of memory: one line with the stage and the setting that halves what is taken; another error stays what it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.projects import default_params
from helpers.student import Demo

from synthagent.errors import SynthAgentError
from synthagent.params import LoraParams, StudentParams
from synthagent.student.memory import memory_told, remedy_of_training
from synthagent.student.model import Student, save_student


def student(**chosen: object) -> StudentParams:
    return default_params().student.model_copy(update=chosen)


def test_a_tensor_that_no_machine_has_room_for_is_told() -> None:
    told = r"^sft: out of memory on this machine; halve sft\.batch_tokens \(4096\)"
    remedy = remedy_of_training("sft", 4096, 700, student())
    with pytest.raises(SynthAgentError, match=told), memory_told("sft", remedy):
        torch.empty(2**55)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "on the GPU"),
        (MemoryError(), "on this machine"),
    ],
)
def test_what_a_gpu_and_python_raise_is_told(error: Exception, told: str) -> None:
    with pytest.raises(SynthAgentError, match=told), memory_told("grpo", "lower something"):
        raise error


def test_another_error_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_told("grpo", "lower something"):
        raise RuntimeError("shapes do not match")


@pytest.mark.parametrize(
    ("batch_tokens", "chosen", "named"),
    [
        (None, {}, "set sft.batch_tokens, such as to 1400"),
        (4096, {}, "halve sft.batch_tokens (4096)"),
        (700, {}, "student.gradient_checkpointing"),
        (700, {"gradient_checkpointing": True}, "student.lora"),
        (
            700,
            {"gradient_checkpointing": True, "lora": LoraParams(rank=4, alpha=8, targets="all-linear")},
            "student.base",
        ),
    ],
)
def test_the_setting_named_is_the_nearest_that_still_helps(
    batch_tokens: int | None, chosen: dict[str, object], named: str
) -> None:
    assert named in remedy_of_training("sft", batch_tokens, 700, student(**chosen))


def test_a_training_without_memory_ends_with_that_line(
    untrained: Student, demos: list[Demo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from synthagent.student.sft import SftJob, _InOrder  # trl takes seconds: not where the tests are only collected

    def greedy(*_: object, **__: object) -> None:
        torch.empty(2**55)

    monkeypatch.setattr(_InOrder, "compute_loss", greedy)
    params = default_params()
    save_student(untrained, tmp_path / "start")
    rows = [untrained.format.tokenise(demo.messages, demo.task.tools) for demo in demos[:8]]
    job = SftJob(tmp_path / "start", tmp_path / "out", rows, params.sft, 0, 1, params.student)
    with pytest.raises(SynthAgentError, match=r"^sft: out of memory on this machine; set sft\.batch_tokens"):
        job()
