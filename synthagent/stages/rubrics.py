"""Stage `rubrics`: tasks + demonstrations -> `data/demos.parquet`, `data/rubrics.parquet`, `data/dropped.parquet`.

A demonstration of the embedded teacher follows the reference with seeded imperfections, for variety. A rubric keeps its
task's constraints, sub-goals and required interactions; a task whose demonstrations leave most of the workflow
unexecuted gets none. With `roles.teacher.backend: openai` a language model demonstrates in the live world, and the
rubrics of simulated tasks are extracted from what it did (`synthagent.teacher.llm.demonstrate`).

Launch: `synthagent rubrics` or `dvc repro rubrics`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from synthagent.episodes.scripted import Style, play
from synthagent.episodes.world import World, compile_validators
from synthagent.errors import MissingBackendError
from synthagent.judging.criteria import extract
from synthagent.judging.reward import verdicts_by_check
from synthagent.params import Params, RubricsParams
from synthagent.records import Rejected, Rubric, Task, Trajectory
from synthagent.stage import Figures, Paths, progress, say
from synthagent.store import read_records, records_written, write_records


@dataclass(frozen=True, slots=True)
class Demonstrated:
    """A task's rubric, and the demonstrations it was checked against. `kept`: they executed enough of the workflow."""

    rubric: Rubric
    demos: tuple[Trajectory, ...]
    kept: bool


def demonstrate(task: Task, params: RubricsParams, seed: int) -> Demonstrated:
    """Roll out the teacher's demonstrations of a task (train tasks only) and build its rubric."""
    validators = compile_validators(task.tools)
    criteria = extract(task, World(task.world, validators)).criteria
    rubric = Rubric(task_id=task.id, criteria=criteria, coverage=1.0)
    if task.split != "train":
        return Demonstrated(rubric, (), kept=True)
    demos, reached = [], set[str]()
    for sample in range(params.demos_per_task):
        rng = random.Random(f"demos-{seed}-{task.id}-{sample}")
        episode = play(task, World(task.world, validators), Style(skill=params.skill), rng)
        demos.append(episode.trajectory("teacher", sample))
        reached |= {v.criterion for v in verdicts_by_check(rubric, episode.world) if v.passed}
    work = [c.id for c in criteria if c.kind != "constraint"]
    coverage = len(reached.intersection(work)) / len(work)
    rubric = rubric.model_copy(update={"coverage": coverage})
    return Demonstrated(rubric, tuple(demos), kept=coverage >= params.min_coverage)


@dataclass(frozen=True, slots=True)
class Written:
    """What the datasets hold, in numbers. `dropped`: by reason."""

    rubrics: int
    demos: int
    dropped: Mapping[str, int]
    criteria: int
    decidable: int

    def figures(self) -> Figures:
        """For the stage's files."""
        metrics = {
            "rubrics": self.rubrics,
            "demos": self.demos,
            "dropped": sum(self.dropped.values()),
            "criteria_per_task": round(self.criteria / max(1, self.rubrics), 2),
            "decidable_share": round(self.decidable / max(1, self.criteria), 4),
        }
        return Figures(metrics, {"dropped_by_reason": dict(sorted(self.dropped.items()))})


def write(demonstrated: Iterable[Demonstrated | Rejected]) -> Written:
    """Write the rubrics and demonstrations of the tasks that are kept, and the dropped ones."""
    demos, dropped = list[Trajectory](), list[Rejected]()
    rubrics = criteria = decidable = 0
    with records_written(Paths.rubrics, Rubric) as write_rubric:
        for row in demonstrated:
            if isinstance(row, Rejected):
                dropped.append(row)
            elif not row.kept:
                dropped.append(_dropped(row.rubric))
            else:
                write_rubric(row.rubric)
                demos.extend(row.demos)
                rubrics += 1
                criteria += len(row.rubric.criteria)
                decidable += sum(c.check is not None for c in row.rubric.criteria)
    write_records(Paths.dropped, Rejected, dropped)
    write_records(Paths.demos, Trajectory, sorted(demos, key=lambda demo: demo.id))
    say(f"{rubrics} rubrics, {len(demos)} demonstrations; {len(dropped)} dropped")
    return Written(rubrics, len(demos), Counter(row.reason for row in dropped), criteria, decidable)


