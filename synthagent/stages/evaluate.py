"""Stage `evaluate`: held-out tasks x policies -> `data/evaluation.parquet`, `data/plots/evaluation.csv`.

Scripted baselines bound the scale (noop, never_asks, asks_only, expert); `base` is the untrained student, `sft` and
`grpo` the trained ones, sampled at temperature 1 and, beside it, greedily.

Launch: `synthagent evaluate` or `dvc repro evaluate`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from synthagent.criteria import extract
from synthagent.params import Params
from synthagent.records import Evaluation, Rubric, Task, Trajectory
from synthagent.scripted import BASELINES
from synthagent.stage import Paths, running, say
from synthagent.stages.rewards import reward_of
from synthagent.statistics import plot_table, printed_tables, summarise
from synthagent.store import read_records, write_records, write_text
from synthagent.world import fresh_world

BENCHMARK = "synthagent"
SPLITS = ("heldout", "unseen_domain")
Decoding = Literal["sampled", "greedy", "scripted"]


def choose_tasks(tasks: Sequence[Task], count: int, seed: int) -> list[Task]:
    """Up to `count` tasks of each held-out split, at random."""
    chosen: list[Task] = []
    for split in SPLITS:
        of_split = [task for task in tasks if task.split == split]
        chosen += random.Random(f"evaluate-{seed}-{split}").sample(of_split, min(count, len(of_split)))
    return chosen


def rubric_of(task: Task) -> Rubric:
    """A task's rubric without the demonstrations' filter: held-out tasks have none."""
    criteria = extract(task, fresh_world(task)).criteria
    return Rubric(task_id=task.id, criteria=criteria, coverage=1.0)


def evaluation_of(trajectory: Trajectory, decoding: Decoding, task: Task, rubric: Rubric, params: Params) -> Evaluation:
    """A trajectory, replayed and scored, as a row of the evaluation."""
    scored = reward_of(trajectory, task, rubric, params.reward, params.episode.max_turns)
    return Evaluation(
        policy=trajectory.policy,
        benchmark=BENCHMARK,
        task_id=task.id,
        split=task.split,
        difficulty=task.difficulty,
        sample=trajectory.sample,
        decoding=decoding,
        reward=_given(scored.reward),
        reward_paper=_given(scored.reward_paper),
        gate=_given(scored.gate),
        subgoals=_given(scored.subgoals),
        interactions=_given(scored.interactions),
        n_turns=trajectory.n_turns,
        n_questions=trajectory.n_questions,
        end=trajectory.end,
    )


def _given(value: float | None) -> float:
    if value is None:
        raise ValueError("an executable world decides every criterion; this trajectory was not")
    return value


def stored_tables(seed: int) -> Iterator[str]:
    """The tables of the evaluation on disk, line by line."""
    return printed_tables(summarise(list(read_records(Paths.evaluation, Evaluation)), seed))


def run(params: Params) -> None:
    """Read deps, write outs."""
    from synthagent.student.model import Student, build_model, load_student
    from synthagent.student.rollout import batches, roll_out

    with running("evaluate", Paths.evaluation, Paths.plots / "evaluation.csv") as metrics:
        chosen = choose_tasks(list(read_records(Paths.tasks, Task)), params.evaluate.tasks, params.seed)
        tasks = {task.id: task for task in chosen}
        rubrics = {task.id: rubric_of(task) for task in chosen}
        sft = load_student(Paths.sft)
        untrained = Student(build_model(sft.tokenizer, params.sft, params.seed), sft.tokenizer)
        students = {"base": untrained, "sft": sft, "grpo": load_student(Paths.grpo)}
        pairs = [(task, 0) for task in chosen]
        work = [
            batch
            for name, student in students.items()
            for greedy in (False, True)
            if not (greedy and name == "base")
            for batch in batches(name, student, pairs, params.episode, params.seed, greedy)
        ]
        ended: list[tuple[Trajectory, Decoding]] = [
            (BASELINES[name](task, fresh_world(task)).trajectory(name, 0), "scripted")
            for name in BASELINES
            for task in chosen
        ]
        parts = roll_out(work, params.compute.processes, "evaluate")
        ended += [(t, "greedy" if b.greedy else "sampled") for b, part in zip(work, parts, strict=True) for t in part]
        rows = [evaluation_of(t, decoding, tasks[t.task_id], rubrics[t.task_id], params) for t, decoding in ended]
        rows.sort(key=lambda row: (row.policy, row.decoding, row.split, row.task_id))
        write_records(Paths.evaluation, Evaluation, rows)
        summary = summarise(rows, params.seed)
        write_text(Path(Paths.plots / "evaluation.csv"), plot_table(summary))
        metrics |= summary.metrics()
        for line in printed_tables(summary):
            say(line)
