"""Speed and memory of stage `tasks` at growing sizes -> a table; exit 1 if it does not scale.

    .venv/bin/python -m benchmarks.generation --counts 1000,10000,100000

One run of the stage's own stream (propose, prove, write) up to the largest count, into a temporary folder, with the
embedded teacher and the repository's params. Rates are per second of CPU time on one core; the rate of the last tenth
is compared with that up to the first count.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from synthagent.params import Params
from synthagent.params_file import load_params
from synthagent.records import Task
from synthagent.stages.personas import built_in
from synthagent.stages.tasks import propose
from synthagent.store import records_written
from synthagent.teacher.acceptance import judge_proposals
from synthagent.teacher.domains import load_vocabulary
from synthagent.teacher.funnel import Funnel
from synthagent.teacher.llm.write import Proposal

ROOT = Path(__file__).resolve().parents[1]
MOST_RSS_MB = 1500
LEAST_RATE_KEPT = 0.8
WARM_UP = 100


@dataclass(frozen=True, slots=True)
class Mark:
    """Where the run stood once `proposed` proposals had been dealt with."""

    proposed: int
    accepted: int
    cpu_seconds: float
    peak_rss_mb: float


def rate(start: Mark, end: Mark) -> float:
    """Proposals per second of CPU time between two marks."""
    return (end.proposed - start.proposed) / (end.cpu_seconds - start.cpu_seconds)


def peak_rss_mb() -> float:
    """The most memory this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)


def generate(params: Params, at: frozenset[int]) -> list[Mark]:
    """Stream pairs of proposals through proofs into a file, up to the last place in `at`; a mark at each place."""
    personas, vocabulary = list(built_in()), load_vocabulary()
    funnel = Funnel()
    marks: list[Mark] = []

    def proposals() -> Iterator[tuple[Task, Task]]:
        # A pair is drawn only after the one before it was proved and passed on.
        last = max(at)
        for number in tqdm(range(0, last + 1, 2), desc="pairs", disable=None):
            if number in at:
                marks.append(Mark(number, funnel.tasks, time.process_time(), peak_rss_mb()))
            if number < last:
                yield propose(number // 2, personas, vocabulary, params.tasks, params.seed)

    with tempfile.TemporaryDirectory() as folder, records_written(Path(folder) / "tasks.parquet", Task) as write:
        for row in judge_proposals(proposals()):
            funnel.add(Proposal(row, {}))
            if isinstance(row, Task):
                write(row)
    return marks


def main(counts: list[int]) -> bool:
    """Print the table; whether memory and rate stay within bounds."""
    params = load_params(ROOT / "params.yaml")
    generate(params, frozenset({WARM_UP}))
    last_tenth = counts[-1] - counts[-1] // 10
    marks = {mark.proposed: mark for mark in generate(params, frozenset({0, last_tenth, *counts}))}
    table = Table("proposals", "accepted", "proposals/s", "tasks/s", "peak RSS MB")
    for column in table.columns:
        column.justify = "right"
    for start, end in [*pairwise([0, *counts]), (last_tenth, counts[-1])]:
        a, b = marks[start], marks[end]
        accepted = b.accepted - a.accepted
        tasks_rate = accepted / (b.cpu_seconds - a.cpu_seconds)
        row = (f"{accepted:,}", f"{rate(a, b):,.0f}", f"{tasks_rate:,.0f}", f"{b.peak_rss_mb:,.0f}")
        table.add_row(f"{start:,} - {end:,}", *row)
    kept = rate(marks[last_tenth], marks[counts[-1]]) / rate(marks[0], marks[counts[0]])
    peak = marks[counts[-1]].peak_rss_mb
    console = Console()
    console.print(table)
    console.print(f"rate of the last tenth against the first {counts[0]:,}: {kept:.2f} (at least {LEAST_RATE_KEPT})")
    console.print(f"peak RSS: {peak:,.0f} MB (at most {MOST_RSS_MB:,})")
    return kept >= LEAST_RATE_KEPT and peak <= MOST_RSS_MB


def counts_of(text: str) -> list[int]:
    """Parse `1000,10000`: growing multiples of 20, so that a tenth is of whole pairs."""
    counts = [int(part) for part in text.split(",")]
    if counts[0] < 20 or any(a >= b for a, b in pairwise(counts)) or any(count % 20 for count in counts):
        raise argparse.ArgumentTypeError("give growing multiples of 20, such as 1000,10000")
    return counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=counts_of, default=[1_000, 10_000, 100_000], help="where to take stock")
    sys.exit(0 if main(parser.parse_args().counts) else 1)
