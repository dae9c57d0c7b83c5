"""Greedy writing in lockstep, against the library's own."""

from __future__ import annotations

import pytest
import torch
from helpers.student import tasks_of_different_length

from synthagent.student.model import Student
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


def test_no_more_is_written_than_is_asked_for(student: Student) -> None:
    prompt = prompts_of(student, 3)[0]
    assert [len(row) for row in write(student, [prompt], 3)] == [3]
    assert write(student, [prompt], 0) == [[]]
