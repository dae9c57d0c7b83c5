"""Greedy writing in lockstep, against the library's own."""

from __future__ import annotations

import copy

import pytest
import torch
from helpers.student import tasks_of_different_length

from synthagent.student.model import Student
from synthagent.student.replay import NotRecordedError, RecordedStep
from synthagent.student.rows import KEPT, Rows, write

MOST = 24


def prompts_of(student: Student, count: int) -> list[list[int]]:
    return [student.format.prompt_ids(task) for task in tasks_of_different_length(student.tokenizer, count)]


def generated(student: Student, prompt: list[int]) -> list[int]:
    """What the library writes after a prompt that is alone, without the end of the turn."""
    found = student.model.generate(
        input_ids=torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        max_new_tokens=MOST,
        do_sample=False,
        eos_token_id=sorted(student.format.end_ids),
        pad_token_id=student.tokenizer.pad_token_id,
    )
    return [token for token in found[0, len(prompt) :].tolist() if token not in student.format.end_ids]


def test_rows_that_are_written_together_are_what_the_library_writes_for_each_alone(
    student: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = prompts_of(student, 16)
    sizes: list[int] = []
    forward = Rows.forward

    def counted(rows: Rows) -> torch.Tensor:
        sizes.append(len(rows.tokens))
        return forward(rows)

    monkeypatch.setattr(Rows, "forward", counted)
    written = write(student, prompts, MOST)
    assert written == [generated(student, prompt) for prompt in prompts]
    lengths = {len(row) for row in written}
    assert len(lengths) > 2, "they end at different times"
    assert len(sizes) == min(MOST, max(lengths) + 1)
    going = [sum(len(row) >= step for row in written) for step in range(len(sizes))]
    assert all(still <= size <= still / KEPT for size, still in zip(sizes, going, strict=True)), "who has ended leaves"
    assert sizes[-1] < sizes[0]


@pytest.mark.parametrize("ahead", [2, 256])
def test_steps_of_fixed_places_write_the_same(student: Student, monkeypatch: pytest.MonkeyPatch, ahead: int) -> None:
    prompts = prompts_of(student, 16)
    before = write(student, prompts, MOST)
    steps: list[RecordedStep] = []
    call = RecordedStep.__call__

    def counted(step: RecordedStep, *given: torch.Tensor) -> torch.Tensor:
        steps.append(step)
        return call(step, *given)

    monkeypatch.setattr(RecordedStep, "__call__", counted)
    monkeypatch.setattr("synthagent.student.replay._AHEAD", ahead)
    monkeypatch.setattr("synthagent.student.replay._UNIT", 1)
    monkeypatch.setattr("synthagent.student.rows.can_replay", lambda *_: True)  # which a CPU runs without a recording
    assert write(student, prompts, MOST) == before
    assert len(steps) == min(MOST, max(map(len, before)) + 1) - 1, "all but the first, which reads the prompts"
    assert 1 < len({*map(id, steps)}) < len(steps), "a new one where rows have left or columns are full"


def test_a_model_whose_steps_cannot_be_recorded_writes_without(
    student: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = prompts_of(student, 4)
    before = write(student, prompts, MOST)

    def refused(step: RecordedStep) -> None:
        step.give_back()
        raise NotRecordedError("a number is asked for")

    monkeypatch.setattr(RecordedStep, "_recorded", refused)
    monkeypatch.setattr("synthagent.student.replay._on_gpu", lambda _: True)
    monkeypatch.setattr("synthagent.student.rows.can_replay", lambda *_: True)
    assert write(student, prompts, MOST) == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_writes_the_same_by_recorded_steps(student: Student, monkeypatch: pytest.MonkeyPatch) -> None:
    acting = Student(copy.deepcopy(student.model).to("cuda"), student.tokenizer)
    prompts = prompts_of(student, 16)
    recorded = write(acting, prompts, MOST)
    monkeypatch.setattr("synthagent.student.rows.can_replay", lambda *_: False)
    assert recorded == write(acting, prompts, MOST)


def test_no_more_is_written_than_is_asked_for(student: Student) -> None:
    prompt = prompts_of(student, 3)[0]
    assert [len(row) for row in write(student, [prompt], 3)] == [3]
    assert write(student, [prompt], 0) == [[]]
