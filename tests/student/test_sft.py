"""Supervised training: rows in the order given, each once; the losses and the checkpoint that it leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from helpers.projects import default_params
from helpers.student import Demo, train_on

from synthagent.student.checkpoint import LOG
from synthagent.student.model import Student, load_student, save_student


@pytest.fixture(scope="module")
def rows(untrained: Student, demos: list[Demo]) -> list[dict[str, Any]]:
    """Twenty rows, from the one that is worst foretold to the one that is best foretold."""
    made = [untrained.format.tokenise(demo.messages, demo.task.tools) for demo in demos[:20]]
    return sorted(made, key=lambda row: -loss_of(untrained, [row]))


def loss_of(student: Student, rows: Sequence[dict[str, Any]]) -> float:
    """The mean loss of rows taken one at a time."""
    still = torch.optim.SGD(student.model.parameters(), lr=0.0)
    return fmean(train_on(student.model, still, [row]) for row in rows)


def trained(folder: Path, start: Student, rows: Sequence[dict[str, Any]], rate: float) -> list[float]:
    """Train on single rows from `start` to `folder`; return the losses, one for each ten steps."""
    from synthagent.student.sft import SftJob  # trl takes seconds: not where the tests are only collected

    whole = default_params()
    params = whole.sft.model_copy(update={"batch_size": 1, "muon_rate": rate, "adam_rate": rate})
    save_student(start, folder / "start")
    SftJob(folder / "start", folder / "out", rows, params, 0, 1, whole.student)()
    losses: list[float] = json.loads((folder / "out" / LOG).read_text())
    return losses


def test_each_row_is_taken_once_in_the_order_given(
    untrained: Student, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    early, late = loss_of(untrained, rows[:10]), loss_of(untrained, rows[10:])
    assert early > late + 0.01
    assert trained(tmp_path, untrained, rows, rate=1e-12) == pytest.approx([early, late], abs=2e-3)


def test_what_was_learnt_is_in_the_checkpoint_and_is_the_same_again(
    untrained: Student, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    folders = tmp_path / "one", tmp_path / "two"
    losses = [trained(folder, untrained, rows, rate=0.01) for folder in folders]
    assert losses[0] == losses[1]
    weights = [(folder / "out" / "model.safetensors").read_bytes() for folder in folders]
    assert weights[0] == weights[1]
    assert loss_of(load_student(folders[0] / "out"), rows) < loss_of(untrained, rows) - 0.1


def test_sft_loads_nothing_of_grpo() -> None:
    """So that an edit of GRPO, or of who answers and judges in its episodes, does not train the first student again."""
    listing = "import sys, synthagent.student.sft, synthagent.stages.sft; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if name.startswith("synthagent.")}
    assert "synthagent.student.training" in loaded
    elsewhere = ("grpo", "live", "rollout", "sampler")
    assert loaded.isdisjoint({f"synthagent.student.{name}" for name in elsewhere})
    assert not [name for name in loaded if name.startswith("synthagent.judging")]
