"""Stage `rubrics`: tasks + demonstrations -> `data/demos.parquet`, `data/rubrics.parquet`, `data/dropped.parquet`.

A demonstration of the embedded teacher follows the reference, aloud, with seeded imperfections, for variety. A rubric
keeps its task's constraints, sub-goals and required interactions; a task whose demonstrations leave most of the
workflow unexecuted gets none, nor does its twin. With `roles.teacher.backend: openai` a language model demonstrates in
the live world, and the rubrics of simulated tasks are extracted from what it did
(`synthagent.teacher.llm.demonstrate`).

Launch: `synthagent rubrics` or `dvc repro rubrics`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING

from synthagent.episodes.episode import Episode, play
from synthagent.episodes.scripted import Style, reference
from synthagent.episodes.world import World, compile_validators
from synthagent.errors import MissingBackendError
from synthagent.judging.criteria import extract
from synthagent.judging.reward import verdicts_by_check
from synthagent.params import Params
from synthagent.records import Rejected, Rubric, Task, Trajectory
from synthagent.spread import shared_out
from synthagent.stage import Figures, Paths, progress, say
from synthagent.store import read_records, records_written, write_records
from synthagent.teacher.twins import twin_names

if TYPE_CHECKING:
    from synthagent.episodes.mapping import HitCounter
    from synthagent.teacher.llm.demonstrate import LiveDemos

_A_PIECE = 256  # tasks that a process demonstrates at a time


@dataclass(frozen=True, slots=True)
class Demonstrated:
    """A task's rubric, and the demonstrations it was checked against. `kept`: they executed enough of the workflow."""

    rubric: Rubric
    demos: tuple[Trajectory, ...]
    kept: bool


def demonstrate(task: Task, params: Params) -> Demonstrated:
    """Roll out the teacher's demonstrations of a task (train tasks only) and build its rubric."""
    validators = compile_validators(task.tools)
    criteria = extract(task, World(task.world, validators)).criteria
    rubric = Rubric(task_id=task.id, criteria=criteria, coverage=1.0)
    if task.split != "train":
        return Demonstrated(rubric, (), kept=True)
    demos, reached = [], list[set[str]]()
    for sample in range(params.rubrics.demos_per_task):
        rng = random.Random(f"demos-{params.seed}-{task.id}-{sample}")
        world = World(task.world, validators)
        episode = Episode(task, max_turns=params.episode.max_turns, sample=sample, world=world)
        play(episode, reference(episode, Style(skill=params.rubrics.skill, aloud=True, parallel=True), rng))
        demos.append(episode.trajectory("teacher"))
        reached.append({v.criterion for v in verdicts_by_check(rubric, episode.world) if v.passed})
    work = [c.id for c in criteria if c.kind != "constraint"]
    coverage = len(set[str]().union(*reached).intersection(work)) / len(work)
    if params.rubrics.from_demos is not None:
        shown = set[str]().union(*reached[: params.rubrics.from_demos])
        criteria = tuple(c for c in criteria if c.kind == "constraint" or c.id in shown)
    rubric = rubric.model_copy(update={"coverage": coverage, "criteria": criteria})
    return Demonstrated(rubric, tuple(demos), kept=coverage >= params.rubrics.min_coverage)


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


def write(demonstrated: Iterable[Demonstrated | Rejected], twins: Mapping[str, str]) -> Written:
    """Write the rubrics and demonstrations of the tasks that are kept, and the dropped ones."""
    demos, dropped = list[Trajectory](), list[Rejected]()
    rubrics = criteria = decidable = 0
    with records_written(Paths.rubrics, Rubric) as write_rubric:
        for row in both_or_neither(map(_kept_or_dropped, demonstrated), twins):
            if isinstance(row, Rejected):
                dropped.append(row)
            else:
                write_rubric(row.rubric)
                demos.extend(row.demos)
                rubrics += 1
                criteria += len(row.rubric.criteria)
                decidable += sum(c.check is not None for c in row.rubric.criteria)
    write_records(Paths.dropped, Rejected, sorted(dropped, key=lambda row: row.id))
    write_records(Paths.demos, Trajectory, sorted(demos, key=lambda demo: demo.id))
    say(f"{rubrics} rubrics, {len(demos)} demonstrations; {len(dropped)} dropped")
    return Written(rubrics, len(demos), Counter(row.reason for row in dropped), criteria, decidable)


