"""How reliable the judge is: `data/rollouts.parquet` + rubrics -> `data/judge_report.json` and a table.

The judge is asked n times about each trajectory of a sample, on all criteria, also on those that checks decide: what it
flips on, how much its score varies, and how far it agrees with the checks, with a second judge and with people.

Launch: `synthagent judge-report --repeats 5 --sample 50`.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from synthagent.episodes.episode import Episode
from synthagent.episodes.rerun import rerun
from synthagent.errors import ParamsError, RecordError, SynthAgentError
from synthagent.judging.agreement import Place, Verdicts, agreement, paired, rounded, score_variance, stability
from synthagent.judging.judge import Judged, judge
from synthagent.judging.labels import read_labels
from synthagent.judging.reward import score_by_rule, verdicts_by_check
from synthagent.judging.scoring import read_judgeable
from synthagent.llm.client import Llm
from synthagent.llm.ordered import ordered
from synthagent.params import Params
from synthagent.records import Rubric, Task, Trajectory
from synthagent.stage import Paths, progress
from synthagent.store import read_records, write_text

_KINDS = ("constraint", "subgoal", "interaction")


@dataclass(frozen=True, slots=True)
class Options:
    """What to compare. `second_model` at `second_base_url` (null: where the judge is), its key in the variable
    `second_key_env`; `labels`: CSV of people's verdicts."""

    repeats: int = 5
    sample: int = 50
    second_model: str | None = None
    second_base_url: str | None = None
    second_key_env: str | None = None
    labels: Path | None = None
    out: Path = Paths.data / "judge_report.json"


@dataclass(frozen=True, slots=True)
class Case:
    """A trajectory that is judged: run again, with what the checks say."""

    id: str
    task: Task
    rubric: Rubric
    episode: Episode
    checks: Verdicts


@dataclass
class JudgeRuns:
    """What one judge said, repeat by repeat."""

    verdicts: dict[Place, list[bool | None]] = field(default_factory=dict)
    scores: dict[str, list[float | None]] = field(default_factory=dict)
    scores_paper: dict[str, list[float | None]] = field(default_factory=dict)
    void: int = 0
    unknown: int = 0
    failed: int = 0
    tokens: int = 0

    def add(self, case: Case, judged: Judged, params: Params) -> None:
        """Count one repeat."""
        said = {verdict.criterion: verdict.passed for verdict in judged.verdicts}
        for criterion in case.rubric.criteria:
            self.verdicts.setdefault(Place(case.id, criterion.id), []).append(said.get(criterion.id))
        earned = None
        if not judged.missing:
            earned = score_by_rule(case.rubric.criteria, judged.verdicts, case.episode.end, params.reward)
        self.scores.setdefault(case.id, []).append(earned.reward if earned else None)
        self.scores_paper.setdefault(case.id, []).append(earned.reward_paper if earned else None)
        self.void, self.unknown = self.void + judged.void, self.unknown + judged.unknown
        self.failed, self.tokens = self.failed + judged.failed, self.tokens + judged.tokens


def judge_report(params: Params, options: Options) -> dict[str, Any]:
    """Run the comparison, write `options.out`, return what was written.

    Raises:
        SynthAgentError: no openai judge, no rollouts, bad labels, or a failing endpoint.
    """
    if params.roles.judge.backend != "openai":
        raise ParamsError(
            "params.yaml: roles.judge.backend: 'embedded' has no judge to report on; set it to openai, with base_url "
            "and model"
        )
    second = _second(params, options)
    labels = read_labels(options.labels) if options.labels else {}
    cases, left_out = _cases(params, options, labels)
    found = _ask(cases, params, second, options.repeats)
    report = summarise(cases, found[0], params.roles.judge.model or "")
    report = {"sampled": len(cases) + left_out, "left_out": left_out, "repeats": options.repeats, **report}
    if second:
        report["second_judge"] = compare_second(cases, found[0], found[1], second.roles.judge.model or "")
    if options.labels:
        report["labels"] = compare_labels(cases, found[0], labels)
    shown: dict[str, Any] = rounded(report)
    write_text(options.out, json.dumps(shown, indent=2) + "\n")
    return shown


