"""Stage `evaluate`: held-out tasks x policies -> `data/{evaluation,episodes}.parquet`, `data/plots/evaluation.csv`.

Scripted baselines bound the scale (the lazy ones, never_asks, expert; a simulated world has no reference, so only the
lazy ones act in it); `base` is the student before any training, `sft` and `grpo` the trained ones, sampled at
temperature 1 and, beside it, greedily; `endpoint` is the model of `roles.policy`, if it has one. All but those scripts
also act in held-out problems (benchmark `reasoning`, by kind), with a script of their own, `constant`; the trained
ones, and `endpoint`, in the benchmarks of others that `evaluate.suites` names.

Launch: `synthagent evaluate` or `dvc repro evaluate`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from synthagent.episodes.endpoint import EndpointPolicy
from synthagent.episodes.environment import ModelEnvironment, live_models, needs_models
from synthagent.episodes.lazy import LAZY
from synthagent.episodes.mapping import Mappings
from synthagent.episodes.policy import Policy, ScriptedPolicy, Setting, Start
from synthagent.episodes.real_tools import task_of
from synthagent.episodes.scripted import SCRIPTS
from synthagent.episodes.turn import Question
from synthagent.episodes.world import fresh_world
from synthagent.errors import StoreError
from synthagent.judging.criteria import extract
from synthagent.judging.scoring import score_all
from synthagent.listed import AnyTask, listed_tasks
from synthagent.llm.client import Llm
from synthagent.llm.usage import Usage
from synthagent.params import Params
from synthagent.reasoning.evaluation import HeldOut, choose_problems, constant_policy, setting_of
from synthagent.reasoning.reward import score_reasoning
from synthagent.records import (
    BENCHMARK,
    REASONING,
    Decoding,
    EvaluatedEpisode,
    Evaluation,
    MappingEntry,
    Outcome,
    Problem,
    Reward,
    Rubric,
    Task,
    Trajectory,
)
from synthagent.showing.kinds import details_of_kinds, headline_of_kinds, printed_kinds, right_by_kind
from synthagent.showing.scoreboard import details, headline, plot_table, printed_tables
from synthagent.showing.statistics import PERFECT_WHERE, summarise
from synthagent.stage import Figures, Paths, progress, say
from synthagent.store import find_records, read_details, read_keys, read_records, write_records, write_text
from synthagent.suites.evaluate import evaluate_suite
from synthagent.suites.known import SUITES
from synthagent.suites.scores import Figure, figures_in, printed
from synthagent.teacher.twins import draw_pairs, in_pairs

if TYPE_CHECKING:
    from synthagent.student.policy import StudentPolicy

SPLITS = ("heldout", "unseen_domain")


@dataclass(frozen=True, slots=True)
class Acted:
    """An episode that was run to be evaluated."""

    trajectory: Trajectory
    decoding: Decoding


@dataclass(frozen=True, slots=True)
class ExpertPath:
    """The right outcome of a task (None: one in its own words), and how many questions and calls the expert needs."""

    outcome: Outcome | None
    questions: int
    calls: int


def choose_tasks(tasks: Sequence[AnyTask], count: int, seed: int) -> list[AnyTask]:
    """Up to `count` tasks of each held-out split, at random, twins together."""
    chosen: list[AnyTask] = []
    for split in SPLITS:
        of_split = [task for task in tasks if task.split == split]
        chosen += draw_pairs(in_pairs(of_split), count, random.Random(f"evaluate-{seed}-{split}"))
    return chosen


def expert_path(task: Task) -> ExpertPath | None:
    """What the expert's path through an executable task says; a simulated one has no reference to follow."""
    if task.world_kind != "executable" or not task.reference:
        return None
    path = extract(task, fresh_world(task))
    asked = [isinstance(each, Question) for turn in path.turns for each in turn.asked]
    outcome = next((known for known in PERFECT_WHERE if known == path.outcome), None)
    return ExpertPath(outcome, sum(asked), len(asked) - sum(asked))


def evaluation_of(acted: Acted, task: Task, scored: Reward, expert: ExpertPath | None) -> Evaluation | None:
    """A scored trajectory as a row of the evaluation; None where it has no score."""
    trajectory = acted.trajectory
    return _row(
        acted,
        scored,
        benchmark=BENCHMARK,
        twin_of=task.twin_of,
        split=task.split,
        difficulty=task.difficulty,
        outcome=expert.outcome if expert else None,
        extra_questions=max(0, trajectory.n_questions - expert.questions) if expert else None,
        extra_calls=max(0, trajectory.n_tool_calls - expert.calls) if expert else None,
    )


