"""`synthagent variety`: files of tasks and installed suites -> a table of how varied each is, sets as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthagent.errors import InputError
from synthagent.llm.embeddings import embeddings_of
from synthagent.params import EmbeddingsParams, Params
from synthagent.records import Task
from synthagent.store import read_records
from synthagent.suites.problems import chosen_suites, problems_of
from synthagent.teacher.variety import WORDS, Variety, VarietyCount

_COLUMNS = {
    "tasks": "tasks",
    "instructions": "instructions",
    "words": "words",
    "tools": "tools",
    "shapes": "shapes",
    "trigrams": "3-grams",
    "trigram_share": "share",
    "compression": "zlib",
    "spread": "spread",
}
NOTES = (
    "instructions, tools (by name), shapes of tools (their parameters' types) and 3-grams of instructions: different "
    "ones; two tasks that are twins have one instruction",
    "share: of different 3-grams; zlib: how much smaller it makes the text, and more says the same again; both are "
    "means over samples of {sample:,} words of each set",
    "spread: mean cosine distance of two instructions' vectors, where --embeddings names a model",
)


@dataclass(frozen=True, slots=True)
class VarietyTable:
    """Sets by their name, in order."""

    sets: Mapping[str, Variety]

    def lines(self) -> list[str]:
        """As text: a heading, a row a set, and what the columns are."""
        rows = [["", *_COLUMNS.values()]]
        rows += [[name, *(_written(getattr(variety, key)) for key in _COLUMNS)] for name, variety in self.sets.items()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
            for row in rows
        ]
        sample = next(iter(self.sets.values())).sample
        return [*(line.rstrip() for line in lines), *(note.format(sample=sample) for note in NOTES)]


def variety_table(
    files: Sequence[Path], suites: str, embeddings: EmbeddingsParams | None, params: Params
) -> VarietyTable:
    """Measure files of tasks, and suites: `installed`, `none`, or names with commas between.

    Raises:
        SynthAgentError: a file, a suite or a model cannot be had, or a set has no words.
    """
    counts = {str(file): _of_tasks(file) for file in files}
    for suite in chosen_suites(suites):
        count = VarietyCount()
        for problem in problems_of(suite):
            count.add(problem.instructions, ((tool.name, tool.shape) for tool in problem.tools))
        counts[f"{suite.name} {suite.environment.version}"] = count
    if not counts:
        raise InputError("variety: nothing to measure; name a file with --tasks, or a suite with --suite")
    for name, count in counts.items():
        if not count.words:
            raise InputError(f"{name}: no words in its instructions; name a file that has tasks")
    sample = min(WORDS, *(count.words for count in counts.values()))
    model = embeddings_of(embeddings, params.llm) if embeddings else None
    return VarietyTable({name: count.variety(sample, model) for name, count in counts.items()})


def _of_tasks(file: Path) -> VarietyCount:
    count = VarietyCount()
    for task in read_records(file, Task):
        count.add_task(task)
    return count


def _written(value: float | None) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.2f}"
