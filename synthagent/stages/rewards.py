"""Stage `rewards`: stored rollouts + rubrics -> verdicts and rewards (`data/rewards.parquet`).

Nothing is taken over from the time of the rollout: every trajectory is replayed from its messages. Checks decide what
they can; the judge the rest, if `roles.judge.backend` is `openai`. What has no verdict on every criterion has no score.

Launch: `synthagent rewards` or `dvc repro rewards`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from synthagent.episodes.episode import Episode, replay
from synthagent.episodes.world import fresh_world
from synthagent.errors import StoreError
from synthagent.judging.reward import score, verdicts_by_check
from synthagent.llm.usage import Usage
from synthagent.params import Params, RewardParams
from synthagent.records import Criterion, Reward, Rubric, Task, Trajectory, Verdict
from synthagent.stage import Figures, Paths, progress, say
from synthagent.store import read_records, write_records

if TYPE_CHECKING:
    from synthagent.llm.client import Llm


@dataclass(frozen=True, slots=True)
class Scored:
    """A reward, and what the judge left void or open on the way."""

    reward: Reward
    void: int = 0
    open: int = 0


def reward_of(trajectory: Trajectory, task: Task, rubric: Rubric, params: RewardParams, max_turns: int) -> Reward:
    """Replay a trajectory and score it by checks; one that cannot be replayed or decided has no score but `error`."""
    try:
        episode = _replayed(trajectory, task, max_turns)
        return _reward(trajectory.id, episode, rubric, verdicts_by_check(rubric, episode.world), params)
    except (ValueError, KeyError, IndexError):
        return _error(trajectory.id, task)


async def score_trajectory(
    trajectory: Trajectory | Episode, task: Task, rubric: Rubric, params: Params, llm: Llm | None = None
) -> Reward:
    """Score a stored trajectory, or a live episode as it stands: by checks, and by the judge where there is none.

    `status` is `error`, and there is no score: a faulty or contradictory record, or a criterion without a verdict.

    Raises:
        SynthAgentError: the judge's endpoint, budget or replay.
    """
    return (await scored(trajectory, task, rubric, params, llm)).reward


async def scored(
    trajectory: Trajectory | Episode, task: Task, rubric: Rubric, params: Params, llm: Llm | None
) -> Scored:
    """`score_trajectory`, with the counts for the metrics."""
    if isinstance(trajectory, Episode):
        episode, name = trajectory, f"{task.id}.live.{trajectory.sample}"
    else:
        name = trajectory.id
        try:
            episode = _replayed(trajectory, task, params.episode.max_turns)
        except (ValueError, KeyError, IndexError):
            return Scored(_error(name, task))
    if episode.error is not None:
        return Scored(_error(name, task))
    verdicts = verdicts_by_check(rubric, episode.world)
    void, left = 0, undecided(rubric)
    if left and llm is not None and "judge" in llm.roles:
        from synthagent.judging.judge import judge

        judged = await judge(episode.messages, task, left, llm)
        void, verdicts = judged.void, _in_order(rubric, (*verdicts, *judged.verdicts))
    if missing := len(rubric.criteria) - len(verdicts):
        return Scored(_error(name, task), void, missing)
    return Scored(_reward(name, episode, rubric, verdicts, params.reward), void)


def undecided(rubric: Rubric) -> tuple[Criterion, ...]:
    """The criteria that no check decides."""
    return tuple(criterion for criterion in rubric.criteria if criterion.check is None)


def _replayed(trajectory: Trajectory, task: Task, max_turns: int) -> Episode:
    """The episode again.

    Raises:
        ValueError, KeyError, IndexError: marked as faulty when it was made, or contradicted by its world.
    """
    if trajectory.error is not None:
        raise ValueError(trajectory.error)
    return replay(task, fresh_world(task), trajectory.messages, max_turns)


def _in_order(rubric: Rubric, verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    by_name = {verdict.criterion: verdict for verdict in verdicts}
    return tuple(by_name[c.id] for c in rubric.criteria if c.id in by_name)


def _reward(name: str, episode: Episode, rubric: Rubric, verdicts: tuple[Verdict, ...], params: RewardParams) -> Reward:
    earned = score(
        rubric.criteria,
        verdicts,
        answered=episode.end == "answer",
        formula=params.formula,
        require_answer=params.require_answer,
    )
    return Reward(
        trajectory_id=name,
        task_id=episode.task.id,
        gate=earned.gate,
        subgoals=earned.subgoals,
        interactions=earned.interactions,
        reward=earned.reward,
        reward_paper=earned.reward_paper,
        verdicts=verdicts,
        status="ok",
    )


def _error(name: str, task: Task) -> Reward:
    empty = dict.fromkeys(("gate", "subgoals", "interactions", "reward", "reward_paper"))
    return Reward(trajectory_id=name, task_id=task.id, verdicts=(), status="error", **empty)


def read_judgeable(
    trajectories: Sequence[Trajectory],
) -> tuple[dict[str, Task], dict[str, Rubric]]:
    """The tasks and rubrics of trajectories, by task id.

    Raises:
        StoreError: one of them has none.
    """
    wanted = {trajectory.task_id for trajectory in trajectories}
    tasks = {task.id: task for task in read_records(Paths.tasks, Task) if task.id in wanted}
    rubrics = {rubric.task_id: rubric for rubric in read_records(Paths.rubrics, Rubric) if rubric.task_id in wanted}
    if missing := sorted(wanted - (tasks.keys() & rubrics.keys())):
        raise StoreError(
            f"{Paths.rollouts}: {len(missing)} tasks of it, such as {missing[0]}, have no rubric; run `dvc repro`"
        )
    return tasks, rubrics


def run(params: Params) -> Figures:
    """Read deps, write outs, return the figures."""
    trajectories = list(read_records(Paths.rollouts, Trajectory))
    tasks, rubrics = read_judgeable(trajectories)
    usage = Usage(params.llm.prices)
    rows = list(score_all(trajectories, tasks, rubrics, params, "rewards", usage))
    rewards = [row.reward for row in rows]
    write_records(Paths.rewards, Reward, rewards)
    metrics = _metrics(rows)
    mean = "none has a score" if metrics["mean"] is None else f"mean reward {metrics['mean']}"
    say(f"{len(rewards)} trajectories: {mean}, {metrics['gate_violations']} violations")
    if errors := metrics["errors"]:
        faulty = sum(trajectory.error is not None for trajectory in trajectories)
        unjudged = sum(row.open > 0 and t.error is None for row, t in zip(rows, trajectories, strict=True))
        say(
            f"{errors} have no score: {faulty} are faulty episodes, {unjudged} have criteria without a verdict, "
            f"{errors - faulty - unjudged} cannot be replayed"
        )
    if params.roles.judge.backend != "openai" and (lost := sum(row.open > 0 for row in rows)):
        say(
            f"{lost} of them have criteria that no check decides, and no score; set roles.judge.backend to openai "
            "(with base_url and model) to have them judged"
        )
    return Figures(metrics, usage={"llm": usage.metrics()})


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
    if params.roles.judge.backend != "openai" or not any(undecided(rubrics[name]) for name in wanted):
        for t in progress(trajectories, len(trajectories), stage):
            task, rubric = tasks[t.task_id], rubrics[t.task_id]
            reward = reward_of(t, task, rubric, params.reward, params.episode.max_turns)
            yield Scored(reward, open=len(undecided(rubric)))
        return
    from synthagent.llm.client import Llm
    from synthagent.llm.ordered import ordered

    llm = Llm(params, usage=usage)

    async def work(trajectory: Trajectory) -> Scored:
        return await scored(trajectory, tasks[trajectory.task_id], rubrics[trajectory.task_id], params, llm)

    done = ordered(work, trajectories, params.llm.max_concurrency, llm.close)
    yield from progress(done, len(trajectories), stage)


def _metrics(rows: Sequence[Scored]) -> dict[str, float | None]:
    rewards = [row.reward for row in rows]
    earned = [r for r in rewards if r.reward is not None and r.reward_paper is not None]
    verdicts = [verdict for reward in earned for verdict in reward.verdicts]
    return {
        "trajectories": len(rewards),
        "mean": round(fmean(r.reward or 0.0 for r in earned), 4) if earned else None,
        "mean_paper": round(fmean(r.reward_paper or 0.0 for r in earned), 4) if earned else None,
        "gate_violations": sum(r.gate == 0 for r in earned),
        "errors": len(rewards) - len(earned),
        "decided_by_checks": round(fmean(v.by == "check" for v in verdicts), 4) if verdicts else None,
        "void_quotes": sum(row.void for row in rows),
        "open_criteria": sum(row.open for row in rows),
    }
