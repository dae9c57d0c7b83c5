"""Stage `rollouts`: several episodes a train task by the student before RL -> `data/rollouts.parquet`.

Launch: `synthagent rollouts` or `dvc repro rollouts`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from synthagent.errors import SynthAgentError
from synthagent.params import Params
from synthagent.records import Rubric, Task, Trajectory
from synthagent.stage import Paths, running, say
from synthagent.store import read_records, write_records


def choose_tasks(tasks: Sequence[Task], count: int, seed: int) -> list[Task]:
    """`count` tasks at random, in the order of their ids."""
    chosen = random.Random(f"rollouts-{seed}").sample(list(tasks), min(count, len(tasks)))
    return sorted(chosen, key=lambda task: task.id)


def run(params: Params) -> None:
    """Read deps, write outs."""
    from synthagent.student.model import load_student
    from synthagent.student.rollout import batches, roll_out

    with running("rollouts", Paths.rollouts) as metrics:
        judged = {rubric.task_id for rubric in read_records(Paths.rubrics, Rubric)}
        tasks = [t for t in read_records(Paths.tasks, Task) if t.split == "train" and t.id in judged]
        chosen = choose_tasks(tasks, params.rollouts.tasks, params.seed)
        if not chosen:
            raise SynthAgentError("rollouts: there is no train task with a rubric; raise tasks.count")
        pairs = [(task, sample) for task in chosen for sample in range(params.rollouts.samples)]
        work = batches("sft", load_student(Paths.sft), pairs, params.episode, params.seed)
        trajectories = [t for part in roll_out(work, params.compute.processes, "rollouts") for t in part]
        write_records(Paths.rollouts, Trajectory, sorted(trajectories, key=lambda t: t.id))
        ended = sum(t.end == "answer" for t in trajectories)
        metrics |= {
            "tasks": len(chosen),
            "trajectories": len(trajectories),
            "answered": round(ended / len(trajectories), 4),
            "turns": round(sum(t.n_turns for t in trajectories) / len(trajectories), 2),
        }
        say(f"{len(trajectories)} episodes on {len(chosen)} tasks; {ended} ended with an answer")