def _dropped(rubric: Rubric) -> Rejected:
    detail = f"the demonstrations executed {rubric.coverage:.2f} of the workflow"
    return Rejected(
        id=rubric.task_id, stage="rubrics", reason="coverage", detail=detail, payload=rubric.model_dump_json()
    )


def run(params: Params) -> Figures:
    """Read deps, write outs, return the figures."""
    tasks = list(read_records(Paths.tasks, Task))
    if params.roles.teacher.backend == "openai":
        return _by_model(tasks, params)
    _check_worlds(tasks)
    shown = progress(tasks, len(tasks), "rubrics")
    return write(demonstrate(task, params.rubrics, params.seed) for task in shown).figures()


def _check_worlds(tasks: Sequence[Task]) -> None:
    """The embedded teacher follows references; a simulated task has none."""
    if simulated := [task.id for task in tasks if task.world_kind == "simulated"]:
        raise MissingBackendError(
            f"{Paths.tasks}: {len(simulated)} tasks, such as {simulated[0]}, have a simulated world, which the "
            "embedded teacher cannot demonstrate; set roles.teacher.backend to openai, or make the tasks again "
            "(`dvc repro`)"
        )


def _by_model(tasks: Sequence[Task], params: Params) -> Figures:
    """As `demonstrate`, by a language model; the demonstrations of held-out tasks serve their rubrics only."""
    from synthagent.episodes.cast import Cast
    from synthagent.episodes.mapping import HitCounter, Mappings
    from synthagent.llm.client import Llm
    from synthagent.llm.ordered import ordered
    from synthagent.teacher.llm.demonstrate import LiveDemos, demonstrate_live

    llm = Llm(params)
    mappings = Mappings(params.episode.mapping)
    cast = Cast(params, llm, mappings)
    hits = HitCounter(mappings)
    counts, coverages, rows = Counter[str](), list[float](), list[Demonstrated | Rejected]()

    async def work(task: Task) -> LiveDemos:
        return await demonstrate_live(task, cast, llm, params)

    live = ordered(work, tasks, params.llm.max_concurrency, llm.close)
    for task, row in zip(tasks, progress(live, len(tasks), "rubrics"), strict=True):
        counts["demonstrated"] += len(row.demos)
        counts["demo_errors"] += sum(demo.error is not None for demo in row.demos)
        counts["demo_answers"] += sum(demo.error is None and demo.end == "answer" for demo in row.demos)
        if row.extracted:
            counts["compiled_checks"] += row.extracted.compiled
            counts["verified_checks"] += row.extracted.verified
            counts["unreached_criteria"] += row.extracted.unreached
            coverages.append(row.extracted.rubric.coverage)
        if row.dropped or row.extracted is None:
            assert row.dropped is not None
            rows.append(row.dropped)
        else:
            demos = [hits.counted(task, demo) for demo in row.demos] if task.split == "train" else []
            rows.append(Demonstrated(row.extracted.rubric, tuple(demos), kept=True))
    written = write(rows)
    usage = llm.metrics()
    tokens = sum(t["prompt_tokens"] + t["completion_tokens"] for models in usage.values() for t in models.values())
    names = ("demonstrated", "demo_errors", "demo_answers", "compiled_checks", "verified_checks", "unreached_criteria")
    if tasks and not counts["demo_answers"]:
        say(
            "no demonstration ended with an answer; see data/dropped.parquet, and whether episode.max_turns, "
            "max_tokens and max_turn_tokens leave the teacher room"
        )
    figures = written.figures()
    metrics = {
        **figures.metrics,
        **{name: counts[name] for name in names},
        "coverage": round(fmean(coverages), 4) if coverages else None,
        "tokens_per_rubric": round(tokens / written.rubrics) if written.rubrics else None,
    }
    return Figures(metrics, {**(figures.details or {}), **cast.metrics()}, {"llm": usage})
