"""The paper's table (arXiv 2601.22511): its 14 datasets, what it reports for them, and what was measured here.

Rows of an evaluation -> a line a dataset. What was not measured is said so; of a part, how many of its problems. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from synthagent.records import Evaluation
from synthagent.showing.statistics import Interval, Value, interval

MODELS = ("Qwen3-14B", "Qwen3-32B", "ToolStar-14B", "SynthAgent-14B")
NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset of the paper. `figures`: of `MODELS`, in percent; nothing where none is kept here.

    `benchmark` and `category`: what rows of our evaluation are about the same problems; None: no suite here has them.
    """

    name: str
    problems: int | None
    benchmark: str | None = None
    category: str | None = None
    figures: tuple[float, ...] = ()


DATASETS = (
    Dataset("TAU-2 airline", 50, "tau2", "airline", (22.0, 22.5, 18.0, 40.0)),
    Dataset("TAU-2 retail", 114, "tau2", "retail", (25.4, 27.6, 30.7, 44.7)),
    Dataset("TAU-2 telecom", 114, "tau2", "telecom", (39.5, 44.7, 40.4, 58.6)),
    Dataset("BFCL-V4 multi-turn base", 200, "bfcl", "multi_turn_base", (40.0, 50.5, 56.5, 57.0)),
    Dataset("BFCL-V4 multi-turn miss-func", 200, "bfcl", "multi_turn_miss_func", (34.5, 43.0, 35.5, 46.5)),
    Dataset("BFCL-V4 multi-turn miss-param", 200, "bfcl", "multi_turn_miss_param", (26.5, 30.5, 29.5, 31.0)),
    Dataset("BFCL-V4 multi-turn long-context", 200, "bfcl", "multi_turn_long_context", (26.5, 33.0, 39.5, 46.0)),
    Dataset("AIME24", 30),
    Dataset("AIME25", 30),
    Dataset("HMMT25", 30),
    Dataset("OlympiadBench", 674),
    Dataset("FRAMES", None),
    Dataset("WebWalker", 200),
    Dataset("xBench", 100),
)
NOTES = (
    "ours: mean of the suite's own scores, its 95% interval, of how many of the problems; what noop has, which says "
    "nothing, is had for nothing",
    "the paper's TAU-2 is a mean of four tries (Avg@4), with a model of its choice as the user; what it reports on "
    "mathematics and search is not kept here",
    "models, prompts and versions of the benchmarks are not those of the paper",
)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a policy came to in a dataset, in percent. `problems`: how many were run; `tries`: of each, at most."""

    policy: str
    decoding: str
    score: Interval
    problems: int
    tries: int


@dataclass(frozen=True, slots=True)
class PaperRow:
    """A line of the table."""

    dataset: Dataset
    ours: tuple[Measured, ...]

    def words(self) -> tuple[str, ...]:
        """What was measured here, a policy each; or that nothing was."""
        return tuple(_words(self.dataset, measured) for measured in self.ours) or (NOT_MEASURED,)


def paper_table(rows: Sequence[Evaluation], seed: int) -> tuple[PaperRow, ...]:
    """All datasets, in the paper's order."""
    groups: dict[tuple[str, str | None], list[Evaluation]] = defaultdict(list)
    for row in rows:
        groups[row.benchmark, row.category].append(row)
    return tuple(
        PaperRow(dataset, _measured(groups.get((dataset.benchmark, dataset.category), ()), seed))
        if dataset.benchmark
        else PaperRow(dataset, ())
        for dataset in DATASETS
    )


def printed(table: Sequence[PaperRow]) -> Iterator[str]:
    """The table, line by line."""
    width = max(len(row.dataset.name) for row in table)
    yield "  ".join([f"{'dataset of the paper':<{width}}", f"{'n':>4}", *MODELS, "ours"])
    for row in table:
        cells = [f"{figure:>{len(model)}}" for model, figure in figures(row.dataset).items()]
        count = "" if row.dataset.problems is None else str(row.dataset.problems)
        yield "  ".join([f"{row.dataset.name:<{width}}", f"{count:>4}", *cells, "; ".join(row.words())])
    yield from NOTES


def figures(dataset: Dataset) -> Mapping[str, str]:
    """What the paper reports for each model, as text."""
    return {model: f"{dataset.figures[number]:.1f}" if dataset.figures else "-" for number, model in enumerate(MODELS)}


def _measured(rows: Sequence[Evaluation], seed: int) -> tuple[Measured, ...]:
    groups: dict[tuple[str, str], list[Evaluation]] = defaultdict(list)
    for row in rows:
        groups[row.policy, row.decoding].append(row)
    found = []
    for (policy, decoding), group in sorted(groups.items()):
        problems = {row.task_id for row in group}
        score = interval([[Value(row.task_id, 100 * row.reward) for row in group]], seed)
        found.append(Measured(policy, decoding, score, len(problems), max(row.sample for row in group) + 1))
    return tuple(sorted(found, key=lambda measured: measured.policy == "noop"))


def _words(dataset: Dataset, measured: Measured) -> str:
    score = measured.score
    of = "all" if measured.problems == dataset.problems else f"{measured.problems} of {dataset.problems}"
    tries = f", Avg@{measured.tries}" if measured.tries > 1 else ""
    how = "" if measured.decoding == "scripted" else f" {measured.decoding}"
    return f"{measured.policy}{how} {score.mean:.1f} [{score.low:.1f}, {score.high:.1f}], {of}{tries}"
