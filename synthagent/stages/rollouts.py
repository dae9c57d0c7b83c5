"""Stage `rollouts`: several episodes a train task by the policy before RL -> `data/rollouts.parquet`.

`data/mappings.parquet` is what the tools of simulated worlds have said by then, in these episodes and in the
demonstrations. The policy is the student (`local`), or a model behind an endpoint (`openai`).

Launch: `synthagent rollouts` or `dvc repro rollouts`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from synthagent.episodes.endpoint import EndpointPolicy
from synthagent.episodes.environment import ModelEnvironment, live_models, needs_models
from synthagent.episodes.mapping import HitCounter, Mappings, entries_in
from synthagent.episodes.policy import Policy, Setting, Start
from synthagent.episodes.world import is_simulated
from synthagent.errors import RecordError, StoreError, SynthAgentError
from synthagent.listed import AnyTask, listed_tasks
from synthagent.llm.client import Llm
from synthagent.llm.usage import Usage
from synthagent.params import Params
from synthagent.records import MappingEntry, Rubric, Task, Trajectory
from synthagent.stage import Figures, Paths, progress, say
from synthagent.store import find_records, read_keys, read_records, records_written, write_records
from synthagent.teacher.twins import draw_pairs, in_pairs


def choose_tasks(tasks: Sequence[AnyTask], count: int, seed: int) -> list[AnyTask]:
    """`count` tasks at random, twins together, in the order of their ids."""
    chosen = draw_pairs(in_pairs(tasks), count, random.Random(f"rollouts-{seed}"))
    return sorted(chosen, key=lambda task: task.id)


def run(params: Params) -> Figures:
    """Read deps, write outs, return the figures."""
    judged = {*read_keys(Paths.rubrics, Rubric)}
    listed = [task for task in listed_tasks() if task.split == "train" and task.id in judged]
    names = [task.id for task in choose_tasks(listed, params.rollouts.tasks, params.seed)]
    chosen = find_records(Paths.tasks, Task, names)
    if not chosen:
        raise SynthAgentError(
            "rollouts: there is no train task with a rubric; run `dvc repro rubrics`, or raise tasks.count"
        )
    simulated = [task.id for task in listed if task.world_kind != "executable"]
    mappings = mappings_of_demos(find_records(Paths.tasks, Task, simulated), params)
    usage = Usage(params.llm.prices)
    hits = HitCounter(mappings)
    with policy_of(params, chosen, mappings, usage) as policy:
        if params.roles.policy.backend == "local":
            from synthagent.student.positions import tasks_that_fit

            chosen = tasks_that_fit("rollouts", chosen, Paths.sft, params)
        by_id = {task.id: task for task in chosen}
        starts = [Start(task, sample) for task in chosen for sample in range(params.rollouts.samples)]
        starts.sort(key=lambda start: f"{start.task.id}.{policy.name}.{start.sample}")
        trajectories = progress(policy.run(starts), len(starts), "rollouts")
        tally = write(hits.counted(by_id[t.task_id], t) for t in trajectories)
    write_records(Paths.mappings, MappingEntry, mappings.entries())
    say(f"{tally.trajectories} episodes on {len(chosen)} tasks; {tally.answered} ended with an answer")
    errors = tally.errors.total()
    if errors:
        by_reason = ", ".join(f"{count} {reason}" for reason, count in tally.errors.most_common())
        say(f"{errors} episodes ended with an error: {by_reason}")
    metrics = {
        "tasks": len(chosen),
        "trajectories": tally.trajectories,
        "answered": round(tally.answered / max(1, tally.trajectories), 4),
        "turns": round(tally.turns / max(1, tally.trajectories), 2),
        "errors": errors,
    }
    environment = policy.setting.environment
    models = environment.metrics() if isinstance(environment, ModelEnvironment) else {}
    details = {"errors_by_reason": dict(sorted(tally.errors.items())), **models}
    return Figures(metrics, details, {"llm": usage.metrics()} if models else {})


@contextmanager
def policy_of(params: Params, tasks: Sequence[Task], mappings: Mappings, usage: Usage) -> Iterator[Policy]:
    """Who acts: the model of `roles.policy`, or the student before RL, answered by models where there is need."""
    if params.roles.policy.backend == "openai":
        llm = Llm(params, usage=usage)
        yield EndpointPolicy(llm, params, Setting(ModelEnvironment(params, llm, mappings), params.episode.max_turns))
        return
    from synthagent.student.machine import threads_of
    from synthagent.student.processes import workers

    if needs_models(params, tasks):
        with live_models(params, mappings, usage) as models:
            setting = Setting(models.environment, params.episode.max_turns)
            yield _student(params, setting, loop=models.loop)
        return
    with workers(params.compute, threads_of(params), "synthagent.student.policy") as pool:
        yield _student(params, Setting(max_turns=params.episode.max_turns), workers=pool)


def _student(params: Params, setting: Setting, **more: Any) -> Policy:
    """The student before RL. What it needs takes seconds to import, in which workers, if there are any, do the same."""
    from synthagent.student.model import acting_student
    from synthagent.student.policy import StudentPolicy

    return StudentPolicy("sft", acting_student(Paths.sft, params.student), params, setting, **more)


@dataclass
class EpisodeCounts:
    """The trajectories in numbers: all, those that ended with an answer, their turns, their errors by reason."""

    trajectories: int = 0
    answered: int = 0
    turns: int = 0
    errors: Counter[str] = field(default_factory=Counter)


def write(trajectories: Iterable[Trajectory]) -> EpisodeCounts:
    """Write the trajectories as they come, and count them."""
    tally = EpisodeCounts()
    with records_written(Paths.rollouts, Trajectory) as write_row:
        for trajectory in trajectories:
            write_row(trajectory)
            tally.trajectories += 1
            tally.answered += trajectory.end == "answer"
            tally.turns += trajectory.n_turns
            tally.errors.update([trajectory.error] if trajectory.error else [])
    return tally


def mappings_of_demos(tasks: Iterable[Task], params: Params) -> Mappings:
    """M as the tasks begin with it, and as the demonstrations left it; empty where no model answers for a tool.

    Raises:
        StoreError: a demonstration does not fit its task.
    """
    mappings = Mappings(params.episode.mapping)
    simulated = {task.id: task for task in tasks if is_simulated(task)}
    for task in simulated.values():
        mappings.begin(task)
    for demo in read_records(Paths.demos, Trajectory) if simulated else ():
        if demo.task_id in simulated:
            try:
                entries = entries_in(simulated[demo.task_id], demo)
            except RecordError as error:
                raise StoreError(f"{Paths.demos}: {demo.id}: cannot be run again: {error}; run `dvc repro`") from None
            for entry in entries:
                mappings.add(entry)
    return mappings
