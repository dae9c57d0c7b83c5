"""Episodes of scripts, in process -> the assistant messages that they consist of, and what they earned."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthagent.episodes.episode import Episode, play
from synthagent.episodes.scripted import SCRIPTS
from synthagent.episodes.turn import Turn, turn_of
from synthagent.exchange.playable import Playable, Rules, judged, played, read_playables
from synthagent.params import Params
from synthagent.records import Message

ACTING = ("expert", "never_asks", "doer", "injector")


@dataclass(frozen=True, slots=True)
class Acted:
    """One episode: its assistant messages, who spoke in it until its end, and the reward that it earned in process."""

    task_id: str
    script: str
    messages: Sequence[Message]
    roles: Sequence[str]
    reward: float

    @property
    def as_json(self) -> dict[str, Any]:
        """What a worker needs to act it again."""
        return {"task_id": self.task_id, "script": self.script, "messages": self.messages}


def rules_of(params: Params) -> Rules:
    """The rules by which a project's episodes are played and paid."""
    return Rules(max_turns=params.episode.max_turns, reward=params.reward)


def drawn(tasks: Path, rubrics: Path, count: int, seed: int) -> list[Playable]:
    """Tasks that need no model, drawn by the seed, in their order."""
    found = list(read_playables(tasks, rubrics))
    return sorted(random.Random(f"worlds-{seed}").sample(found, min(count, len(found))), key=lambda p: p.task.id)


def acted(playables: Iterable[Playable], rules: Rules, scripts: Sequence[str] = ACTING) -> Iterator[Acted]:
    """The episodes of scripts in tasks."""
    for playable in playables:
        for script in scripts:
            yield of_turns(playable, rules, script, turns_of(playable, rules, script))


def of_turns(playable: Playable, rules: Rules, script: str, turns: Sequence[Turn]) -> Acted:
    """The episode that turns make."""
    episode = played(playable.task, turns, rules)
    earned = judged(episode, playable.rubric, rules).reward
    assert earned is not None
    roles = [message["role"] for message in episode.messages]
    while roles[-1] != "assistant":  # what answers a turn that a limit makes the last reaches nobody
        roles.pop()
    return Acted(playable.task.id, script, assistant_messages(episode), roles, earned)


def turns_of(playable: Playable, rules: Rules, script: str) -> list[Turn]:
    """The turns that a script takes in a task."""
    episode = Episode(playable.task, max_turns=rules.max_turns)
    return [turn_of(message) for message in assistant_messages(play(episode, SCRIPTS[script](episode)))]


def assistant_messages(episode: Episode) -> list[Message]:
    """What the policy said, as OpenAI chat messages."""
    return [message for message in episode.messages if message["role"] == "assistant"]


def one_call_a_turn(turns: Iterable[Turn]) -> list[Turn]:
    """The same calls, where an interface knows one a turn; words beside calls are left out, as nobody hears them."""
    return [each for turn in turns for each in ([Turn(calls=(call,)) for call in turn.calls] or [turn])]
