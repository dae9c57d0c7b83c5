"""What is longer than a student attends to: how many, which, a remedy; left out, or refused where nothing is left."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.projects import default_params
from helpers.student import LIMITS, tasks_of_different_length

from synthagent.errors import SynthAgentError
from synthagent.params import Params
from synthagent.student.model import Student, save_student
from synthagent.student.positions import limit_of, tasks_that_fit


def params(base: str, max_tokens: int) -> Params:
    found = default_params()
    student = found.student.model_copy(update={"base": base})
    return found.model_copy(
        update={"student": student, "episode": LIMITS.model_copy(update={"max_tokens": max_tokens})}
    )


@pytest.fixture
def short(untrained: Student, tmp_path: Path) -> Path:
    """A student with few positions."""
    save_student(untrained, tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"max_position_embeddings": 2048', '"max_position_embeddings": 300'))
    return tmp_path


def test_tasks_whose_episodes_would_be_too_long_are_told_and_left_out(
    short: Path, untrained: Student, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = tasks_of_different_length(untrained.tokenizer, 9)
    lengths = [len(untrained.format.prompt_ids(task)) for task in tasks]
    room = 300 - sorted(lengths)[3]
    kept = tasks_that_fit("rollouts", tasks, short, params("given", room))
    assert kept == [task for task, length in zip(tasks, lengths, strict=True) if length <= sorted(lengths)[3]]
    told = capsys.readouterr().out
    gone = [task.id for task in tasks if task not in kept]
    assert told.startswith(f"rollouts: {len(gone)} of 9 are longer than the 300 tokens")
    assert f"episode.max_tokens ({room})" in told
    assert f"{', '.join(gone[:3])}, .." in told
    assert told.count("\n") == 1


def test_where_none_fits_it_is_an_error(short: Path, untrained: Student) -> None:
    tasks = tasks_of_different_length(untrained.tokenizer, 3)
    told = r"^grpo: 3 of 3 are longer than the 300 tokens .*lower episode.max_tokens"
    with pytest.raises(SynthAgentError, match=told):
        tasks_that_fit("grpo", tasks, short, params("given", 300))


def test_the_built_in_student_has_room_for_all(
    untrained: Student, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_student(untrained, tmp_path)
    tasks = tasks_of_different_length(untrained.tokenizer, 3)
    assert limit_of(untrained.model.config, params("given", 4_000).student) == 2048
    assert tasks_that_fit("rollouts", tasks, tmp_path, params("tiny", 4_000)) == tasks
    assert capsys.readouterr().out == ""