def both_or_neither(
    rows: Iterable[Demonstrated | Rejected], twins: Mapping[str, str]
) -> Iterator[Demonstrated | Rejected]:
    """The rows in their order; where one of two twins is dropped, both are. Twins stand near each other.

    `twins`: task id -> its twin's; a task that has none is not in it.
    """
    waiting: dict[str, Demonstrated | Rejected] = {}
    come, gone = set[str](), set[str]()
    for row in rows:
        name = _name(row)
        come.add(name)
        if isinstance(row, Rejected):
            gone.add(name)
        waiting[name] = row
        while waiting:
            first = next(iter(waiting))
            twin = twins.get(first)
            if twin is not None and twin not in come:
                break
            yield _without_twin(waiting.pop(first), twin, gone)
    yield from (_without_twin(row, twins.get(name), gone) for name, row in waiting.items())


def _name(row: Demonstrated | Rejected) -> str:
    return row.id if isinstance(row, Rejected) else row.rubric.task_id


def _without_twin(row: Demonstrated | Rejected, twin: str | None, gone: Container[str]) -> Demonstrated | Rejected:
    if isinstance(row, Rejected) or twin not in gone:
        return row
    return _dropped(row.rubric, "twin", f"its twin {twin} was dropped")


def _kept_or_dropped(row: Demonstrated | Rejected) -> Demonstrated | Rejected:
    if isinstance(row, Rejected) or row.kept:
        return row
    return _dropped(row.rubric, "coverage", f"the demonstrations executed {row.rubric.coverage:.2f} of the workflow")


def _dropped(rubric: Rubric, reason: str, detail: str) -> Rejected:
    return Rejected(id=rubric.task_id, stage="rubrics", reason=reason, detail=detail, payload=rubric.model_dump_json())


def run(params: Params) -> Figures:
    """Read deps, write outs, return the figures."""
    tasks = list(read_records(Paths.tasks, Task))
    if params.roles.teacher.backend == "openai":
        return _by_model(tasks, params)
    _check_worlds(tasks)
    with closing(shared_out(params.compute, partial(demonstrate, params=params), tasks, _A_PIECE)) as demonstrated:
        return write(progress(demonstrated, len(tasks), "rubrics"), twin_names(tasks)).figures()


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
    from synthagent.episodes.environment import ModelEnvironment
    from synthagent.episodes.mapping import HitCounter, Mappings
    from synthagent.llm.client import Llm
    from synthagent.llm.ordered import ordered
    from synthagent.teacher.llm.demonstrate import demonstrate_live

    llm, mappings = Llm(params), Mappings(params.episode.mapping)
    environment, hits = ModelEnvironment(params, llm, mappings), HitCounter(mappings)

    async def work(task: Task) -> LiveDemos:
        return await demonstrate_live(task, environment, llm, params)

    live = ordered(work, tasks, params.llm.max_concurrency, llm.close)
    made = list(progress(live, len(tasks), "rubrics"))
    written = write((_kept(task, row, hits) for task, row in zip(tasks, made, strict=True)), twin_names(tasks))
    figures, usage = written.figures(), llm.metrics()
    metrics = {
        **figures.metrics,
        **_demonstrations(made),
        "tokens_per_rubric": round(llm.tokens / written.rubrics) if written.rubrics else None,
    }
    if tasks and not metrics["demo_answers"]:
        say(
            "no demonstration ended with an answer; see data/dropped.parquet, and whether episode.max_turns, "
            "max_tokens and max_turn_tokens leave the teacher room"
        )
    return Figures(metrics, {**(figures.details or {}), **environment.metrics()}, {"llm": usage})


def _kept(task: Task, made: LiveDemos, hits: HitCounter) -> Demonstrated | Rejected:
    """What becomes of a task that a model demonstrated."""
    if made.dropped:
        return made.dropped
    assert made.extracted
    demos = [hits.counted(task, demo) for demo in made.demos] if task.split == "train" else []
    return Demonstrated(made.extracted.rubric, tuple(demos), kept=True)


def _demonstrations(made: Sequence[LiveDemos]) -> dict[str, float | None]:
    """The demonstrations of a model, and what was read off them, in numbers."""
    demos = [demo for row in made for demo in row.demos]
    extracted = [row.extracted for row in made if row.extracted]
    return {
        "demonstrated": len(demos),
        "demo_errors": sum(demo.error is not None for demo in demos),
        "demo_answers": sum(demo.error is None and demo.end == "answer" for demo in demos),
        "compiled_checks": sum(one.compiled for one in extracted),
        "verified_checks": sum(one.verified for one in extracted),
        "unreached_criteria": sum(one.unreached for one in extracted),
        "coverage": round(fmean(one.rubric.coverage for one in extracted), 4) if extracted else None,
    }
