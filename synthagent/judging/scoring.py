"""The scorer: an episode, live or stored, + its rubric -> verdicts and reward. All rewards are from here.

Checks decide what they can; the judge the rest, if it is a model. What has no verdict on every criterion has no score.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from synthagent.episodes.episode import Episode, at_once
from synthagent.episodes.rerun import rerun
from synthagent.errors import RecordError, StoreError
from synthagent.judging.judge import judge
from synthagent.judging.reward import Score, reward_of, score_by_rule, verdicts_by_check
from synthagent.llm.client import Llm
from synthagent.llm.ordered import ordered
from synthagent.llm.usage import Usage
from synthagent.params import Params
from synthagent.records import Criterion, Reward, Rubric, Task, Trajectory, Verdict
from synthagent.stage import Paths, progress
from synthagent.store import find_records


@dataclass(frozen=True, slots=True)
class Scored:
    """A reward, the score it is made of (None where `status` is `error`), and what the judge left void or open."""

    reward: Reward
    score: Score | None = None
    void: int = 0
    open: int = 0


async def score_episode(
    episode: Episode, rubric: Rubric, params: Params, llm: Llm | None = None, name: str = "live"
) -> Scored:
    """Score an episode as it stands; the reward is on record under `name`.

    Raises:
        SynthAgentError: the judge's endpoint, budget or replay.
    """
    task = episode.task
    if episode.error is not None:
        return Scored(without_score(name, task))
    verdicts = verdicts_by_check(rubric, episode.world)
    void, left = 0, undecided(rubric)
    if left and llm is not None and "judge" in llm.roles:
        judged = await judge(episode.messages, task, left, llm)
        void, verdicts = judged.void, _in_order(rubric, (*verdicts, *judged.verdicts))
    if missing := len(rubric.criteria) - len(verdicts):
        return Scored(without_score(name, task), void=void, open=missing)
    earned = score_by_rule(rubric.criteria, verdicts, episode.end, params.reward)
    return Scored(reward_of(earned, task.id, verdicts, name), earned, void)


async def score_trajectory(
    trajectory: Trajectory, task: Task, rubric: Rubric, params: Params, llm: Llm | None = None
) -> Scored:
    """Run a stored trajectory again and score it; a faulty or contradictory record has no score.

    Raises:
        SynthAgentError: as `score_episode`.
    """
    episode = run_again(trajectory, task, params)
    if episode is None:
        return Scored(without_score(trajectory.id, task))
    return await score_episode(episode, rubric, params, llm, trajectory.id)


def run_again(trajectory: Trajectory, task: Task, params: Params) -> Episode | None:
    """The episode that a trajectory records; None of a faulty record, or of one that does not fit its task."""
    try:
        return None if trajectory.error is not None else rerun(task, trajectory.messages, params.episode.max_turns)
    except RecordError:
        return None


def score_all(
    trajectories: Sequence[Trajectory],
    tasks: Mapping[str, Task],
    rubrics: Mapping[str, Rubric],
    params: Params,
    stage: str,
    usage: Usage,
) -> Iterator[Scored]:
    """Score trajectories, in their order; the judge is asked, many at once, if it is a model and there is need."""
    wanted = {trajectory.task_id for trajectory in trajectories}
    llm = Llm(params, usage=usage) if needs_judge(params, (rubrics[name] for name in wanted)) else None

    async def work(t: Trajectory) -> Scored:
        return await score_trajectory(t, tasks[t.task_id], rubrics[t.task_id], params, llm)

    if llm is None:
        return progress((at_once(work(trajectory)) for trajectory in trajectories), len(trajectories), stage)
    done = ordered(work, trajectories, params.llm.max_concurrency, llm.close)
    return progress(done, len(trajectories), stage)


def needs_judge(params: Params, rubrics: Iterable[Rubric]) -> bool:
    """Whether there is a model that judges, and something for it to decide."""
    return params.roles.judge.backend == "openai" and any(undecided(rubric) for rubric in rubrics)


def undecided(rubric: Rubric) -> tuple[Criterion, ...]:
    """The criteria that no check decides."""
    return tuple(criterion for criterion in rubric.criteria if criterion.check is None)


def read_judgeable(trajectories: Sequence[Trajectory]) -> tuple[dict[str, Task], dict[str, Rubric]]:
    """The tasks and rubrics of rollouts, by task id.

    Raises:
        StoreError: one of them has none.
    """
    wanted = {trajectory.task_id for trajectory in trajectories}
    tasks = {task.id: task for task in find_records(Paths.tasks, Task, wanted)}
    rubrics = {rubric.task_id: rubric for rubric in find_records(Paths.rubrics, Rubric, wanted)}
    if missing := sorted(wanted - (tasks.keys() & rubrics.keys())):
        raise StoreError(
            f"{Paths.rollouts}: {len(missing)} tasks of it, such as {missing[0]}, have no rubric; run `dvc repro`"
        )
    return tasks, rubrics


def _in_order(rubric: Rubric, verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    by_name = {verdict.criterion: verdict for verdict in verdicts}
    return tuple(by_name[c.id] for c in rubric.criteria if c.id in by_name)


def without_score(name: str, task: Task) -> Reward:
    empty = dict.fromkeys(("gate", "subgoals", "interactions", "reward", "reward_paper"))
    return Reward(trajectory_id=name, task_id=task.id, verdicts=(), status="error", **empty)
