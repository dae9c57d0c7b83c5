"""Speed of our executable world against two peers, measured in the same run: rounds of both sides -> a table, exit 1 if
a target is missed.

    benchmarks/peers/setup.sh; .venv/bin/python -m benchmarks.world_speed

Both comparisons go from a parsed call to the text that the agent reads, on one core, in CPU time:

    reads    a read-only tool of a world at rest; the peer is tau2-bench's mock domain
    replay   the calls of reference solutions, from fresh worlds; the peer is BFCL's multi-turn simulators

On our side every call is validated against its tool's JSON schema and logged; tau2 and BFCL do neither.
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
from synthagent.records import Task
from synthagent.scripted import play
from synthagent.world import ToolEvent, World, compile_validators

ROOT = Path(__file__).resolve().parents[1]
TASKS = 200
READ_ROUNDS = 20


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


def case_of(task: Task) -> Case:
    """Play the reference solution and keep its calls."""
    fresh = partial(World, task.world, compile_validators(task.tools))
    world = fresh()
    play(task, world)
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
    work = [(case.fresh(), case.reads * READ_ROUNDS) for case in cases if case.reads]
    while True:
        yield partial(run_calls, work)
        check([world for world, _ in work])
        for world, _ in work:
            world.events.clear()


def replay(cases: Sequence[Case]) -> Iterator[Batch]:
    """Reference solutions; every batch has fresh worlds."""
    while True:
        work = [(case.fresh(), case.calls) for case in cases for _ in range(READ_ROUNDS)]
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
