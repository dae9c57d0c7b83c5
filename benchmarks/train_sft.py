"""Row a of `benchmarks.train`: the warm start of a real model, by its matrix products.

Ours is stage `sft`'s own job. The peer is a naive loop: bfloat16 autocast, full logits, batches of four, padded. What
is reached is tokens a second that are not padding, times 6, times parameters, over the rate of a product of matrices
that is measured after each step. On a CPU without instructions for bfloat16 all of it is in float32.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.train_clock import Spent, median, product, product_flops, spent_in, timed_steps
from benchmarks.train_data import Taught, shipped
from synthagent.student.format import IGNORED
from synthagent.student.machine import narrow_type
from synthagent.student.model import Student, device, save_student
from synthagent.student.sft import SftJob

RATE = 1e-5
BATCH, BATCH_TOKENS = 8, 2816
NAIVE = 4


@dataclass(frozen=True, slots=True)
class Reached:
    """Of one side: tokens a second, and the share of the product's rate, by wall clock and by CPU time."""

    tokens: float
    wall: float
    cpu: float
    step: Spent


def rows_of(student: Student, data: Taught, longest: int) -> list[dict[str, Any]]:
    """Demonstrations in the student's format, no longer than so many tokens."""
    rows = [student.format.tokenise(each.messages, each.task.tools) for each in data.examples]
    return [row for row in rows if len(row["input_ids"]) <= longest]


def ours(student: Student, rows: Sequence[dict[str, Any]], steps: int) -> Reached:
    """Steps of stage `sft`'s job; the first is a warm-up."""
    params = shipped(base="given", dtype="bfloat16")
    sft = params.sft.model_copy(update={"batch_size": BATCH, "batch_tokens": BATCH_TOKENS, "adam_rate": RATE})
    chosen = [rows[i % len(rows)] for i in range(BATCH * (steps + 1))]
    products: list[Spent] = []
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "start"
        save_student(student, start)
        job = SftJob(start, Path(folder) / "out", chosen, sft, 0, 1, params.student)
        spent = timed_steps(job, lambda: products.append(product(device())))
    tokens = [sum(len(row["input_ids"]) for row in chosen[i * BATCH :][:BATCH]) for i in range(1, steps + 1)]
    return _reached(tokens, spent[1:], products[1:], parameters_of(student))


def naive(student: Student, rows: Sequence[dict[str, Any]], steps: int) -> Reached:
    """Steps of the naive loop; the first is a warm-up."""
    where = device()
    model = student.model.float().to(where).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    products, spent, tokens = list[Spent](), list[Spent](), list[int]()
    for step in range(steps + 1):
        chosen = [rows[(step * NAIVE + i) % len(rows)] for i in range(NAIVE)]
        batch = {name: value.to(where) for name, value in _padded(chosen, student.tokenizer.pad_token_id).items()}

        def work(batch: dict[str, torch.Tensor] = batch) -> None:
            with torch.autocast(where.type, dtype=torch.bfloat16, enabled=narrow_type(where.type) is torch.bfloat16):
                loss = model(**batch, use_cache=False).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

        spent.append(spent_in(work))
        products.append(product(where))
        tokens.append(sum(len(row["input_ids"]) for row in chosen))
    return _reached(tokens[1:], spent[1:], products[1:], parameters_of(student))


def parameters_of(student: Student) -> int:
    """How many parameters a student has."""
    return sum(p.numel() for p in student.model.parameters())


def _reached(tokens: Sequence[int], spent: Sequence[Spent], products: Sequence[Spent], parameters: int) -> Reached:
    beside, total = median(products), sum(spent, Spent(0, 0))
    work = sum(tokens) * 6 * parameters / product_flops()
    rate = sum(tokens) / total.wall
    return Reached(rate, work * beside.wall / total.wall, work * beside.cpu / total.cpu, median(spent))


def _padded(rows: Sequence[dict[str, Any]], pad: int) -> dict[str, torch.Tensor]:
    def padded(values: list[list[int]], value: int) -> torch.Tensor:
        tensors = [torch.tensor(each) for each in values]
        return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value)

    ids = [row["input_ids"] for row in rows]
    return {
        "input_ids": padded(ids, pad),
        "labels": padded([row["labels"] for row in rows], IGNORED),
        "attention_mask": padded([[1] * len(each) for each in ids], 0),
    }