def choose(trajectories: Sequence[Trajectory], count: int, seed: int, first: Sequence[str] = ()) -> list[Trajectory]:
    """Those named in `first` before any other, then at random, `count` in all, in the order of their ids."""
    named = set(first)
    drawn = random.Random(f"judge-report-{seed}").sample(list(trajectories), len(trajectories))
    drawn.sort(key=lambda trajectory: trajectory.id not in named)
    return sorted(drawn[:count], key=lambda trajectory: trajectory.id)


def summarise(cases: Sequence[Case], found: JudgeRuns, model: str) -> dict[str, Any]:
    """The judge beside itself and beside the checks."""
    kinds = {Place(case.id, c.id): c.kind for case in cases for c in case.rubric.criteria}
    checks = {place: passed for case in cases for place, passed in case.checks.items()}
    asked = sum(map(len, found.verdicts.values()))
    missing = sum(verdict is None for verdicts in found.verdicts.values() for verdict in verdicts)
    by_kind = {kind: {p: v for p, v in found.verdicts.items() if kinds[p] == kind} for kind in _KINDS}
    return {
        "judge": model,
        "trajectories": len(cases),
        "criteria": len(found.verdicts),
        **asdict(stability(found.verdicts)),
        "by_kind": {kind: asdict(stability(verdicts)) for kind, verdicts in by_kind.items()},
        "score_variance": score_variance(found.scores.values()),
        "score_variance_paper": score_variance(found.scores_paper.values()),
        "void_rate": found.void / asked if asked else None,
        "missing_rate": missing / asked if asked else None,
        "failed_calls": found.failed,
        "unknown_criteria": found.unknown,
        "agreement_with_checks": {
            **asdict(agreement(paired(found.verdicts, checks))),
            "by_kind": {kind: asdict(agreement(paired(verdicts, checks))) for kind, verdicts in by_kind.items()},
        },
        "tokens": found.tokens,
        "by_criterion": list(_by_criterion(cases, found)),
    }


def compare_second(cases: Sequence[Case], found: JudgeRuns, other: JudgeRuns, model: str) -> dict[str, Any]:
    """The second judge beside the first, and beside the checks."""
    checks = {place: passed for case in cases for place, passed in case.checks.items()}
    once = {place: verdicts[0] for place, verdicts in other.verdicts.items() if verdicts[0] is not None}
    return {
        "judge": model,
        **asdict(agreement(paired(found.verdicts, once))),
        "agreement_with_checks": asdict(agreement(paired(other.verdicts, checks))),
        "missing": sum(verdicts[0] is None for verdicts in other.verdicts.values()),
        "tokens": other.tokens,
    }


def compare_labels(cases: Sequence[Case], found: JudgeRuns, labels: Verdicts) -> dict[str, Any]:
    """The judge, and the checks, beside people. `unknown`: labels of nothing that was judged."""
    checks = {place: [passed] for case in cases for place, passed in case.checks.items()}
    return {
        "rows": len(labels),
        "unknown": sum(place not in found.verdicts for place in labels),
        "judge": asdict(agreement(paired(found.verdicts, labels))),
        "checks": asdict(agreement(paired(checks, labels))),
    }


def table(report: dict[str, Any]) -> Iterator[str]:
    """The report, line by line."""
    yield (
        f"judge {report['judge']}: {report['trajectories']} trajectories x {report['repeats']} repeats, "
        f"{report['criteria']} criteria, {report['tokens']:,} tokens; {report['left_out']} trajectories left out"
    )
    yield f"{'':<22} {'n':>6} {'flips':>7} {'differ':>7}"
    for name, row in (("all criteria", report), *report["by_kind"].items()):
        yield f"{name:<22} {row['places']:>6} {_show(row['flip_rate'])} {_show(row['disagreement'])}"
    paper = _show(report["score_variance_paper"])
    yield f"score variance {_show(report['score_variance'])}, by the paper's formula {paper}"
    yield (
        f"void {_show(report['void_rate'])}, missing {_show(report['missing_rate'])} of the verdicts; "
        f"{report['failed_calls']} calls failed"
    )
    yield f"{'agreement with':<22} {'n':>6} {'same':>7} {'kappa':>7}  passed by both / none / judge only / other only"
    others = [("checks", report["agreement_with_checks"])]
    others += [(f"checks, {kind}", row) for kind, row in report["agreement_with_checks"]["by_kind"].items()]
    if "second_judge" in report:
        others.append((report["second_judge"]["judge"], report["second_judge"]))
    if "labels" in report:
        others.append((f"people ({report['labels']['unknown']} unknown)", report["labels"]["judge"]))
    for name, row in others:
        counts = " / ".join(str(row[key]) for key in ("both_passed", "both_failed", "only_first", "only_second"))
        yield f"{name[:22]:<22} {row['n']:>6} {_show(row['accuracy'])} {_show(row['kappa'])}  {counts}"


