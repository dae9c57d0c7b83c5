"""Stage `reasoning`: problems with a known answer -> `data/reasoning.parquet`, and demonstrations of solving them.

Problems of reasoning-gym, or of a file, are put into scenarios with a persona and solved `reasoning.attempts` times
with the real Python tool: by code that the embedded solver writes, or by the model of an openai teacher. Kept are those
on whose answer all attempts agree, if it is the known one; what is not goes to `data/reasoning_rejected.parquet`. Right
attempts at train problems are the demonstrations, `data/reasoning_demos.parquet`. Where no code can be run in isolation
there are none, and the stage says so.

Launch: `synthagent reasoning` or `dvc repro reasoning`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from synthagent.episodes.episode import Environment, Episode, play
from synthagent.episodes.real_tools import real_environment, task_of, tools_of
from synthagent.errors import ParamsError
from synthagent.llm.client import Llm
from synthagent.llm.ordered import ordered
from synthagent.params import Params, ReasoningParams
from synthagent.reasoning import gym
from synthagent.reasoning.agreement import Solved, agreed, demonstrations, distinct, scorable, split_of
from synthagent.reasoning.by_model import rewrite_and_solve
from synthagent.reasoning.code import RECIPES
from synthagent.reasoning.given import read_given
from synthagent.reasoning.solver import attempt, is_sound, plan
from synthagent.reasoning.weave import weave
from synthagent.records import Persona, Problem, Rejected, Trajectory
from synthagent.sandbox import available
from synthagent.stage import Figures, Paths, progress, say
from synthagent.store import read_records, write_records


@dataclass(slots=True)
class SiftedProblems:
    """What becomes of proposals. `funnel`: how many were left after each step."""

    kept: list[Problem] = field(default_factory=list)
    demos: list[Trajectory] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    funnel: dict[str, int] = field(default_factory=dict)
    proposed: Counter[str] = field(default_factory=Counter)

    def sift(self, step: str, rows: Iterable[Problem | Rejected]) -> list[Problem]:
        """The problems among the rows; the others are rejected at this step."""
        left = []
        for row in rows:
            if isinstance(row, Problem):
                left.append(row)
            else:
                self.rejected.append(row)
        self.funnel[step] = len(left)
        return left


def run(params: Params) -> Figures:
    """Read deps, write outs, return the figures."""
    outcome, llm = SiftedProblems(), None
    if (lacking := _lacking(params.reasoning)) is None:
        _check_solver(params)
        llm = Llm(params) if params.roles.teacher.backend == "openai" else None
        personas = list(read_records(Paths.personas, Persona))
        _solve(_posed(outcome, params), personas, llm, outcome, params)
    else:
        say(f"0 problems: {lacking}")
    write_records(Paths.reasoning, Problem, outcome.kept)
    write_records(Paths.reasoning_demos, Trajectory, sorted(outcome.demos, key=lambda demo: demo.id))
    write_records(Paths.reasoning_rejected, Rejected, sorted(outcome.rejected, key=lambda row: row.id))
    if lacking is None:
        say(
            f"{len(outcome.kept)} of {outcome.proposed.total() or len(outcome.rejected)} problems kept; "
            f"rejected {dict(Counter(row.reason for row in outcome.rejected).most_common())}; "
            f"{len(outcome.demos)} demonstrations"
        )
    return _figures(outcome, llm)


def _lacking(params: ReasoningParams) -> str | None:
    """Why there are to be no problems."""
    if not params.count:
        return "reasoning.count is 0"
    if (lacking := available(params.python.isolation)) is not None:
        return f"no code can be run here, so that the reasoning half is left out: {lacking}"
    return gym.lacking() if params.path is None else None


def _check_solver(params: Params) -> None:
    """The embedded solver has code for some kinds of reasoning-gym alone."""
    chosen = params.reasoning
    if params.roles.teacher.backend == "openai" or not chosen.attempts:
        return
    remedy = "set roles.teacher.backend to openai, or reasoning.attempts to 0, which takes problems as they are"
    if chosen.path is not None:
        raise ParamsError(f"params.yaml: reasoning.path: the embedded solver cannot solve problems of a file; {remedy}")
    for name, weight in sorted(chosen.kinds.items()):
        if weight and name not in RECIPES:
            raise ParamsError(
                f"params.yaml: reasoning.kinds.{name}: the embedded solver has no code for it, but for "
                f"{', '.join(sorted(RECIPES))}; leave it out, or {remedy}"
            )


def _posed(outcome: SiftedProblems, params: Params) -> list[Problem]:
    """The proposals that can be solved: readable, distinct, scorable."""
    chosen = params.reasoning
    if chosen.path is None:
        rows = list(gym.pose(chosen.kinds, chosen.settings, chosen.count, params.seed))
    else:
        has_search = chosen.search.corpus is not None or chosen.search.url is not None
        rows = list(read_given(Path(chosen.path), chosen.count, has_search))
    outcome.funnel["proposed"] = len(rows)
    outcome.proposed.update(row.kind for row in rows if isinstance(row, Problem))
    readable = outcome.sift("readable", rows)
    alone = outcome.sift("distinct", distinct(readable))
    fit = outcome.sift("scorable", map(scorable, progress(alone, len(alone), "reasoning")))
    return [split_of(problem, chosen.heldout_share) for problem in fit]


def _solve(
    problems: Sequence[Problem], personas: Sequence[Persona], llm: Llm | None, outcome: SiftedProblems, params: Params
) -> None:
    """Put the problems into scenarios, have them solved, and keep those that agree."""
    told = {problem.id: personas[number % len(personas)] for number, problem in enumerate(problems)}
    solved = _by_code(problems, told, params) if llm is None else _by_model(problems, told, llm, params)
    with closing(solved):
        for one in progress(solved, len(problems), "reasoning"):
            verdict = agreed(one.problem, one.attempts)
            if isinstance(verdict, Rejected):
                outcome.rejected.append(verdict)
                continue
            outcome.kept.append(verdict)
            if verdict.split == "train":
                outcome.demos += demonstrations(one.shown)
    lost = Counter(row.reason for row in outcome.rejected)
    outcome.funnel["answered"] = len(problems) - lost["unanswered"]
    outcome.funnel["agreed"] = outcome.funnel["answered"] - lost["disagree"]
    outcome.funnel["right"] = len(outcome.kept)


def _by_code(
    problems: Sequence[Problem], personas: Mapping[str, Persona], params: Params
) -> Generator[Solved, None, None]:
    woven = [weave(problem, personas[problem.id], params.seed) for problem in problems]
    at_once = params.compute.processes
    opened = real_environment(params.reasoning, tools_of(woven), at_once)
    with opened as environment, ThreadPoolExecutor(at_once) as threads:
        yield from threads.map(partial(_solved_by_code, environment, params), woven)


def _solved_by_code(environment: Environment, params: Params, problem: Problem) -> Solved:
    attempts, task = [], task_of(problem)
    for sample in range(params.reasoning.attempts):
        episode = Episode(task, environment, max_turns=params.episode.max_turns, sample=sample)
        play(episode, attempt(plan(problem, sample, params.reasoning.error_rate, params.seed), episode))
        attempts.append(episode.trajectory("teacher"))
    return Solved(problem, tuple(attempts), tuple(one for one in attempts if is_sound(problem, one)))


def _by_model(
    problems: Sequence[Problem], personas: Mapping[str, Persona], llm: Llm, params: Params
) -> Generator[Solved, None, None]:
    at_once = params.llm.max_concurrency
    with real_environment(params.reasoning, tools_of(problems), at_once) as environment:

        async def work(problem: Problem) -> Solved:
            return await rewrite_and_solve(problem, personas[problem.id], llm, environment, params)

        with closing(ordered(work, problems, at_once, llm.close)) as solved:
            yield from solved


def _figures(outcome: SiftedProblems, llm: Llm | None) -> Figures:
    kept, proposed = Counter(problem.kind for problem in outcome.kept), outcome.funnel.get("proposed", 0)
    heldout = sum(problem.split == "heldout" for problem in outcome.kept)
    metrics = {
        "proposed": proposed,
        "kept": len(outcome.kept),
        "share_kept": round(len(outcome.kept) / proposed, 4) if proposed else None,
        "heldout": heldout,
        "demos": len(outcome.demos),
        "kinds": len(kept),
        "disagree": sum(row.reason == "disagree" for row in outcome.rejected),
        "wrong": sum(row.reason == "wrong" for row in outcome.rejected),
    }
    details: dict[str, Any] = {
        "funnel": outcome.funnel,
        "rejected": dict(sorted(Counter(row.reason for row in outcome.rejected).items())),
        "kinds": {kind: {"proposed": count, "kept": kept[kind]} for kind, count in sorted(outcome.proposed.items())},
        "splits": {"train": len(outcome.kept) - heldout, "heldout": heldout},
        "calls_of_demos": dict(sorted(Counter(str(demo.n_tool_calls) for demo in outcome.demos).items())),
    }
    if llm is not None:
        said = Counter(str(problem.provenance.get("rewrite", "")).partition("'")[0] for problem in outcome.kept)
        details["rewrites_kept"] = dict(sorted(said.items()))
    return Figures(metrics, details, {"llm": llm.metrics()} if llm else {})
