"""`synthagent decontaminate`: tasks on disk x installed suites and files -> what was compared, and hits, in lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from synthagent.errors import SuiteError
from synthagent.llm.embeddings import embeddings_of
from synthagent.params import EmbeddingsParams, Params
from synthagent.problems import read_problems
from synthagent.records import Task
from synthagent.stage import progress
from synthagent.store import read_keys, read_records
from synthagent.suites.problems import chosen_suites, problems_of
from synthagent.teacher.decontaminate import Decontamination, Hit

_SHOWN = 20
_TOGETHER = 512


@dataclass(frozen=True, slots=True)
class Decontaminated:
    """What a comparison came to. `lines`: to be read."""

    hits: list[Hit]
    lines: list[str]


def decontaminate(
    tasks: Path, suites: str, files: Sequence[Path], embeddings: EmbeddingsParams | None, params: Params
) -> Decontaminated:
    """Compare the tasks of a file. `suites`: `installed`, `none`, or names with commas between.

    Raises:
        SynthAgentError: tasks, a file, a suite or a model cannot be had, or there is nothing to compare with.
    """
    chosen = chosen_suites(suites)
    problems = [problem for suite in chosen for problem in problems_of(suite)]
    problems += [problem for file in files for problem in read_problems(file, "--files")]
    if not problems:
        raise SuiteError("decontaminate: nothing to compare with; `make bench-suites`, or give --files")
    comparison = Decontamination(problems, embeddings_of(embeddings, params.llm) if embeddings else None)
    rows, total = read_records(tasks, Task), len(read_keys(tasks, Task))
    hits: list[Hit] = []
    for _ in progress(range(0, total, _TOGETHER), -(-total // _TOGETHER), "compared"):
        hits += [hit for found in comparison.hits(list(islice(rows, _TOGETHER))) for hit in found]
    return Decontaminated(hits, lines_of(comparison, hits))


def lines_of(comparison: Decontamination, hits: Sequence[Hit]) -> list[str]:
    """What was compared, and the hits."""
    told = comparison.details()
    lines = [
        f"{told['tasks']:,} tasks compared with {told['problems']:,} problems: {told['texts']:,} texts (of "
        f"{told['texts_too_short']:,} too few words to be compared as a whole), {told['tools']:,} tools, "
        f"{told['answers']:,} answers"
    ]
    for source, counts in told["sources"].items():
        parts = ", ".join(f"{category} {count:,}" if category else f"{count:,}" for category, count in counts.items())
        lines.append(f"  {source}: {parts}")
    lines.append(f"{told['tasks_hit']:,} tasks hit: " + ", ".join(f"{rule} {n:,}" for rule, n in told["hits"].items()))
    lines += [f"  {hit.task_id}: {hit.detail}" for hit in hits[:_SHOWN]]
    if len(hits) > _SHOWN:
        lines.append(f"  .. and {len(hits) - _SHOWN:,} more")
    if told["tools_too_common"]:
        common = ", ".join(f"{tool} in {count:,} tasks" for tool, count in told["tools_too_common"].items())
        lines.append(f"shared, but too common to be a hit: {common}")
    return lines