def _show(value: float | None) -> str:
    return f"{'-':>7}" if value is None else f"{value:>7.4f}"


def _by_criterion(cases: Sequence[Case], found: JudgeRuns) -> Iterator[dict[str, Any]]:
    """Every criterion of every rubric, the most disputed first."""
    rows = []
    for task_id, rubric in sorted({case.task.id: case.rubric for case in cases}.items()):
        names = [case.id for case in cases if case.task.id == task_id]
        for c in rubric.criteria:
            stable = stability({Place(n, c.id): found.verdicts[Place(n, c.id)] for n in names})
            rows.append({"task_id": task_id, "criterion": c.id, "kind": c.kind, "text": c.text, **asdict(stable)})
    yield from sorted(rows, key=lambda row: (-(row["disagreement"] or 0.0), row["task_id"], row["criterion"]))


def _second(params: Params, options: Options) -> Params | None:
    """Params in which the second model judges. The first one's key goes nowhere but to the first one's server."""
    if options.second_model is None:
        if options.second_base_url or options.second_key_env:
            raise SynthAgentError("judge-report: --second-base-url says where, but not what: add --second-model NAME")
        return None
    where: dict[str, Any] = {"model": options.second_model}
    if options.second_base_url:
        where |= {"base_url": options.second_base_url, "api_key_env": None}
    if options.second_key_env:
        where["api_key_env"] = options.second_key_env
    judging = params.roles.judge.model_copy(update=where)
    return params.model_copy(update={"roles": params.roles.model_copy(update={"judge": judging})})


def _cases(params: Params, options: Options, labels: Verdicts) -> tuple[list[Case], int]:
    """The sampled trajectories that can be judged, and how many cannot."""
    every = list(read_records(Paths.rollouts, Trajectory))
    if not every:
        raise SynthAgentError(f"{Paths.rollouts}: there is no trajectory in it; run `dvc repro rollouts` first")
    chosen = choose(every, options.sample, params.seed, [place.trajectory_id for place in labels])
    tasks, rubrics = read_judgeable(chosen)
    cases = []
    for trajectory in chosen:
        task, rubric = tasks[trajectory.task_id], rubrics[trajectory.task_id]
        if trajectory.error is not None:
            continue
        try:
            episode = rerun(task, trajectory.messages, params.episode.max_turns)
        except RecordError:
            continue
        decided = {Place(trajectory.id, v.criterion): v.passed for v in verdicts_by_check(rubric, episode.world)}
        cases.append(Case(trajectory.id, task, rubric, episode, decided))
    if not cases:
        raise SynthAgentError(f"{Paths.rollouts}: none of the {len(chosen)} sampled trajectories can be judged")
    return cases, len(chosen) - len(cases)


def _ask(cases: Sequence[Case], params: Params, second: Params | None, repeats: int) -> list[JudgeRuns]:
    """What the judge said, and the second one (once)."""
    llms = [Llm(one) for one in (params, second) if one is not None]
    found = [JudgeRuns() for _ in llms]
    items = [(0, case, repeat) for case in cases for repeat in range(repeats)]
    items += [(1, case, 0) for case in cases if second]

    async def work(item: tuple[int, Case, int]) -> Judged:
        who, case, repeat = item
        try:
            return await judge(case.episode.messages, case.task, case.rubric.criteria, llms[who], repeat)
        except SynthAgentError as error:
            if who:  # the role it names is not to blame, but the options
                raise SynthAgentError(f"judge-report: the second judge, as --second-* has it: {error}") from None
            raise

    async def close() -> None:
        await asyncio.gather(*(llm.close() for llm in llms))

    answers = ordered(work, items, params.llm.max_concurrency, close)
    for (who, case, _), judged in zip(items, progress(answers, len(items), "judge-report"), strict=True):
        found[who].add(case, judged, params)
    return found
