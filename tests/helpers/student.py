"""A small student for tests, its demonstrations, and what reads its tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch

from helpers.projects import default_params
from helpers.tasks import accepted_tasks
from synthagent.episodes.episode import EMBEDDED, Environment, Episode
from synthagent.params import EpisodeParams
from synthagent.records import Task, Trajectory
from synthagent.student.format import IGNORED, ChatFormat
from synthagent.student.model import Student
from synthagent.student.sampler import Sampled, run_episodes

PARAMS = default_params().student.tiny.model_copy(update={"hidden_size": 32, "layers": 2, "heads": 2})
LIMITS = EpisodeParams(max_turns=6, max_tokens=200, max_turn_tokens=40, mapping=True)


@dataclass(frozen=True)
class Demo:
    """A demonstration and its task."""

    task: Task
    trajectory: Trajectory

    @property
    def messages(self) -> list[dict[str, Any]]:
        return list(self.trajectory.messages)


def train_on(model: Any, optimizer: torch.optim.Optimizer, rows: Sequence[dict[str, Any]]) -> float:
    """One step on the mean loss of some rows."""
    optimizer.zero_grad()
    ids = [torch.tensor(row["input_ids"]) for row in rows]
    labels = [torch.tensor(row["labels"]) for row in rows]
    loss = model(
        input_ids=torch.nn.utils.rnn.pad_sequence(ids, batch_first=True),
        labels=torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=IGNORED),
    ).loss
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def tasks_of_different_length(tokenizer: Any, count: int) -> list[Task]:
    """Tasks whose prompts are of as many lengths."""
    of_length = {len(ChatFormat.of(tokenizer).prompt_ids(task)): task for task in accepted_tasks()}
    lengths = sorted(of_length)
    return [of_length[lengths[i * (len(lengths) - 1) // (count - 1)]] for i in range(count)]


def new_episodes(tasks: Sequence[Task], max_turns: int = LIMITS.max_turns) -> list[Episode]:
    return [Episode(task, max_turns=max_turns) for task in tasks]


@dataclass(frozen=True)
class Run:
    """Episodes that a student went through, and the tokens of each."""

    episodes: list[Episode]
    sampled: list[Sampled]


def sample(
    student: Student,
    tasks: Sequence[Task],
    limits: EpisodeParams = LIMITS,
    seed: int | None = 0,
    environment: Environment = EMBEDDED,
    **options: Any,
) -> Run:
    """Run an episode of each task."""
    episodes = [Episode(task, environment, max_turns=limits.max_turns) for task in tasks]
    return Run(episodes, run_episodes(student, episodes, limits, seed=seed, **options))


def text_of(tokenizer: Any, messages: Sequence[dict[str, Any]], task: Task | None = None, more: bool = False) -> str:
    tools = [tool.schema_of_openai for tool in task.tools] if task else None
    text = tokenizer.apply_chat_template(list(messages), tools=tools, tokenize=False, add_generation_prompt=more)
    return str(text)


def own_runs(row: Sequence[int], own: Sequence[bool]) -> Iterator[list[int]]:
    """The stretches of tokens that are the assistant's own."""
    for is_own, pairs in groupby(zip(row, own, strict=True), key=lambda pair: pair[1]):
        if is_own:
            yield [token for token, _ in pairs]


def count(tokenizer: Any, ids: Sequence[int], token: str) -> int:
    return list(ids).count(tokenizer.convert_tokens_to_ids(token))


def count_within(tokenizer: Any, ids: Sequence[int], frame: str) -> int:
    """How many tokens have a frame in them: one token may be the end of a message and the beginning of the next."""
    return sum(frame in tokenizer.convert_ids_to_tokens([token])[0] for token in ids)


@torch.no_grad()
def assert_logprobs_are_the_models(student: Student, rows: Sequence[Sampled], temperature: float = 1.0) -> None:
    """A plain pass over prompt and completion, one row at a time, without a cache, gives the same log-probabilities."""
    for row in rows:
        assert len(row.completion) == len(row.logprobs) == len(row.mask)
        ids = torch.tensor([row.prompt + row.completion])
        logits = student.model(input_ids=ids, use_cache=False).logits[0, len(row.prompt) - 1 : -1].float()
        expected = torch.log_softmax(logits / temperature, -1).gather(1, torch.tensor(row.completion)[:, None])[:, 0]
        own = torch.tensor(row.mask, dtype=torch.bool)
        found = torch.tensor(row.logprobs)
        torch.testing.assert_close(found[own], expected[own], atol=1e-4, rtol=0)
        assert not found[~own].any()
