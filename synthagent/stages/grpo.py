"""Stage `grpo`: tasks of middling difficulty + the student before RL -> `data/models/grpo`, `data/plots/grpo.csv`.

Launch: `synthagent grpo` or `dvc repro grpo`.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean, pvariance
from typing import TYPE_CHECKING

from synthagent.errors import ParamsError, SynthAgentError
from synthagent.params import Params
from synthagent.records import MappingEntry, Reward, Rubric, Task
from synthagent.stage import Figures, Paths, say, scratch
from synthagent.stages.rewards import undecided
from synthagent.store import read_records, write_text
from synthagent.student.checkpoint import take_checkpoint

if TYPE_CHECKING:
    from synthagent.student.live import Models


def middling(rewards: Iterable[Reward]) -> list[str]:
    """Tasks whose rollouts did not all earn the same: only these give a group with a gradient."""
    earned: dict[str, list[float]] = defaultdict(list)
    for reward in rewards:
        if reward.reward is not None:
            earned[reward.task_id].append(reward.reward)
    return sorted(task_id for task_id, values in earned.items() if pvariance(values) > 0)


def schedule(task_ids: Sequence[str], count: int, seed: int) -> list[str]:
    """`count` task ids: all of them in random order, again and again."""
    rng = random.Random(f"grpo-{seed}")
    order: list[str] = []
    while len(order) < count and task_ids:
        order += rng.sample(list(task_ids), len(task_ids))
    return order[:count]


def check_params(params: Params) -> None:
    """Raise ParamsError where the episodes of a step cannot be shared out."""
    episodes, processes = params.grpo.tasks_per_step * params.grpo.group_size, params.compute.processes
    if episodes % processes:
        raise ParamsError(
            "params.yaml: grpo.tasks_per_step * grpo.group_size: must be a multiple of compute.processes "
            f"({processes}), but it is {episodes}"
        )


def models_of(params: Params, tasks: Iterable[Task], rubrics: Iterable[Rubric]) -> Models | None:
    """What the models that take part in the training need to know; None where code answers and judges everything."""
    from synthagent.episodes.cast import is_live
    from synthagent.student.live import Models

    judged = params.roles.judge.backend == "openai" and any(undecided(rubric) for rubric in rubrics)
    if not judged and not is_live(params, tasks):
        return None
    return Models(params, tuple(read_records(Paths.mappings, MappingEntry)))


def run(params: Params) -> Figures:
    """Read deps, write outs, return the figures."""
    from synthagent.student.grpo import GrpoJob, GrpoStep
    from synthagent.student.processes import train

    with scratch("grpo") as room:
        check_params(params)
        rewards = list(read_records(Paths.rewards, Reward))
        candidates = middling(rewards)
        chosen = candidates or sorted({reward.task_id for reward in rewards if reward.reward is not None})
        if not chosen:
            raise SynthAgentError(f"grpo: {Paths.rewards} has no trajectory with a reward; see its column `status`")
        if not candidates:
            say(
                f"grpo: no task has rollouts that differ in reward; training on all {len(chosen)} instead; "
                "more rollouts (rollouts.tasks, rollouts.samples) or a longer warm start (sft.demos) may change that"
            )
        order = schedule(chosen, params.grpo.steps * params.grpo.tasks_per_step, params.seed)
        wanted = set(order)
        tasks = {t.id: t for t in read_records(Paths.tasks, Task) if t.id in wanted}
        rubrics = {r.task_id: r for r in read_records(Paths.rubrics, Rubric) if r.task_id in wanted}
        job = GrpoJob(
            start=Paths.sft,
            out=room / "out",
            order=order,
            tasks=tasks,
            rubrics=rubrics,
            params=params,
            models=models_of(params, tasks.values(), rubrics.values()),
        )
        train(job, params.compute.processes)
        steps = [GrpoStep(**row) for row in take_checkpoint(room / "out", Paths.grpo)]
        write_text(Paths.plots / "grpo.csv", _table(steps, GrpoStep))
        metrics = {
            "candidates": len(candidates),
            "steps": len(steps),
            "reward_first_5": round(fmean(s.reward for s in steps[:5]), 4) if steps else None,
            "reward_last_5": round(fmean(s.reward for s in steps[-5:]), 4) if steps else None,
            "dead_groups": round(fmean(s.dead_groups for s in steps), 4) if steps else None,
        }
        first, last = metrics["reward_first_5"], metrics["reward_last_5"]
        say(f"{len(steps)} steps on {len(set(order))} tasks: reward {first} -> {last}")
        return Figures(metrics)


def _table(rows: Sequence[object], kind: type) -> str:
    text = io.StringIO()
    names = [field.name for field in dataclasses.fields(kind)]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(dataclasses.asdict(row) for row in rows)  # type: ignore[call-overload]
    return text.getvalue()
