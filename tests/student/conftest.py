"""Students that several test modules share."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.student import PARAMS, Demo, train_on
from helpers.tasks import accepted_tasks, played

from synthagent.student.format import ChatFormat
from synthagent.student.model import Student, build_model
from synthagent.student.optimizer import MuonAdamW
from synthagent.student.tokenizer import render_plain, train_tokenizer
from synthagent.teacher.domains import load_vocabulary


@pytest.fixture(scope="session")
def demos() -> list[Demo]:
    """The expert's episodes on some tasks of each level."""
    tasks = [task for level in (1, 2, 3) for task in accepted_tasks() if task.difficulty == level][:120]
    return [Demo(task, played(task).trajectory("teacher")) for task in tasks]


@pytest.fixture(scope="session")
def tokenizer(demos: list[Demo]) -> Any:
    vocabulary = load_vocabulary()
    texts = [render_plain(demo.messages) for demo in demos]
    return train_tokenizer(texts, (*vocabulary.lexicon, *vocabulary.names), PARAMS.vocab_size)


@pytest.fixture(scope="session")
def untrained(tokenizer: Any) -> Student:
    torch.set_num_threads(1)
    return Student(build_model(tokenizer, PARAMS, seed=0), tokenizer)


@pytest.fixture(scope="session")
def student(demos: list[Demo], tokenizer: Any) -> Student:
    """A student that has seen just enough to end its turns, call tools and ask."""
    torch.set_num_threads(1)
    model = build_model(tokenizer, PARAMS, seed=0)
    optimizer = MuonAdamW(model, muon_rate=0.05, adam_rate=0.01)
    rows = [ChatFormat.of(tokenizer).tokenise(demo.messages, demo.task.tools) for demo in demos[:32]]
    losses = []
    for step in range(100):
        losses.append(train_on(model, optimizer, [rows[(4 * step + i) % len(rows)] for i in range(4)]))
    assert losses[-1] < 0.6 * losses[0]
    return Student(model, tokenizer)
