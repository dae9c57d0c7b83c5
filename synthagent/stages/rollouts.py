"""Stage `rollouts`: several episodes a train task by the policy before RL -> `data/rollouts.parquet`.

`data/mappings.parquet` is what the tools of simulated worlds have said by then, in these episodes and in the
demonstrations. The policy is the student (`local`), or a model behind an endpoint (`openai`).

Launch: `synthagent rollouts` or `dvc repro rollouts`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from synthagent.episodes.cast import Cast, SyncCast, is_live
from synthagent.episodes.endpoint import run_episode
from synthagent.episodes.mapping import HitCounter, Mappings, entries_in
from synthagent.errors import StoreError, SynthAgentError
from synthagent.llm.client import Llm
from synthagent.llm.ordered import ordered
from synthagent.params import Params
from synthagent.records import MappingEntry, Rubric, Task, Trajectory
from synthagent.stage import Figures, Paths, progress, say
from synthagent.store import read_records, records_written, write_records

Pair = tuple[Task, int]


def choose_tasks(tasks: Sequence[Task], count: int, seed: int) -> list[Task]:
    """`count` tasks at random, in the order of their ids."""
    chosen = random.Random(f"rollouts-{seed}").sample(list(tasks), min(count, len(tasks)))
    return sorted(chosen, key=lambda task: task.id)


def run(params: Params) -> Figures:
    """Read deps, write outs, return the figures."""
    judged = {rubric.task_id for rubric in read_records(Paths.rubrics, Rubric)}
    tasks = [t for t in read_records(Paths.tasks, Task) if t.split == "train" and t.id in judged]
    chosen = choose_tasks(tasks, params.rollouts.tasks, params.seed)
    if not chosen:
        raise SynthAgentError(
            "rollouts: there is no train task with a rubric; run `dvc repro rubrics`, or raise tasks.count"
        )
    details, usage = dict[str, Any](), dict[str, Any]()
    entries: Iterable[MappingEntry] = ()
    if params.roles.policy.backend == "openai" or is_live(params, tasks):
        llm, mappings = Llm(params), mappings_of_demos(tasks, params)
        hits, by_id = HitCounter(mappings), {task.id: task for task in chosen}
        cast = Cast(params, llm, mappings)
        act = _by_endpoint if params.roles.policy.backend == "openai" else _by_student
        tally = write(hits.counted(by_id[t.task_id], t) for t in act(params, chosen, cast, llm))
        entries, details, usage = mappings.entries(), cast.metrics(), {"llm": llm.metrics()}
    else:
        tally = write(_embedded(params, chosen))
    write_records(Paths.mappings, MappingEntry, entries)
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
    return Figures(metrics, {"errors_by_reason": dict(sorted(tally.errors.items())), **details}, usage)


@dataclass
class Tally:
    """The trajectories in numbers: all, those that ended with an answer, their turns, their errors by reason."""

    trajectories: int = 0
    answered: int = 0
    turns: int = 0
    errors: Counter[str] = field(default_factory=Counter)


def write(trajectories: Iterable[Trajectory]) -> Tally:
    """Write the trajectories as they come, and count them."""
    tally = Tally()
    with records_written(Paths.rollouts, Trajectory) as write_row:
        for trajectory in trajectories:
            write_row(trajectory)
            tally.trajectories += 1
            tally.answered += trajectory.end == "answer"
            tally.turns += trajectory.n_turns
            tally.errors.update([trajectory.error] if trajectory.error else [])
    return tally


def _pairs(params: Params, chosen: Sequence[Task]) -> list[Pair]:
    return [(task, sample) for task in chosen for sample in range(params.rollouts.samples)]


def _embedded(params: Params, chosen: Sequence[Task]) -> list[Trajectory]:
    """The student's episodes in worlds that answer for themselves, spread over processes."""
    from synthagent.student.model import load_student
    from synthagent.student.rollout import batches, roll_out

    work = batches("sft", load_student(Paths.sft), _pairs(params, chosen), params.episode, params.seed)
    trajectories = [t for part in roll_out(work, params.compute.processes, "rollouts") for t in part]
    return sorted(trajectories, key=lambda t: t.id)


def mappings_of_demos(tasks: Iterable[Task], params: Params) -> Mappings:
    """M as the tasks begin with it, and as the demonstrations left it.

    Raises:
        StoreError: a demonstration does not fit its task.
    """
    mappings = Mappings(params.episode.mapping)
    simulated = {task.id: task for task in tasks if task.world_kind == "simulated"}
    for task in simulated.values():
        mappings.begin(task)
    for demo in read_records(Paths.demos, Trajectory):
        if demo.task_id in simulated:
            try:
                entries = entries_in(simulated[demo.task_id], demo)
            except (ValueError, KeyError, IndexError) as error:
                raise StoreError(f"{Paths.demos}: {demo.id}: cannot be replayed: {error}; run `dvc repro`") from None
            for entry in entries:
                mappings.add(entry)
    return mappings


def _by_endpoint(params: Params, chosen: Sequence[Task], cast: Cast, llm: Llm) -> Iterator[Trajectory]:
    """The episodes of a model behind an endpoint, in the order of their ids."""

    async def act(pair: Pair) -> Trajectory:
        return await run_episode(*pair, cast, llm, params)

    pairs = sorted(_pairs(params, chosen), key=lambda pair: f"{pair[0].id}.policy.{pair[1]}")
    yield from progress(ordered(act, pairs, params.llm.max_concurrency, llm.close), len(pairs), "rollouts")


def _by_student(params: Params, chosen: Sequence[Task], cast: Cast, llm: Llm) -> Iterator[Trajectory]:
    """The student's episodes, in this process, which holds M and the connections."""
    from synthagent.student.model import load_student
    from synthagent.student.rollout import batches, roll_out

    bridge = SyncCast(cast)
    try:
        pairs, student = _pairs(params, chosen), load_student(Paths.sft)
        work = batches("sft", student, pairs, params.episode, params.seed, answer_all=bridge.answer_all)
        trajectories = [t for part in roll_out(work, 1, "rollouts") for t in part]
    finally:
        bridge.close(llm)
    yield from sorted(trajectories, key=lambda t: t.id)
