"""Stage `grpo`: tasks of middling difficulty + the student before RL -> `data/models/grpo`, `data/plots/grpo.csv`.

Of a prompt both twins are trained on, in the same step as a rule: what is right in one is wrong in the other, and
nothing but what was asked for or looked up tells which.

Launch: `synthagent grpo` or `dvc repro grpo`.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import random
from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from synthagent.episodes.environment import needs_models
from synthagent.errors import ParamsError, SynthAgentError
from synthagent.judging.reward import SamePrompt, by_prompt, middling
from synthagent.judging.scoring import needs_judge
from synthagent.llm.usage import total
from synthagent.params import Params
from synthagent.records import MappingEntry, Reward, Rubric, Task
from synthagent.stage import Figures, Paths, say, scratch
from synthagent.store import read_records, write_text
from synthagent.student.checkpoint import take_checkpoint
from synthagent.student.resume import checkpoints_of, remove
from synthagent.teacher.twins import twin_names

if TYPE_CHECKING:
    from synthagent.student.grpo import GrpoStep


def schedule(prompts: Sequence[SamePrompt], count: int, seed: int) -> list[str]:
    """`count` tasks: those of all prompts in random order, twins one after the other, again and again."""
    rng = random.Random(f"grpo-{seed}")
    order: list[str] = []
    while len(order) < count and prompts:
        order += [name for prompt in rng.sample(list(prompts), len(prompts)) for name in prompt]
    return order[:count]


def check_params(params: Params) -> None:
    """Raise ParamsError where the episodes of a step cannot be shared out."""
    episodes, processes = params.grpo.tasks_per_step * params.grpo.group_size, params.compute.processes
    if episodes % processes:
        raise ParamsError(
            "params.yaml: grpo.tasks_per_step * grpo.group_size: must be a multiple of compute.processes "
            f"({processes}), but it is {episodes}"
        )


def run(params: Params) -> Figures:
    """Read deps, write outs, return the figures."""
    from synthagent.student.grpo import GrpoJob, GrpoStep
    from synthagent.student.launch import check as check_launcher
    from synthagent.student.launch import run as run_training

    with scratch("grpo") as folder:
        check_params(params)
        check_launcher(params)
        rewards = list(read_records(Paths.rewards, Reward))
        rolled = {reward.task_id for reward in rewards}
        known = {task.id: task for task in read_records(Paths.tasks, Task) if task.id in rolled}
        twins = twin_names(known.values())
        candidates = middling(rewards, twins)
        chosen = candidates or list(by_prompt(rewards, twins))
        if not chosen:
            raise SynthAgentError(f"grpo: {Paths.rewards} has no trajectory with a reward; see its column `status`")
        if not candidates:
            say(
                f"grpo: no prompt has rollouts that differ in reward; training on all {len(chosen)} instead; "
                "more rollouts (rollouts.tasks, rollouts.samples) or a longer warm start (sft.demos) may change that"
            )
        order = schedule(chosen, params.grpo.steps * params.grpo.tasks_per_step, params.seed)
        wanted = set(order)
        tasks = {name: known[name] for name in sorted(wanted)}
        rubrics = {r.task_id: r for r in read_records(Paths.rubrics, Rubric) if r.task_id in wanted}
        live = needs_judge(params, rubrics.values()) or needs_models(params, tasks.values())
        job = GrpoJob(
            start=Paths.sft,
            out=folder / "out",
            order=order,
            tasks=tasks,
            rubrics=rubrics,
            params=params,
            mapping=tuple(read_records(Paths.mappings, MappingEntry)) if live else None,
        )
        checkpoints = checkpoints_of("grpo", job, params.compute.checkpoint_minutes)
        run_training(dataclasses.replace(job, checkpoints=checkpoints), params.compute, folder)
        steps = [GrpoStep(**row) for row in take_checkpoint(folder / "out", Paths.grpo)]
        write_text(Paths.plots / "grpo.csv", _table(steps, GrpoStep))
        remove(checkpoints)
        metrics = {
            "candidates": len(candidates),
            "steps": len(steps),
            "reward_first_5": round(fmean(s.reward for s in steps[:5]), 4) if steps else None,
            "reward_last_5": round(fmean(s.reward for s in steps[-5:]), 4) if steps else None,
            "dead_groups": round(fmean(s.dead_groups for s in steps), 4) if steps else None,
        }
        first, last = metrics["reward_first_5"], metrics["reward_last_5"]
        say(f"{len(steps)} steps on {len(wanted)} tasks: reward {first} -> {last}")
        usage = total(json.loads(file.read_text()) for file in sorted(folder.glob("usage-*.json")))
        return Figures(metrics, usage={"llm": usage})


def _table(rows: Sequence[GrpoStep], kind: type[GrpoStep]) -> str:
    text = io.StringIO()
    names = [field.name for field in dataclasses.fields(kind)]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(dataclasses.asdict(row) for row in rows)
    return text.getvalue()
