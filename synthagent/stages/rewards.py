"""Stage `rewards`: stored rollouts + rubrics -> verdicts and rewards (`data/rewards.parquet`).

Nothing is taken over from the time of the rollout: every trajectory is run again from its messages, and scored by
`synthagent.judging.scoring`.

Launch: `synthagent rewards` or `dvc repro rewards`.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from synthagent.judging.scoring import Scored, read_judgeable, score_all
from synthagent.llm.usage import Usage
from synthagent.params import Params
from synthagent.records import Reward, Trajectory
from synthagent.stage import Figures, Paths, say
from synthagent.store import read_records, write_records


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
            f"{errors - faulty - unjudged} cannot be run again"
        )
    if params.roles.judge.backend != "openai" and (lost := sum(row.open > 0 for row in rows)):
        say(
            f"{lost} of them have criteria that no check decides, and no score; set roles.judge.backend to openai "
            "(with base_url and model) to have them judged"
        )
    return Figures(metrics, usage={"llm": usage.metrics()})


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
