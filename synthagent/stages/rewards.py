"""Stage `rewards`: stored rollouts + rubrics -> verdicts and rewards (`data/rewards.parquet`).

Nothing is taken over from the time of the rollout: every trajectory is replayed from its messages, and judged.

Launch: `synthagent rewards` or `dvc repro rewards`.
"""

from __future__ import annotations

from statistics import fmean

from synthagent.episode import replay
from synthagent.errors import StoreError
from synthagent.params import Params, RewardParams
from synthagent.records import Reward, Rubric, Task, Trajectory
from synthagent.reward import score, verdicts_by_check
from synthagent.stage import Paths, progress, running, say
from synthagent.store import read_records, write_records
from synthagent.world import fresh_world


def reward_of(trajectory: Trajectory, task: Task, rubric: Rubric, params: RewardParams, max_turns: int) -> Reward:
    """Replay a trajectory and score it; one that cannot be replayed or decided earns no score but `error`."""
    try:
        episode = replay(task, fresh_world(task), trajectory.messages, max_turns)
        verdicts = verdicts_by_check(rubric, episode.world)
        scored = score(
            rubric.criteria,
            verdicts,
            answered=episode.end == "answer",
            formula=params.formula,
            require_answer=params.require_answer,
        )
    except (ValueError, KeyError, IndexError):
        empty = dict.fromkeys(("gate", "subgoals", "interactions", "reward", "reward_paper"))
        return Reward(trajectory_id=trajectory.id, task_id=task.id, verdicts=(), status="error", **empty)
    return Reward(
        trajectory_id=trajectory.id,
        task_id=task.id,
        gate=scored.gate,
        subgoals=scored.subgoals,
        interactions=scored.interactions,
        reward=scored.reward,
        reward_paper=scored.reward_paper,
        verdicts=verdicts,
        status="ok",
    )


def run(params: Params) -> None:
    """Read deps, write outs."""
    with running("rewards", Paths.rewards) as metrics:
        trajectories = list(read_records(Paths.rollouts, Trajectory))
        wanted = {trajectory.task_id for trajectory in trajectories}
        tasks = {task.id: task for task in read_records(Paths.tasks, Task) if task.id in wanted}
        rubrics = {rubric.task_id: rubric for rubric in read_records(Paths.rubrics, Rubric) if rubric.task_id in wanted}
        if missing := sorted(wanted - (tasks.keys() & rubrics.keys())):
            raise StoreError(
                f"{Paths.rollouts}: {len(missing)} tasks of it, such as {missing[0]}, have no rubric; run `dvc repro`"
            )
        rewards = [
            reward_of(t, tasks[t.task_id], rubrics[t.task_id], params.reward, params.episode.max_turns)
            for t in progress(trajectories, len(trajectories), "rewards")
        ]
        write_records(Paths.rewards, Reward, rewards)
        earned = [r for r in rewards if r.reward is not None and r.reward_paper is not None]
        metrics |= {
            "trajectories": len(rewards),
            "mean": round(fmean(r.reward or 0.0 for r in earned), 4) if earned else None,
            "mean_paper": round(fmean(r.reward_paper or 0.0 for r in earned), 4) if earned else None,
            "gate_violations": sum(r.gate == 0 for r in earned),
            "errors": len(rewards) - len(earned),
        }
        say(f"{len(rewards)} trajectories: mean reward {metrics['mean']}, {metrics['gate_violations']} violations")
