"""An episode that an agent elsewhere acts in: turns in, what the agent is told out; models where there is need.

What an agent writes is data: it becomes the turn that it stands for. `synthagent.exchange.mcp_world` serves it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from synthagent.episodes.environment import ModelEnvironment, needs_models
from synthagent.episodes.episode import EMBEDDED, Environment, Episode
from synthagent.episodes.mapping import Mappings
from synthagent.episodes.turn import Turn
from synthagent.episodes.world import fresh_world
from synthagent.errors import InputError, SynthAgentError
from synthagent.exchange.playable import outcome_of
from synthagent.judging.criteria import extract
from synthagent.judging.scoring import needs_judge, score_episode, undecided
from synthagent.llm.client import Llm
from synthagent.params import Params
from synthagent.records import Message, Rubric, Task
from synthagent.store import find_record


@dataclass(frozen=True, slots=True)
class ServedTask:
    """A task to act in, what judges it, and who answers."""

    task: Task
    rubric: Rubric
    params: Params
    environment: Environment = EMBEDDED
    llm: Llm | None = None


@dataclass(frozen=True, slots=True)
class CallAnswer:
    """What an agent is told: a text, the same as data where it is the outcome, and whether something failed."""

    text: str
    outcome: Any = None
    failed: bool = False


def served_task(task: Task, rubric: Rubric, params: Params) -> ServedTask:
    """The task with the models that params name, where its world, its user or its rubric needs them.

    Raises:
        InputError: only a judge can decide some criteria, and there is none.
    """
    judged = needs_judge(params, [rubric])
    if undecided(rubric) and not judged:
        open_ones = len(undecided(rubric))
        raise InputError(
            f"{task.id}: only a judge can decide {open_ones} of its criteria; set roles.judge in params.yaml"
        )
    if not judged and not needs_models(params, [task]):
        return ServedTask(task, rubric, params)
    llm = Llm(params)
    environment = ModelEnvironment(params, llm, Mappings(params.episode.mapping))
    return ServedTask(task, rubric, params, environment, llm)


class ServedEpisode:
    """An episode under way. `keep` is called once, with the episode, when it has ended or was left."""

    def __init__(self, served: ServedTask, sample: int, keep: Callable[[Episode], None]) -> None:
        most = served.params.episode.max_turns
        self._served, self._keep = served, keep
        self._episode = Episode(served.task, served.environment, max_turns=most, sample=sample)
        self._one_at_a_time = anyio.Lock()

    async def take(self, turn: Turn) -> CallAnswer:
        """Take a turn: what the world or the user answers; at the end of the episode the outcome."""
        async with self._one_at_a_time:
            if self._over():
                return CallAnswer("The episode has ended. Start a new session for another.", failed=True)
            try:
                answers = await self._episode.astep(turn)
            except SynthAgentError as error:
                self._episode.fail("a model does not answer")
                return CallAnswer(f"The episode cannot go on: {error}", failed=True)
            except BaseException:
                self._episode.fail("cancelled in a turn")
                raise
            finally:
                if self._over():
                    self._keep(self._episode)
            return await self._outcome() if self._over() else _answered(answers)

    def _over(self) -> bool:
        return self._episode.end is not None

    def leave(self) -> None:
        """End an episode that its agent left."""
        if not self._over():
            self._episode.fail("left before its end")
            self._keep(self._episode)

    async def _outcome(self) -> CallAnswer:
        served = self._served
        try:
            reward = (await score_episode(self._episode, served.rubric, served.params, served.llm)).reward
        except SynthAgentError as error:  # of the judge's; the record has the episode, which can be judged later
            return CallAnswer(
                f"The episode has ended: {self._episode.end}. It could not be judged: {error}", failed=True
            )
        texts = {criterion.id: f"{criterion.kind}: {criterion.text}" for criterion in served.rubric.criteria}
        lines = [f"The episode has ended: {self._episode.end}."]
        lines.append("It could not be judged." if reward.reward is None else f"Reward {reward.reward:.3f}")
        for verdict in reward.verdicts:
            mark = "passed" if verdict.passed else "failed"
            lines.append(f"{mark}  {verdict.criterion}  {texts.get(verdict.criterion, '')} ({verdict.evidence})")
        return CallAnswer("\n".join(lines), outcome_of(reward, self._episode))


def rubric_for(task: Task, rubrics: Path | None) -> Rubric:
    """The rubric of a file; where that has none for the task, what the path of its reference gives."""
    found = find_record(rubrics, Rubric, task.id) if rubrics is not None and rubrics.exists() else None
    return found or Rubric(task_id=task.id, criteria=extract(task, fresh_world(task)).criteria, coverage=1.0)


def _answered(messages: Sequence[Message]) -> CallAnswer:
    """What the world or the user answered to the one call, or text, of a turn."""
    (message,) = messages
    failed = message["role"] == "tool" and "error" in json.loads(message["content"])
    return CallAnswer(message["content"], failed=failed)
