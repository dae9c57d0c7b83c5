"""What a checkpoint is worth: its episodes on held-out tasks -> which pairs it got right; and what RL cost, in tokens.

All checkpoints of a seed act, sampled at temperature 1, in the same held-out tasks: those of `ours`, with the
information gap, in worlds that do not err.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean

from synthagent.episodes.policy import Setting, Start
from synthagent.judging.scoring import score_all
from synthagent.llm.usage import Usage
from synthagent.params import Params
from synthagent.records import Rubric, Task, Trajectory
from synthagent.stages.evaluate import choose_tasks
from synthagent.store import read_records
from synthagent.teacher.twins import pair_name

# Passes of the network a token: one forward to sample it; one forward and two backward (as much again, twice) to learn.
_SAMPLED, _LEARNT = 1, 3
_LOOKED_AT = 400  # rollouts, for the mean length of an episode


@dataclass(frozen=True, slots=True)
class Measured:
    """Which pairs were both perfect (1 or 0), the mean reward, the mean number of questions an episode."""

    pairs: dict[str, float]
    reward: float
    questions: float


def measure(checkpoint: Path, data: Path, params: Params) -> Measured:
    """Let a checkpoint act in the held-out tasks that lie in `data`."""
    from synthagent.student.model import acting_student
    from synthagent.student.policy import StudentPolicy
    from synthagent.student.processes import workers

    rubrics = {rubric.task_id: rubric for rubric in read_records(data / "rubrics.parquet", Rubric)}
    heldout = [t for t in read_records(data / "tasks.parquet", Task) if t.split == "heldout" and t.id in rubrics]
    tasks = {task.id: task for task in choose_tasks(heldout, params.evaluate.tasks, params.seed)}
    student = acting_student(checkpoint, params.student)
    with workers(params.compute) as pool:
        setting = Setting(max_turns=params.episode.max_turns)
        policy = StudentPolicy("student", student, params, setting, workers=pool)
        trajectories = list(policy.run(Start(task) for task in tasks.values()))
    scored = score_all(trajectories, tasks, rubrics, params, "replicate", Usage(params.llm.prices))
    rewards = {row.reward.task_id: row.reward.reward or 0.0 for row in scored}
    return Measured(
        pairs=pairs_of(list(tasks.values()), rewards),
        reward=round(fmean(rewards.values()), 4),
        questions=round(fmean(t.n_questions for t in trajectories), 3),
    )


def pairs_of(tasks: Sequence[Task], rewards: dict[str, float]) -> dict[str, float]:
    """Of each pair of twins among the tasks, by its name, whether both are perfect."""
    perfect = {task.id: rewards[task.id] > 1 - 1e-9 for task in tasks}
    return {
        pair_name(task): float(perfect[task.id] and perfect[task.twin_of]) for task in tasks if task.twin_of in perfect
    }


def equal_demos(data: Path, warm: Path, tokens_a_demo: float, params: Params) -> int:
    """How many demonstrations cost as much as RL did, whose episodes are taken to be as long as the first rollouts."""
    from synthagent.student.model import load_student

    tasks = {task.id: task for task in read_records(data / "tasks.parquet", Task)}
    form = load_student(warm).format
    rolled = islice(read_records(data / "rollouts.parquet", Trajectory), _LOOKED_AT)
    lengths = [len(form.tokenise(t.messages, tasks[t.task_id].tools)["input_ids"]) for t in rolled]
    return demos_for(params, fmean(lengths), tokens_a_demo)


def demos_for(params: Params, tokens_an_episode: float, tokens_a_demo: float) -> int:
    """Demonstrations that take as many passes over a token as RL: its rollouts, which choose tasks, and its episodes.

    Padding is left out on both sides.
    """
    rollouts = params.rollouts.tasks * params.rollouts.samples
    episodes = params.grpo.steps * params.grpo.tasks_per_step * params.grpo.group_size
    passes = (rollouts * _SAMPLED + episodes * (_SAMPLED + _LEARNT)) * tokens_an_episode
    return max(1, round(passes / (_LEARNT * tokens_a_demo)))
