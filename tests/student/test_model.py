"""The student's network and its checkpoints."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.chat_templates import SMOLLM
from helpers.projects import files_under
from helpers.student import PARAMS, sample
from helpers.tasks import accepted_tasks

from synthagent.errors import InputError, StoreError
from synthagent.student.model import Student, build_model, load_student, save_student


def test_a_new_student_depends_on_its_seed_alone(tokenizer: Any, untrained: Student) -> None:
    again, other = (build_model(tokenizer, PARAMS, seed).state_dict() for seed in (0, 1))
    weights = untrained.model.state_dict()
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert not all(torch.equal(weights[name], other[name]) for name in weights)


def test_a_checkpoint_gives_the_student_back(student: Student, tmp_path: Path) -> None:
    save_student(student, tmp_path)
    tasks = accepted_tasks()[:3]
    assert sample(load_student(tmp_path), tasks).sampled == sample(student, tasks).sampled


def test_the_same_student_is_saved_as_the_same_bytes_wherever_it_came_from(student: Student, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for start, end in ((first, "a"), (second, "b")):
        save_student(student, start)
        save_student(load_student(start), tmp_path / end)
    for one, two in ((first, second), (tmp_path / "a", tmp_path / "b")):
        files = files_under(one)
        assert files
        assert {path.name: content for path, content in files.items()} == {
            path.name: content for path, content in files_under(two).items()
        }
        assert not [path.name for path, content in files.items() if str(tmp_path).encode() in content]


def test_a_checkpoint_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nothing: no checkpoint.*dvc repro"):
        load_student(tmp_path / "nothing")


def test_a_checkpoint_whose_chat_template_does_not_suit_is_told_by_its_path(student: Student, tmp_path: Path) -> None:
    save_student(student, tmp_path)
    (tmp_path / "chat_template.jinja").write_text(SMOLLM)
    with pytest.raises(InputError, match=rf"^{re.escape(str(tmp_path))}: its chat template writes a call as ''"):
        load_student(tmp_path)
