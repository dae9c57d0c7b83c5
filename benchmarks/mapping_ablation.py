"""What the mapping M is for: one policy's reward variance over 16 rollouts a task, with M and without -> a table.

    .venv/bin/python -m benchmarks.mapping_ablation --tasks 8

Needs a `params.yaml` whose role `tools` is `openai`. The tasks are embedded ones turned into simulated worlds: the same
tools and facts, but a model answers. The policy is scripted and the same in both arms, down to its random numbers: it
follows the reference with some skill, and what it may do depends on what the tools say. At skill 1 all variance within
a task is the world's noise; that is what M takes away, so that differences in reward are the policy's own.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean, pvariance

from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from synthagent.episodes.environment import ModelEnvironment
from synthagent.episodes.episode import Episode, aplay
from synthagent.episodes.mapping import Mappings
from synthagent.episodes.scripted import Style, reference
from synthagent.episodes.world import fresh_world
from synthagent.errors import ParamsError, SynthAgentError
from synthagent.judging.criteria import extract
from synthagent.judging.reward import score_world
from synthagent.llm.client import Llm
from synthagent.llm.ordered import ordered
from synthagent.llm.store import FOLDER
from synthagent.params import Params
from synthagent.params_file import load_params
from synthagent.records import Criterion, Rubric, Task
from synthagent.stages.personas import built_in
from synthagent.stages.tasks import propose
from synthagent.teacher.acceptance import judge_proposals
from synthagent.teacher.domains import load_vocabulary
from synthagent.worlds import Answer as AnswerStep
from synthagent.worlds import Answered, Call, Called, Check, WorldSpec

_PAIRS = 10  # proposed for a task that is wanted


@dataclass(frozen=True, slots=True)
class Arm:
    """One policy with or without M. `variance`: of the reward within a task, mean over tasks."""

    skill: float
    mapping: bool
    tasks: int
    lost: int
    reward: float
    variance: float
    contradictions: float | None
    calls: int
    model_calls: int


def simulated(task: Task) -> Task:
    """An executable task as a simulated one: a model invents what the rows said; only which keys there are is known."""
    tables = [
        f"{name}: {', '.join(str(row[table.key]) for row in table.rows)}" for name, table in task.world.tables.items()
    ]
    changing = {
        name for name, effects in task.world.effects.items() if any(e.op not in ("get", "find") for e in effects)
    }
    tools = tuple(tool.model_copy(update={"changes_state": tool.name in changing}) for tool in task.tools)
    background = f"The records of: {task.domain}. There are these, and no others. {'; '.join(tables)}."
    world = WorldSpec(tables={}, effects={}, background=background, rules=task.world.rules)
    return task.model_copy(update={"world_kind": "simulated", "world": world, "tools": tools})


def rubric_of(task: Task) -> Rubric:
    """The constraints; that each call of the reference went well; that the request was granted: by the event log."""
    checks: dict[str, Check] = {
        f"called-{number}": Called(tool=step.tool)
        for number, step in enumerate(task.reference)
        if isinstance(step, Call)
    }
    ends = [step for step in task.reference if isinstance(step, AnswerStep)]
    checks["granted"] = Answered(words=(ends[-1].outcome,))
    criteria = [Criterion(id=name, kind="subgoal", text=name, check=check) for name, check in checks.items()]
    rules = [Criterion(id=name, kind="constraint", text=name, check=rule) for name, rule in task.world.rules.items()]
    return Rubric(task_id=task.id, criteria=(*rules, *criteria), coverage=1.0)


async def reward_of(episode: Episode, skill: float) -> float | None:
    """The reward of one rollout; None where an answer of the model could not be used."""
    rng = random.Random(f"{episode.task.id}-{episode.sample}")
    await aplay(episode, reference(episode, Style(skill=skill), rng))
    return None if episode.error else score_world(rubric_of(episode.task), episode.world).reward


def run_arm(tasks: Sequence[Task], rollouts: int, skill: float, params: Params, folder: Path, mapping: bool) -> Arm:
    """All rollouts of one policy, as many at once as params allow."""
    llm, mappings = Llm(params, folder), Mappings(mapping)
    environment = ModelEnvironment(params, llm, mappings)
    episodes = [Episode(task, environment, sample=sample) for task in tasks for sample in range(rollouts)]
    work = ordered(lambda episode: reward_of(episode, skill), episodes, params.llm.max_concurrency, llm.close)
    name = f"skill {skill:g}, M {'on' if mapping else 'off'}"
    earned = list(tqdm(work, name, len(episodes), disable=None, file=sys.stderr))
    groups = [[r for r in earned[n * rollouts : (n + 1) * rollouts] if r is not None] for n in range(len(tasks))]
    groups = [group for group in groups if len(group) > 1]
    if not groups:
        raise SynthAgentError("no answer of the model could be used; see what roles.tools serves")
    figures, usage = mappings.metrics(), llm.metrics().get("tools", {})
    return Arm(
        skill=skill,
        mapping=mapping,
        tasks=len(groups),
        lost=earned.count(None),
        reward=fmean(fmean(group) for group in groups),
        variance=fmean(pvariance(group) for group in groups),
        contradictions=figures["contradiction_rate"],
        calls=figures["calls"],
        model_calls=sum(tally["calls"] + tally["hits"] for tally in usage.values()),
    )


def some_tasks(params: Params, count: int) -> list[Task]:
    """The first accepted embedded tasks in which the act is permitted, as simulated ones: there, twins are the same."""
    personas, vocabulary = tuple(built_in()), load_vocabulary()
    proposals = (propose(n, personas, vocabulary, params.tasks, params.seed) for n in range(count * _PAIRS))
    accepted = (row for row in judge_proposals(proposals) if isinstance(row, Task))
    accepted = (task for task in accepted if extract(task, fresh_world(task)).outcome == "done")
    return [simulated(task) for task, _ in zip(accepted, range(count), strict=False)]


def shown(arms: Sequence[Arm]) -> Table:
    """The table. `ratio`: variance without M over variance with it."""
    table = Table(title="Reward variance within a task, with the mapping M and without")
    for column in ("skill", "M", "tasks", "lost", "reward", "variance", "ratio", "contradictions", "calls", "to model"):
        table.add_column(column, justify="right")
    for on, off in zip(arms[::2], arms[1::2], strict=True):
        for arm in (on, off):
            ratio = (
                ""
                if arm is on
                else f"{off.variance / on.variance:.2f}"
                if on.variance
                else "inf"
                if off.variance
                else "-"
            )
            rate = "-" if arm.contradictions is None else f"{arm.contradictions:.3f}"
            table.add_row(
                *(f"{arm.skill:g}", "on" if arm.mapping else "off", str(arm.tasks), str(arm.lost)),
                *(f"{arm.reward:.3f}", f"{arm.variance:.4f}", ratio, rate, str(arm.calls), str(arm.model_calls)),
            )
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Run both arms of each policy and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--rollouts", type=int, default=16)
    parser.add_argument("--skills", type=float, nargs="+", default=[1.0, 0.7])
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--store", type=Path, default=FOLDER)
    given = parser.parse_args(argv)
    try:
        params = load_params(given.params)
        if params.roles.tools.backend != "openai":
            raise ParamsError(f"{given.params}: roles.tools.backend: set it to openai, with base_url and model")
        tasks = some_tasks(params, given.tasks)
        arm = partial(run_arm, tasks, given.rollouts, params=params, folder=given.store)
        arms = [arm(skill, mapping=mapping) for skill in given.skills for mapping in (True, False)]
    except SynthAgentError as error:
        print(f"mapping_ablation: {error}", file=sys.stderr)
        return 1
    Console(width=120).print(shown(arms))
    return 0


if __name__ == "__main__":
    sys.exit(main())
