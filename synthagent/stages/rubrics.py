"""Stage `rubrics`: tasks + demonstrations -> `data/demos.parquet`, `data/rubrics.parquet`, `data/dropped.parquet`.

A demonstration follows the reference with seeded imperfections, for variety. A rubric keeps its task's constraints,
sub-goals and required interactions; a task whose demonstrations leave most of the workflow unexecuted gets none.

Launch: `synthagent rubrics` or `dvc repro rubrics`.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from synthagent.criteria import extract
from synthagent.params import Params, RubricsParams
from synthagent.records import Rejected, Rubric, Task, Trajectory
from synthagent.reward import verdicts_by_check
from synthagent.scripted import Style, play
from synthagent.stage import Paths, progress, running, say
from synthagent.store import read_records, write_records
from synthagent.world import World, compile_validators


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


@dataclass
class Collector:
    """Splits what comes by into demonstrations and rubrics, and counts."""

    demos: list[Trajectory] = field(default_factory=list)
    criteria: int = 0
    decidable: int = 0
    rubrics: int = 0
    dropped: list[Rejected] = field(default_factory=list)

    def rubrics_of(self, demonstrated: Iterable[Demonstrated]) -> Iterator[Rubric]:
        """Yield the rubrics of the tasks that are kept; keep their demonstrations."""
        for row in demonstrated:
            if not row.kept:
                self.dropped.append(_dropped(row.rubric))
                continue
            self.demos.extend(row.demos)
            self.rubrics += 1
            self.criteria += len(row.rubric.criteria)
            self.decidable += sum(c.check is not None for c in row.rubric.criteria)
            yield row.rubric


def _dropped(rubric: Rubric) -> Rejected:
    detail = f"the demonstrations executed {rubric.coverage:.2f} of the workflow"
    return Rejected(
        id=rubric.task_id, stage="rubrics", reason="coverage", detail=detail, payload=rubric.model_dump_json()
    )


def run(params: Params) -> None:
    """Read deps, write outs."""
    with running("rubrics", Paths.demos, Paths.rubrics, Paths.dropped) as metrics:
        tasks = list(read_records(Paths.tasks, Task))
        collector = Collector()
        shown = progress(tasks, len(tasks), "rubrics")
        demonstrated = (demonstrate(task, params.rubrics, params.seed) for task in shown)
        write_records(Paths.rubrics, Rubric, collector.rubrics_of(demonstrated))
        write_records(Paths.dropped, Rejected, collector.dropped)
        write_records(Paths.demos, Trajectory, sorted(collector.demos, key=lambda demo: demo.id))
        metrics |= {
            "rubrics": collector.rubrics,
            "demos": len(collector.demos),
            "dropped": len(collector.dropped),
            "criteria_per_task": round(collector.criteria / max(1, collector.rubrics), 2),
            "decidable_share": round(collector.decidable / max(1, collector.criteria), 4),
        }
        say(f"{collector.rubrics} rubrics, {len(collector.demos)} demonstrations; {len(collector.dropped)} dropped")
