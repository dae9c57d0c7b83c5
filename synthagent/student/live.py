"""Who answers and who judges in the episodes of a training: the world and its checks, or models behind endpoints.

A training runs on several processes; what the tools of simulated worlds say is kept the same in all of them by the
response store, in which the first answer to a call stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from synthagent.episodes.cast import Cast, SyncCast
from synthagent.episodes.episode import Episode
from synthagent.episodes.mapping import Mappings
from synthagent.judging.reward import Score, score_world
from synthagent.llm.client import Llm
from synthagent.params import Params
from synthagent.records import MappingEntry, Reward, Rubric
from synthagent.stages.rewards import score_trajectory
from synthagent.student.sampler import AnswerAll


@dataclass(frozen=True, slots=True)
class Models:
    """What the models that take part need to know. Picklable: it goes to every process."""

    params: Params
    mapping: Sequence[MappingEntry]


class Company:
    """Answers and scores the episodes of one process. `answer_all` is None where worlds answer for themselves."""

    def __init__(self, params: Params, rubrics: Mapping[str, Rubric], llm: Llm | None, bridge: SyncCast | None) -> None:
        self._params, self._rubrics, self._llm, self._bridge = params, rubrics, llm, bridge
        self.answer_all: AnswerAll | None = bridge.answer_all if bridge else None

    def scores(self, episodes: Sequence[Episode]) -> list[Score]:
        """The scores of episodes that have just ended.

        One that cannot be scored, for a fault of a model other than the policy, gets the mean of its task's others:
        its advantage is then nothing, and nothing is learnt from it.
        """
        if self._bridge is None:
            rule = self._params.reward
            return [score_world(self._rubrics[e.task.id], e.world, rule.formula, rule.require_answer) for e in episodes]
        rewards = self._bridge.gather(self._score(episode) for episode in episodes)
        known = [_score_of(reward) for reward in rewards]
        names = [episode.task.id for episode in episodes]
        return [
            score or _mean([other for other, its in zip(known, names, strict=True) if other and its == name])
            for score, name in zip(known, names, strict=True)
        ]

    async def _score(self, episode: Episode) -> Reward:
        return await score_trajectory(episode, episode.task, self._rubrics[episode.task.id], self._params, self._llm)


@contextmanager
def company(params: Params, rubrics: Mapping[str, Rubric], models: Models | None) -> Iterator[Company]:
    """The company of a training; its connections are closed at the end."""
    if models is None:
        yield Company(params, rubrics, None, None)
        return
    llm = Llm(params)
    bridge = SyncCast(Cast(params, llm, Mappings.load(models.mapping, params.episode.mapping)))
    try:
        yield Company(params, rubrics, llm, bridge)
    finally:
        bridge.close(llm)


def _score_of(reward: Reward) -> Score | None:
    if reward.reward is None or reward.reward_paper is None or reward.gate is None:
        return None
    return Score(reward.gate, reward.subgoals or 0.0, reward.interactions or 0.0, reward.reward, reward.reward_paper)


def _mean(scores: Sequence[Score]) -> Score:
    def mean(name: str) -> float:
        values: list[Any] = [getattr(score, name) for score in scores]
        return sum(values) / len(values) if values else 0.0

    return Score(mean("gate"), mean("subgoals"), mean("interactions"), mean("reward"), mean("reward_paper"))
