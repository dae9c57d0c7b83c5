"""Speed of our executable world against two peers, measured in the same run -> a table; exit 1 if a target is missed.

    benchmarks/peers/setup.sh; .venv/bin/python -m benchmarks.world_speed

Both comparisons go from a parsed call to the text that the agent reads, on one core, in CPU time:

    reads    a read-only tool of a world at rest; the peer is tau2-bench's mock domain
    replay   the calls of reference solutions, from fresh worlds; the peer is BFCL's multi-turn simulators

On our side that includes validation of every call against its tool's JSON schema, and its entry in the event log.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from benchmarks.clock import Batch, calls_per_second
from synthagent.episodes.episode import Episode
from synthagent.episodes.scripted import solve
from synthagent.episodes.world import ToolEvent, World, compile_validators
from synthagent.params_file import load_params
from synthagent.records import Task
from synthagent.stages.personas import built_in
from synthagent.stages.tasks import propose
from synthagent.teacher.domains import load_vocabulary

ROOT = Path(__file__).resolve().parents[1]
TASKS = 200
REPEATS = 20
"""How often a batch makes each call: a batch is then some tens of milliseconds."""


@dataclass(frozen=True, slots=True)
class Case:
    """A task's world and the calls of its reference solution, all of which succeed."""

    fresh: Callable[[], World]
    calls: tuple[tuple[str, dict[str, Any]], ...]
    reads: tuple[tuple[str, dict[str, Any]], ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Our rate against a peer's, and the ratio we aim at."""

    name: str
    peer: str
    target: float
    ours: Callable[[], Iterator[Batch]]


def proposals() -> list[Task]:
    """The first tasks that the embedded teacher proposes, with the repository's params."""
    params, personas, vocabulary = load_params(ROOT / "params.yaml"), list(built_in()), load_vocabulary()
    pairs = (propose(number, personas, vocabulary, params.tasks, params.seed) for number in range(TASKS // 2))
    return [task for pair in pairs for task in pair]


def case_of(task: Task) -> Case:
    """Play the reference solution and keep its calls."""
    fresh = partial(World, task.world, compile_validators(task.tools))
    world = fresh()
    solve(Episode(task, world=world))
    calls = tuple((e.tool, dict(e.args)) for e in world.events if isinstance(e, ToolEvent) and e.ok)
    reads = tuple(call for call in calls if all(effect.op in ("get", "find") for effect in task.world.effects[call[0]]))
    return Case(fresh, calls, reads)


def run_calls(work: Sequence[tuple[World, Sequence[tuple[str, dict[str, Any]]]]]) -> int:
    """Make the calls; render each observation as an episode does."""
    count = 0
    for world, calls in work:
        for name, args in calls:
            json.dumps(world.call(name, args).result)
        count += len(calls)
    return count


def check(worlds: Sequence[World]) -> None:
    """Every call must have gone well."""
    refused = [event for world in worlds for event in world.events if isinstance(event, ToolEvent) and not event.ok]
    if refused:
        raise RuntimeError(f"{len(refused)} calls refused, the first is {refused[0]}")


def reads(cases: Sequence[Case]) -> Iterator[Batch]:
    """Read-only calls, again and again in the same worlds; the logs are emptied between batches."""
    work = [(case.fresh(), case.reads * REPEATS) for case in cases if case.reads]
    while True:
        yield partial(run_calls, work)
        check([world for world, _ in work])
        for world, _ in work:
            world.events.clear()


def replay(cases: Sequence[Case]) -> Iterator[Batch]:
    """Reference solutions; every batch has fresh worlds."""
    while True:
        work = [(case.fresh(), case.calls) for case in cases for _ in range(REPEATS)]
        yield partial(run_calls, work)
        check([world for world, _ in work])


def peer_rate(peer: str, seconds: float) -> float:
    """Run a peer's module in its own environment."""
    python = ROOT / f".venv-{peer}" / "bin" / "python"
    if not python.exists():
        sys.exit(f"no .venv-{peer}: run benchmarks/peers/setup.sh first")
    command = [str(python), "-m", f"benchmarks.peers.{peer}", "--seconds", str(seconds)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return float(json.loads(done.stdout)["calls_per_s"])


def measure(comparisons: Sequence[Comparison], rounds: int, seconds: float) -> dict[str, list[tuple[float, float]]]:
    """Rates (ours, the peer's) a round, by comparison. The sides take turns, so that both see the same machine."""
    rates: dict[str, list[tuple[float, float]]] = {comparison.name: [] for comparison in comparisons}
    for _ in tqdm(range(rounds), desc="rounds", disable=None):
        for comparison in comparisons:
            theirs = peer_rate(comparison.peer, seconds)
            rates[comparison.name].append((calls_per_second(comparison.ours(), seconds), theirs))
    return rates


def main(rounds: int, seconds: float) -> bool:
    """Print the table; whether every target is met."""
    cases = [case_of(task) for task in proposals()]
    comparisons = (
        Comparison("reads", "tau2", 3.0, partial(reads, cases)),
        Comparison("replay", "bfcl", 10.0, partial(replay, cases)),
    )
    rates = measure(comparisons, rounds, seconds)
    table = Table("calls", "ours /s", "peer", "peer /s", "ratio", "of single rounds", "target", "")
    for column in table.columns[1:7]:
        column.justify = "right"
    met = True
    for comparison in comparisons:
        ours, theirs = (statistics.median(side) for side in zip(*rates[comparison.name], strict=True))
        single = [our / their for our, their in rates[comparison.name]]
        reached = ours / theirs >= comparison.target
        met &= reached
        table.add_row(
            comparison.name,
            f"{ours:,.0f}",
            comparison.peer,
            f"{theirs:,.0f}",
            f"{ours / theirs:.1f}",
            f"{min(single):.1f} - {max(single):.1f}",
            f">= {comparison.target:.0f}",
            "met" if reached else "MISSED",
        )
    Console().print(table)
    return met


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="CPU seconds for each side in a round")
    arguments = parser.parse_args()
    sys.exit(0 if main(arguments.rounds, arguments.seconds) else 1)
