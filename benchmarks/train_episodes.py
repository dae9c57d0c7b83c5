"""Row c of `benchmarks.train`: episodes of six turns by one KV cache, against prefilling every turn anew.

Both sides act greedily in the same tasks, and write the same tokens where arithmetic is exact enough. A turn ends at
one token in sixteen, whatever it is: a student without training would never end one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import torch
from transformers import DynamicCache

from benchmarks.train_clock import Spent, median, spent_in
from synthagent.episodes.episode import Episode
from synthagent.params import EpisodeParams
from synthagent.records import Task
from synthagent.student.format import ChatFormat
from synthagent.student.model import Student, device
from synthagent.student.sampler import Sampled, begun, observe, run_episodes

TURNS = 6
LIMITS = EpisodeParams(max_turns=TURNS, max_tokens=1500, max_turn_tokens=160, mapping=True)


class Talkative(Student):
    """A student whose turns end at one token in sixteen."""

    @property
    def format(self) -> ChatFormat:
        return _talkative(super().format, len(self.tokenizer))


@cache
def _talkative(form: ChatFormat, words: int) -> ChatFormat:
    return replace(form, end_ids=frozenset(range(5, words, 16)))


@dataclass(frozen=True, slots=True)
class Compared:
    """How long each side took, and what it did."""

    cached: Spent
    anew: Spent
    turns: float
    tokens: int
    same: float


def compare(student: Student, tasks: Sequence[Task], repeats: int) -> Compared:
    """Run the episodes by both sides, one after the other, `repeats` times."""
    talkative = Talkative(student.model.to(device()).eval(), student.tokenizer)
    sides: dict[str, Callable[[], list[Sampled]]] = {
        "cached": lambda: run_episodes(talkative, episodes_of(tasks), LIMITS, greedy=True),
        "anew": lambda: prefilling(talkative, episodes_of(tasks)),
    }
    spent: dict[str, list[Spent]] = {name: [] for name in sides}
    wrote: dict[str, list[Sampled]] = {}
    for _ in range(repeats):
        for name, run in sides.items():
            spent[name].append(spent_in(partial(_write, wrote, name, run)))
    pairs = list(zip(wrote["cached"], wrote["anew"], strict=True))
    same = sum(one.completion == other.completion for one, other in pairs) / len(pairs)
    turns = [sum(token in talkative.format.end_ids for token in _own(row)) for row in wrote["cached"]]
    tokens = sum(len(row.completion) for row in wrote["cached"])
    return Compared(median(spent["cached"]), median(spent["anew"]), sum(turns) / len(turns), tokens, same)


def _write(wrote: dict[str, list[Sampled]], name: str, run: Callable[[], list[Sampled]]) -> None:
    wrote[name] = run()


def episodes_of(tasks: Sequence[Task]) -> list[Episode]:
    """An episode of each task, not begun."""
    return [Episode(task, max_turns=TURNS) for task in tasks]


def _own(row: Sampled) -> list[int]:
    return [token for token, own in zip(row.completion, row.mask, strict=True) if own]


@torch.no_grad()
def prefilling(student: Talkative, episodes: Sequence[Episode]) -> list[Sampled]:
    """The peer: each turn of the episodes that go on is generated from its whole text, in one batch."""
    rows = begun(student.format, episodes)
    while live := [number for number, episode in enumerate(episodes) if episode.end is None]:
        turns = _generate(student, [rows[number].prompt + rows[number].completion for number in live])
        for number, turn in zip(live, turns, strict=True):
            _take(student, rows[number], episodes[number], turn)
    return rows


def _take(student: Talkative, row: Sampled, episode: Episode, turn: list[int]) -> None:
    """What comes of a turn: the end of its episode, or what is answered."""
    room = LIMITS.max_tokens - len(row.completion)
    turn = turn[:room]
    row.completion += turn
    row.mask += [1] * len(turn)
    if turn[-1] not in student.format.end_ids:
        episode.stop("token_limit", student.format.text(turn))
        return
    observations = episode.step(student.format.turn(turn, episode.task.tools))
    observe(row, episode, observations, student.format, LIMITS)


def _generate(student: Talkative, contexts: Sequence[list[int]]) -> list[list[int]]:
    """A turn after each context, greedily, with a cache of its own; rows that have ended are fed padding."""
    where, width = student.model.device, max(map(len, contexts))
    padding = [width - len(context) for context in contexts]
    pad = student.tokenizer.pad_token_id
    tokens = torch.tensor([[pad] * n + c for n, c in zip(padding, contexts, strict=True)], device=where)
    attention = (torch.arange(width, device=where)[None] >= torch.tensor(padding, device=where)[:, None]).long()
    positions = (attention.cumsum(-1) - 1).clamp(min=0)
    cache, turns = DynamicCache(config=student.model.config), [list[int]() for _ in contexts]
    ended = [False] * len(contexts)
    while not all(ended):
        output = student.model(
            input_ids=tokens,
            attention_mask=attention,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        chosen = output.logits[:, -1].float().argmax(-1)
        for number, token in enumerate(chosen.tolist()):
            if not ended[number]:
                turns[number].append(token)
                ended[number] = token in student.format.end_ids or len(turns[number]) >= LIMITS.max_turn_tokens
        tokens, positions = chosen[:, None], positions[:, -1:] + 1
        attention = torch.cat([attention, torch.ones_like(tokens)], 1)
    return turns