def evaluation_of_problem(acted: Acted, problem: Problem, scored: Reward) -> Evaluation | None:
    """As `evaluation_of`, of a problem: nobody knows more, so that every question is one too many."""
    asked = acted.trajectory.n_questions
    return _row(acted, scored, benchmark=REASONING, category=problem.kind, split=problem.split, extra_questions=asked)


def _row(acted: Acted, scored: Reward, **about: Any) -> Evaluation | None:
    """What all rows have in common, and what is told `about` this one."""
    if scored.reward is None or scored.reward_paper is None or scored.gate is None:
        return None
    trajectory = acted.trajectory
    return Evaluation(
        policy=trajectory.policy,
        task_id=trajectory.task_id,
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
        **about,
    )


def kept(acted: Acted, scored: Reward) -> EvaluatedEpisode:
    """An episode as it is kept, with its verdicts; its id tells how it was decoded, where a policy does both."""
    trajectory = acted.trajectory
    way = ".greedy" if acted.decoding == "greedy" else ""
    id = f"{trajectory.task_id}.{trajectory.policy}{way}.{trajectory.sample}"
    return EvaluatedEpisode(**{**dict(trajectory), "id": id}, decoding=acted.decoding, verdicts=scored.verdicts)


def stored_tables(seed: int) -> Iterator[str]:
    """The tables of the evaluation on disk, line by line: benchmark by benchmark."""
    rows = list(read_records(Paths.evaluation, Evaluation))
    for benchmark in sorted({row.benchmark for row in rows}, key=lambda name: (name != BENCHMARK, name)):
        yield f"benchmark {benchmark}"
        if benchmark == REASONING:
            yield from printed_kinds(right_by_kind(rows, seed))
        elif benchmark in SUITES:
            yield from printed(SUITES[benchmark], _stored_figures(benchmark))
        else:
            yield from printed_tables(summarise(rows, seed, benchmark))


def _stored_figures(suite: str) -> list[Figure]:
    path = Paths.details("evaluate")
    content = read_details(path)
    try:
        return figures_in(content["suites"][suite]["categories"])
    except (LookupError, TypeError):
        raise StoreError(f"{path}: has no figures of suite {suite}; run `dvc checkout` or `dvc repro`") from None


def act(chosen: Sequence[Task], heldout: HeldOut, params: Params, mappings: Mappings, usage: Usage) -> list[Acted]:
    """An episode of every policy on every task, and every problem, that it can act in."""
    starts = [Start(task) for task in chosen]
    with_reference = [start for start in starts if start.task.reference]
    with ExitStack() as stack:
        students = [*_students(params, chosen, mappings, usage, stack)]
        work: list[tuple[Policy, list[Start]]] = [
            (script, starts if script.name in LAZY else with_reference) for script in _scripts(params)
        ]
        work += [(student, starts) for student in students]
        of_models = params.roles.policy.backend == "openai"
        if of_models:
            answering = ModelEnvironment(params, llm := Llm(params, usage=usage), mappings)
            setting = Setting(answering, params.episode.max_turns)
            work.append((EndpointPolicy(llm, params, setting, name="endpoint"), starts))
        if problems := heldout.problems:
            setting, of_problems = setting_of(problems, params), [Start(task_of(problem)) for problem in problems]
            work.append((constant_policy(heldout, params.episode.max_turns), of_problems))
            work += [(replace(student, setting=setting, loop=None), of_problems) for student in students]
            if of_models:
                at_once = min(len(problems), params.llm.max_concurrency)
                here = stack.enter_context(setting.opened(at_once))
                work.append((EndpointPolicy(Llm(params, usage=usage), params, here, name="endpoint"), of_problems))
        running = [
            (policy, policy.run(those)) for policy, those in work
        ]  # all of them at once, where there are workers
        acted = (Acted(trajectory, policy.decoding) for policy, trajectories in running for trajectory in trajectories)
        return list(progress(acted, sum(len(those) for _, those in work), "evaluate"))


def _scripts(params: Params) -> Iterator[Policy]:
    """What bounds the scale. They act in worlds that answer at once; a tool that only a model answers fails them."""
    for name, script in SCRIPTS.items():
        yield ScriptedPolicy(name, script, Setting(max_turns=params.episode.max_turns))


