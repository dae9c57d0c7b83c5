"""The episodes of a training: how they are made, answered and scored, in each of its processes.

Episodes of tasks and of problems stand side by side; each kind has its own environment and its own reward.
A training runs on several processes; what the tools of simulated worlds say is kept the same in all of them by the
response store, in which the first answer to a call stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from synthagent.episodes.environment import LiveModels, live_models
from synthagent.episodes.episode import EMBEDDED, Environment, Episode, at_once
from synthagent.episodes.erring import ErringTools
from synthagent.episodes.mapping import Mappings
from synthagent.episodes.policy import Setting, Start
from synthagent.episodes.real_tools import RealEnvironment, real_environment, tools_of
from synthagent.judging.reward import Score
from synthagent.judging.scoring import Scored, score_episode
from synthagent.params import Params
from synthagent.reasoning.reward import score_problem
from synthagent.records import MappingEntry, Problem, Reward, Rubric, Task


@dataclass(frozen=True, slots=True)
class TrainingEpisodes:
    """Makes and scores episodes. `models` is None where code answers and judges everything.

    `problems`: by id, the tasks that are problems; `real` answers in these.
    """

    params: Params
    rubrics: Mapping[str, Rubric]
    models: LiveModels | None
    problems: Mapping[str, Problem] = field(default_factory=dict)
    real: RealEnvironment | None = None

    def new(self, task: Task) -> Episode:
        """A fresh episode."""
        environment: Environment = self.models.environment if self.models else EMBEDDED
        if not self.models and not self.params.episode.mapping and self.params.grpo.tool_errors:
            environment = ErringTools(self.params.grpo.tool_errors)
        if task.id in self.problems and self.real is not None:
            environment = self.real
        return Setting(environment, self.params.episode.max_turns).episode(Start(task))

    def scores(self, episodes: Sequence[Episode]) -> list[Score]:
        """The scores of episodes that have just ended.

        One that cannot be scored, for a fault of a model other than the policy, gets the mean of its task's others:
        its advantage is then nothing, and nothing is learnt from it.
        """
        known = [scored.score for scored in self._scored(episodes)]
        names = [episode.task.id for episode in episodes]
        return [
            score or _mean([other for other, its in zip(known, names, strict=True) if other and its == name])
            for score, name in zip(known, names, strict=True)
        ]

    def reward(self, episode: Episode) -> Reward:
        """The reward of an episode that has ended, with its verdicts."""
        (scored,) = self._scored([episode])
        return scored.reward

    def _scored(self, episodes: Sequence[Episode]) -> list[Scored]:
        llm, problems = self.models.llm if self.models else None, self.problems
        of_tasks = [episode for episode in episodes if episode.task.id not in problems]
        work = [score_episode(e, self.rubrics[e.task.id], self.params, llm) for e in of_tasks]
        scored = iter(self.models.loop.gather(work) if self.models else map(at_once, work))
        return [
            score_problem(problems[e.task.id], e, self.params.reward) if e.task.id in problems else next(scored)
            for e in episodes
        ]

    def usage(self) -> dict[str, Any]:
        """What models were used for, by role and model."""
        return self.models.llm.metrics() if self.models else {}


@contextmanager
def training_episodes(
    params: Params,
    rubrics: Mapping[str, Rubric],
    mapping: Sequence[MappingEntry] | None,
    problems: Mapping[str, Problem] = MappingProxyType({}),
) -> Iterator[TrainingEpisodes]:
    """The episodes of one process; `mapping` is M at the start, None where no model takes part."""
    with ExitStack() as stack:
        models, real = None, None
        if mapping is not None:
            known = Mappings.load(mapping, params.episode.mapping)
            models = stack.enter_context(live_models(params, known))
        if problems:
            at_once = -(-params.grpo.tasks_per_step * params.grpo.group_size // params.compute.processes)
            real = stack.enter_context(real_environment(params.reasoning, tools_of(problems.values()), at_once))
        yield TrainingEpisodes(params, rubrics, models, problems, real)


def _mean(scores: Sequence[Score]) -> Score:
    def mean(name: str) -> float:
        values: list[Any] = [getattr(score, name) for score in scores]
        return sum(values) / len(values) if values else 0.0

    return Score(mean("gate"), mean("subgoals"), mean("interactions"), mean("reward"), mean("reward_paper"))
