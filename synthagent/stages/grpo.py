"""Stage `grpo`: tasks of middling difficulty + the student before RL -> `data/models/grpo`, `data/plots/grpo.csv`.

Some of the groups of a step are of problems (`grpo.reasoning_share`), beside those of tasks.
Of a prompt both twins are trained on, in the same step as a rule: what is right in one is wrong in the other, and
nothing but what was asked for or looked up tells which. A few pairs that were never rolled out are the probe's.

Launch: `synthagent grpo` or `dvc repro grpo`.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import random
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import fmean
from typing import Any

from synthagent.episodes.environment import needs_models
from synthagent.episodes.real_tools import task_of
from synthagent.errors import ParamsError, SynthAgentError
from synthagent.judging.reward import SamePrompt, Sifted, by_prompt, sifted
from synthagent.judging.scoring import needs_judge
from synthagent.listed import listed_tasks
from synthagent.llm.usage import total
from synthagent.params import Params
from synthagent.reasoning.share import reasoning_here, without_problems
from synthagent.records import MappingEntry, Problem, Reward, Rubric, Task
from synthagent.showing.show import trajectory_text
from synthagent.stage import Figures, Paths, say, scratch
from synthagent.store import find_records, read_keys, read_records, write_text
from synthagent.student.checkpoint import take_checkpoint
from synthagent.student.grpo_log import GrpoStep
from synthagent.student.prompts import problems_before
from synthagent.student.resume import checkpoints_of, remove
from synthagent.student.watch import LIVE, Live, speed_of
from synthagent.teacher.twins import pair_name, twin_names

_WITHHELD = 20  # of so many prompts to train on, one may be kept for the probe


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
    if episodes % (processes * params.grpo.updates) and not episodes % processes:
        raise ParamsError(
            f"params.yaml: grpo.updates: must divide the episodes of a step in each process ({episodes // processes}), "
            f"but it is {params.grpo.updates}"
        )
    if episodes % processes:
        raise ParamsError(
            "params.yaml: grpo.tasks_per_step * grpo.group_size: must be a multiple of compute.processes "
            f"({processes}), but it is {episodes}"
        )


def choose_pairs(
    names: Mapping[str, str], rolled: Collection[str], chosen: Sequence[SamePrompt], count: int, seed: int
) -> list[SamePrompt]:
    """The pairs of the probe: of which nothing was rolled out; where they are too few, a twentieth of `chosen` at most.

    `names`: task id -> what its pair has in common. Tasks without a twin stand in for pairs that are lacking.
    """
    touched = {names[name] for name in rolled if name in names}
    free = _drawn({name: pair for name, pair in names.items() if pair not in touched}, count, seed)
    of_chosen = {name: names.get(name, name) for prompt in chosen for name in prompt}
    return free + _drawn(of_chosen, min(count - len(free), len(chosen) // _WITHHELD), seed)


def _drawn(names: Mapping[str, str], count: int, seed: int) -> list[SamePrompt]:
    prompts: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        prompts[names[name]].append(name)
    drawn = [tuple(prompts[pair]) for pair in sorted(prompts)]
    random.Random(f"probe-{seed}").shuffle(drawn)
    return sorted(drawn, key=len, reverse=True)[:count]


def run(params: Params) -> Figures:
    """Read deps, write outs, return the figures."""
    from synthagent.student.launch import a_gpu_each, training
    from synthagent.student.launch import check as check_launcher
    from synthagent.student.machine import threads_of

    with scratch("grpo") as folder, ExitStack() as stack:
        check_params(params)
        check_launcher(params)
        params = a_gpu_each(params)
        how = training(params.compute, folder, threads_of(params), "synthagent.student.grpo")
        run_training = stack.enter_context(how)
        from synthagent.student.grpo import GrpoJob  # these take seconds, in which the processes do the same
        from synthagent.student.positions import tasks_that_fit

        problems = _problems(params)
        if not problems:
            params = without_problems(params)
        rewards = list(read_records(Paths.rewards, Reward))
        rolled = {reward.task_id for reward in rewards}
        known, names = _tasks(rolled)
        known = {task.id: task for task in tasks_that_fit("grpo", [*known.values()], Paths.sft, params)}
        rewards = [reward for reward in rewards if reward.task_id in known]
        twins = twin_names(known.values())
        sieve = sifted(rewards, twins)
        everything = _chosen(sieve, list(by_prompt(rewards, twins)))
        pairs = _probe_pairs(params, names, rolled, everything)
        chosen = [prompt for prompt in everything if prompt not in pairs]
        count = params.grpo.steps * params.grpo.tasks_per_step - problems_before(params.grpo.steps, params.grpo)
        order = schedule(chosen, count, params.seed)
        pool = tuple(chosen) if params.grpo.replace_dead or params.grpo.curriculum else ()
        wanted = {*order, *(name for prompts in (pool, pairs) for prompt in prompts for name in prompt)}
        if wanted - known.keys():
            known |= {task.id: task for task in find_records(Paths.tasks, Task, wanted - known.keys())}
        tasks = {name: known[name] for name in sorted(wanted)}
        rubrics = {rubric.task_id: rubric for rubric in find_records(Paths.rubrics, Rubric, wanted)}
        live = needs_judge(params, rubrics.values()) or needs_models(params, tasks.values())
        tasks |= {problem.id: task_of(problem) for problem in problems}
        job = GrpoJob(
            start=Paths.sft,
            out=folder / "out",
            order=order,
            tasks=tasks,
            rubrics=rubrics,
            params=params,
            mapping=tuple(read_records(Paths.mappings, MappingEntry)) if live else None,
            pool=pool,
            pairs=pairs,
            problems=problems,
        )
        checkpoints = checkpoints_of("grpo", job, params.compute.checkpoint_minutes)
        say(f"grpo: watch {LIVE / 'grpo.csv'} grow, and read episodes in {LIVE / 'grpo-episodes'}")
        watched = dataclasses.replace(job, checkpoints=checkpoints, live=Live(LIVE, trajectory_text))
        run_training(watched)
        steps = [GrpoStep(**row) for row in take_checkpoint(folder / "out", Paths.grpo)]
        write_text(Paths.plots / "grpo.csv", _table(steps))
        remove(checkpoints)
        return _figures(steps, sieve, pairs, len({*order}), len(problems), folder)


def _problems(params: Params) -> list[Problem]:
    """The problems to train on, in the order in which they are taken; none where the share is dropped, which is said.

    They are not rolled out first: those kept are solvable, and a group of which all are right or none is left out of
    the loss as any other dead group.
    """
    from synthagent.student.positions import tasks_that_fit

    if not reasoning_here("grpo", "grpo.reasoning_share", params.grpo.reasoning_share, params):
        return []
    found = {p.id: p for p in read_records(Paths.reasoning, Problem) if p.split == "train"}
    if not found:
        say(f"grpo: grpo.reasoning_share: {Paths.reasoning} has no train problem, so all prompts are of tasks")
        return []
    names = sorted(task.id for task in tasks_that_fit("grpo", [*map(task_of, found.values())], Paths.sft, params))
    random.Random(f"problems-{params.seed}").shuffle(names)
    most = None if params.grpo.replace_dead else max(1, problems_before(params.grpo.steps, params.grpo))
    return [found[name] for name in names[:most]]


def _chosen(sieve: Sifted, everything: list[SamePrompt]) -> list[SamePrompt]:
    """The prompts to train on; says how many were left out, and why."""
    if not everything:
        raise SynthAgentError(f"grpo: {Paths.rewards} has no trajectory with a reward; see its column `status`")
    failed, solved, alike = len(sieve.all_failed), len(sieve.all_solved), len(sieve.all_alike)
    why = f"{failed} earned nothing in all of them, {solved} everything, {alike} the same between"
    if sieve.differ:
        say(f"grpo: {len(sieve.differ)} of {len(everything)} prompts have rollouts that differ in reward; {why}")
        return [*sieve.differ]
    say(
        f"grpo: no prompt has rollouts that differ in reward ({why}); training on all {len(everything)} instead; "
        "more rollouts (rollouts.tasks, rollouts.samples) or a longer warm start (sft.demos) may change that"
    )
    return everything


def _tasks(rolled: Collection[str]) -> tuple[dict[str, Task], dict[str, str]]:
    """The tasks that were rolled out; and of all train tasks, what their pairs have in common."""
    known = {task.id: task for task in find_records(Paths.tasks, Task, rolled)}
    return known, {task.id: pair_name(task) for task in listed_tasks() if task.split == "train"}


def _probe_pairs(
    params: Params, names: Mapping[str, str], rolled: set[str], chosen: Sequence[SamePrompt]
) -> tuple[SamePrompt, ...]:
    """The pairs of the probe, of tasks that have a rubric; says where they are too few, or withheld."""
    probe = params.grpo.probe
    if probe is None:
        return ()
    judged = {*read_keys(Paths.rubrics, Rubric)}
    of_judged = {name: pair for name, pair in names.items() if name in judged}
    pairs = choose_pairs(of_judged, rolled, chosen, probe.pairs, params.seed)
    withheld = sum(name in rolled for pair in pairs for name in pair[:1])
    if withheld or len(pairs) < probe.pairs:
        say(
            f"grpo: grpo.probe.pairs: {len(pairs)} of {probe.pairs}, {withheld} of them withheld from the training, "
            "since the other train tasks were rolled out; lower rollouts.tasks"
        )
    return tuple(pairs)


def _figures(
    steps: Sequence[GrpoStep], sieve: Sifted, pairs: Sequence[SamePrompt], tasks: int, problems: int, folder: Path
) -> Figures:
    reasoning = [step.reward_reasoning for step in steps if step.reward_reasoning is not None]
    metrics = {
        "candidates": len(sieve.differ),
        "steps": len(steps),
        "reward_first_5": round(fmean(s.reward for s in steps[:5]), 4) if steps else None,
        "reward_last_5": round(fmean(s.reward for s in steps[-5:]), 4) if steps else None,
        "dead_groups": round(fmean(s.dead_groups for s in steps), 4) if steps else None,
        "reasoning_first_5": round(fmean(reasoning[:5]), 4) if reasoning else None,
        "reasoning_last_5": round(fmean(reasoning[-5:]), 4) if reasoning else None,
    }
    details: dict[str, Any] = {
        "prompts": {field.name: len(getattr(sieve, field.name)) for field in dataclasses.fields(sieve)},
        "replaced_groups": sum(s.replaced for s in steps),
        "probe": {
            "pairs": [list(pair) for pair in pairs],
            "pair_rate": {str(s.step): s.pair_rate for s in steps if s.pair_rate is not None},
        },
    }
    first, last = metrics["reward_first_5"], metrics["reward_last_5"]
    say(f"{len(steps)} steps on {tasks} scheduled tasks: reward {first} -> {last}")
    if reasoning:
        first, last = metrics["reasoning_first_5"], metrics["reasoning_last_5"]
        say(f"{len(reasoning)} of them with problems, {problems} in all: reward of these {first} -> {last}")
    usage = total(json.loads(file.read_text()) for file in sorted(folder.glob("usage-*.json")))
    return Figures(metrics, details, {"llm": usage, "tokens_per_second": speed_of(LIVE / "grpo.csv")})


def _table(rows: Sequence[GrpoStep]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in dataclasses.fields(GrpoStep)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(dataclasses.asdict(row) for row in rows)
    return text.getvalue()