def _students(
    params: Params, chosen: Sequence[Task], mappings: Mappings, usage: Usage, stack: ExitStack
) -> Iterator[StudentPolicy]:
    """The student before and after training: on several processes, or in this one if models answer them."""
    from synthagent.student.machine import threads_of
    from synthagent.student.processes import workers

    models = stack.enter_context(live_models(params, mappings, usage)) if needs_models(params, chosen) else None
    started = workers(params.compute, threads_of(params), "synthagent.student.policy")
    pool = None if models else stack.enter_context(started)
    from synthagent.student.named import named_student  # these take seconds, in which the workers do the same
    from synthagent.student.policy import StudentPolicy

    students = {name: named_student(name, params) for name in ("base", "sft", "grpo")}
    most = params.episode.max_turns
    setting = Setting(models.environment, most) if models else Setting(max_turns=most)
    loop = models.loop if models else None
    for name, student in students.items():
        for greedy in (False, True) if name != "base" else (False,):
            yield StudentPolicy(name, student, params, setting, greedy, pool, loop)


def run(params: Params) -> Figures:
    """Read deps, write outs, return the figures."""
    known = {*read_keys(Paths.rubrics, Rubric)}
    judgeable = [task for task in listed_tasks() if task.id in known]
    names = [task.id for task in choose_tasks(judgeable, params.evaluate.tasks, params.seed)]
    tasks = {task.id: task for task in find_records(Paths.tasks, Task, names)}
    rubrics = {rubric.task_id: rubric for rubric in find_records(Paths.rubrics, Rubric, names)}
    chosen = [tasks[name] for name in names]
    mappings = Mappings.load(read_records(Paths.mappings, MappingEntry), params.episode.mapping)
    usage = Usage(params.llm.prices)
    heldout = choose_problems(params)
    problems = {problem.id: problem for problem in heldout.problems}
    everything = act(chosen, heldout, params, mappings, usage)
    acted = [each for each in everything if each.trajectory.task_id in tasks]
    trajectories = [each.trajectory for each in acted]
    rewards = [scored.reward for scored in score_all(trajectories, tasks, rubrics, params, "evaluate", usage)]
    judged = list(zip(acted, rewards, strict=True))
    paths = {task.id: expert_path(task) for task in chosen}
    found = [evaluation_of(each, tasks[reward.task_id], reward, paths[reward.task_id]) for each, reward in judged]
    of_problems = [
        (each, score_reasoning(problems[each.trajectory.task_id], each.trajectory, params).reward)
        for each in everything
        if each.trajectory.task_id in problems
    ]
    found += [evaluation_of_problem(each, problems[reward.task_id], reward) for each, reward in of_problems]
    rows = [row for row in found if row is not None]
    errors = len(found) - len(rows)
    of_others = [evaluate_suite(params, suite, _in_suites(params), usage) for suite in params.evaluate.suites]
    rows += [row for suite in of_others for row in suite.rows]
    rows.sort(key=lambda row: (row.policy, row.decoding, row.split or "", row.task_id))
    write_records(Paths.evaluation, Evaluation, rows)
    episodes = sorted((kept(*each) for each in (*judged, *of_problems)), key=lambda episode: episode.id)
    write_records(Paths.episodes, EvaluatedEpisode, episodes)
    summary = summarise(rows, params.seed)
    write_text(Paths.plots / "evaluation.csv", plot_table(summary))
    board = right_by_kind(rows, params.seed)
    suites = (line for suite in of_others for line in ("", *suite.lines()))
    for line in (*printed_tables(summary), *([""] if board else []), *printed_kinds(board), *suites):
        say(line)
    calls = usage.metrics()
    return Figures(
        {**headline(summary), **headline_of_kinds(board), "errors": errors},
        {
            **details(summary),
            **({"reasoning": details_of_kinds(board)} if board else {}),
            **({"mapping": mappings.metrics()} if calls else {}),
            **({"suites": {suite.suite.name: suite.details() for suite in of_others}} if of_others else {}),
        },
        {"llm": calls},
    )


def _in_suites(params: Params) -> list[str]:
    """Who acts in the benchmarks of others."""
    return ["sft", "grpo", *(["endpoint"] if params.roles.policy.backend == "openai" else [])]
