"""Stage `evaluate`: held-out tasks x policies -> `data/evaluation.parquet`, `data/plots/evaluation.csv`.

Scripted baselines bound the scale (noop, never_asks, asks_only, expert; a simulated world has no reference, so only
noop and asks_only act in it); `base` is the untrained student, `sft` and `grpo` the trained ones, sampled at
temperature 1 and, beside it, greedily; `endpoint` is the model of `roles.policy`, if it has one.

Launch: `synthagent evaluate` or `dvc repro evaluate`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from synthagent.episodes.cast import Cast, SyncCast, is_live
from synthagent.episodes.endpoint import run_episode
from synthagent.episodes.mapping import Mappings
from synthagent.episodes.scripted import BASELINES
from synthagent.episodes.world import fresh_world
from synthagent.llm.client import Llm
from synthagent.llm.ordered import ordered
from synthagent.llm.usage import Usage
from synthagent.params import Params
from synthagent.records import Evaluation, MappingEntry, Reward, Rubric, Task, Trajectory
from synthagent.showing.statistics import plot_table, printed_tables, summarise
from synthagent.stage import Figures, Paths, progress, say
from synthagent.stages.rewards import score_all
from synthagent.store import read_records, write_records, write_text

BENCHMARK = "synthagent"
SPLITS = ("heldout", "unseen_domain")
_WITHOUT_REFERENCE = ("noop", "asks_only")
Decoding = Literal["sampled", "greedy", "scripted"]


@dataclass(frozen=True, slots=True)
class Acted:
    """An episode that was run to be evaluated."""

    trajectory: Trajectory
    decoding: Decoding


def choose_tasks(tasks: Sequence[Task], count: int, seed: int) -> list[Task]:
    """Up to `count` tasks of each held-out split, at random."""
    chosen: list[Task] = []
    for split in SPLITS:
        of_split = [task for task in tasks if task.split == split]
        chosen += random.Random(f"evaluate-{seed}-{split}").sample(of_split, min(count, len(of_split)))
    return chosen


def evaluation_of(acted: Acted, task: Task, scored: Reward) -> Evaluation | None:
    """A scored trajectory as a row of the evaluation; None where it has no score."""
    if scored.reward is None or scored.reward_paper is None or scored.gate is None:
        return None
    trajectory = acted.trajectory
    return Evaluation(
        policy=trajectory.policy,
        benchmark=BENCHMARK,
        task_id=task.id,
        split=task.split,
        difficulty=task.difficulty,
        sample=trajectory.sample,
        decoding=acted.decoding,
        reward=scored.reward,
        reward_paper=scored.reward_paper,
        gate=scored.gate,
        subgoals=scored.subgoals or 0.0,
        interactions=scored.interactions or 0.0,
        n_turns=trajectory.n_turns,
        n_questions=trajectory.n_questions,
        end=trajectory.end,
    )


def stored_tables(seed: int) -> Iterator[str]:
    """The tables of the evaluation on disk, line by line."""
    return printed_tables(summarise(list(read_records(Paths.evaluation, Evaluation)), seed))


def _by_script(chosen: Sequence[Task]) -> Iterator[Acted]:
    for name, act in BASELINES.items():
        for task in chosen:
            if task.world_kind == "executable" or name in _WITHOUT_REFERENCE:
                yield Acted(act(task, fresh_world(task)).trajectory(name, 0), "scripted")


def _by_students(chosen: Sequence[Task], params: Params, mappings: Mappings, usage: Usage) -> Iterator[Acted]:
    """The students' episodes: spread over processes, or in this one if models answer them."""
    from synthagent.student.model import Student, build_model, load_student
    from synthagent.student.rollout import batches, roll_out

    sft = load_student(Paths.sft)
    untrained = Student(build_model(sft.tokenizer, params.sft, params.seed), sft.tokenizer)
    students = {"base": untrained, "sft": sft, "grpo": load_student(Paths.grpo)}
    llm = Llm(params, usage=usage) if is_live(params, chosen) else None
    bridge = SyncCast(Cast(params, llm, mappings)) if llm else None
    work = [
        batch
        for name, student in students.items()
        for greedy in (False, True)
        if not (greedy and name == "base")
        for batch in batches(
            name,
            student,
            [(task, 0) for task in chosen],
            params.episode,
            params.seed,
            greedy,
            answer_all=bridge.answer_all if bridge else None,
        )
    ]
    try:
        parts = roll_out(work, 1 if bridge else params.compute.processes, "evaluate")
        for batch, part in zip(work, parts, strict=True):
            yield from (Acted(trajectory, "greedy" if batch.greedy else "sampled") for trajectory in part)
    finally:
        if bridge and llm:
            bridge.close(llm)


def _by_endpoint(chosen: Sequence[Task], params: Params, mappings: Mappings, usage: Usage) -> Iterator[Acted]:
    if params.roles.policy.backend != "openai":
        return
    llm = Llm(params, usage=usage)
    cast = Cast(params, llm, mappings)

    async def act(task: Task) -> Trajectory:
        return await run_episode(task, 0, cast, llm, params, policy_name="endpoint")

    ended = ordered(act, chosen, params.llm.max_concurrency, llm.close)
    yield from (Acted(trajectory, "sampled") for trajectory in progress(ended, len(chosen), "evaluate"))


def run(params: Params) -> Figures:
    """Read deps, write outs, return the figures."""
    rubrics = {rubric.task_id: rubric for rubric in read_records(Paths.rubrics, Rubric)}
    judgeable = [task for task in read_records(Paths.tasks, Task) if task.id in rubrics]
    chosen = choose_tasks(judgeable, params.evaluate.tasks, params.seed)
    tasks = {task.id: task for task in chosen}
    mappings = Mappings.load(read_records(Paths.mappings, MappingEntry), params.episode.mapping)
    usage = Usage(params.llm.prices)
    acted = [
        *_by_script(chosen),
        *_by_students(chosen, params, mappings, usage),
        *_by_endpoint(chosen, params, mappings, usage),
    ]
    trajectories = [each.trajectory for each in acted]
    scored = [row.reward for row in score_all(trajectories, tasks, rubrics, params, "evaluate", usage)]
    pairs = zip(acted, scored, strict=True)
    found = [evaluation_of(each, tasks[each.trajectory.task_id], reward) for each, reward in pairs]
    rows = [row for row in found if row is not None]
    rows.sort(key=lambda row: (row.policy, row.decoding, row.split, row.task_id))
    write_records(Paths.evaluation, Evaluation, rows)
    summary = summarise(rows, params.seed)
    write_text(Path(Paths.plots / "evaluation.csv"), plot_table(summary))
    for line in printed_tables(summary):
        say(line)
    calls = usage.metrics()
    return Figures(
        {**summary.headline(), "errors": len(found) - len(rows)},
        {**summary.details(), **({"mapping": mappings.metrics()} if calls else {})},
        {"llm": calls},
    )
