"""Speed of the Python tool against a process without isolation and a peer's sandbox, in one run -> a table.

    benchmarks/peers/setup.sh llm-sandbox; .venv/bin/python -m benchmarks.sandbox

The same program is run one call after another by

    pool          a call in an episode that has begun; the sandbox was lent from a pool
    pool, first   the first call of an episode, lending and clearing included
    cold          a sandbox started for one call, without and with numpy and sympy loaded ahead
    subprocess    an interpreter for each call, without isolation, limits or state
    bubblewrap    an interpreter for each call, in `synthagent/isolation.py`
    llm-sandbox   a call in a session of llm-sandbox over bubblewrap, which is a process for each; and its opening

Wall time, since most of it passes in other processes; the sides take turns, so that all see the same machine. Exit 1 if
the median call from the pool takes 50 ms or more.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from synthagent.isolation import run_isolated
from synthagent.params_file import load_params
from synthagent.params_reasoning import PythonParams
from synthagent.sandbox import PACKAGES, Ran, SandboxPool, sandboxes

ROOT = Path(__file__).resolve().parents[1]
PYTHON = Path(getattr(sys, "_base_executable", sys.executable))  # without what is installed in our environment
PEER = ROOT / ".venv-llm-sandbox" / "bin" / "python"
CODE = "from math import gcd\nprint(gcd(1071, 462), sum(n for n in range(1000) if n % 7 == 0))\n"
PRINTED = "21 71071\n"
LIMIT_S = 0.05
CALLS = 20  # of a side in a round; of what starts a process a quarter
Seconds = dict[str, list[float]]


def timed(call: Callable[[], str]) -> float:
    """Seconds of a call, which must print what it should."""
    start = time.perf_counter()
    printed = call()
    seconds = time.perf_counter() - start
    if printed != PRINTED:
        raise RuntimeError(f"printed {printed!r}")
    return seconds


def from_pool(pool: SandboxPool, seconds: Seconds) -> None:
    """Calls of one episode, and the first calls of others."""

    def episode() -> str:
        with pool.session() as session:
            return output_of(session.run(CODE))

    with pool.session() as session:
        session.run("")
        seconds["pool"] += [timed(lambda: output_of(session.run(CODE))) for _ in range(CALLS)]
    seconds["pool, first"] += [timed(episode) for _ in range(CALLS)]


def cold(limits: PythonParams, preloaded: tuple[str, ...]) -> str:
    """A sandbox for one call."""
    with sandboxes(limits, preloaded=preloaded) as pool, pool.session() as session:
        return output_of(session.run(CODE))


def output_of(ran: Ran) -> str:
    """What was printed; a limit that was met is told with it."""
    return ran.observation


def in_subprocess() -> str:
    """An interpreter of its own."""
    return subprocess.run([str(PYTHON), "-I", "-S", "-c", CODE], capture_output=True, text=True, check=True).stdout


def in_bubblewrap() -> str:
    """The same in isolation."""
    return run_isolated(PYTHON, ["-I", "-S", "-c", CODE], wall_s=60).stdout.decode()


def by_peer(seconds: Seconds) -> None:
    """A session of the peer's."""
    command = [str(PEER), "-m", "benchmarks.peers.llm_sandbox_calls", "--calls", str(CALLS // 4)]
    done = subprocess.run(command, cwd=ROOT, input=CODE, stdout=subprocess.PIPE, text=True, check=True)
    told = json.loads(done.stdout)
    if told["printed"] != PRINTED:
        raise RuntimeError(f"llm-sandbox printed {told['printed']!r}")
    seconds["llm-sandbox, opening"].append(told["opened"])
    seconds["llm-sandbox"] += told["seconds"]


def measure(limits: PythonParams, rounds: int) -> Seconds:
    """Seconds of each call, by side."""
    seconds: Seconds = defaultdict(list)
    with sandboxes(limits) as pool:
        for _ in tqdm(range(rounds), desc="rounds", disable=None):
            from_pool(pool, seconds)
            few = range(CALLS // 4)
            seconds["subprocess"] += [timed(in_subprocess) for _ in few]
            seconds["bubblewrap"] += [timed(in_bubblewrap) for _ in few]
            seconds["cold"] += [timed(lambda: cold(limits, ())) for _ in few]
            seconds["cold, with numpy and sympy"].append(timed(lambda: cold(limits, PACKAGES)))
            by_peer(seconds)
    return seconds


def main(rounds: int) -> bool:
    """Print the table; whether the pool is fast enough."""
    if not PEER.exists():
        sys.exit("no .venv-llm-sandbox: run benchmarks/peers/setup.sh llm-sandbox first")
    seconds = measure(load_params(ROOT / "params.yaml").reasoning.python, rounds)
    base = statistics.median(seconds["subprocess"])
    table = Table("side", "calls", "median ms", "9 in 10 ms", "calls a second", "of subprocess")
    for column in table.columns[1:]:
        column.justify = "right"
    for side, taken in sorted(seconds.items(), key=lambda item: statistics.median(item[1])):
        median = statistics.median(taken)
        ninth = statistics.quantiles(taken, n=10)[-1] if len(taken) > 1 else median
        figures = (f"{median * 1000:,.1f}", f"{ninth * 1000:,.1f}", f"{1 / median:,.1f}", f"{base / median:.2f}")
        table.add_row(side, str(len(taken)), *figures)
    Console(width=110).print(table)
    met = statistics.median(seconds["pool"]) < LIMIT_S
    print(f"a call from the pool under {LIMIT_S * 1000:.0f} ms: {'met' if met else 'MISSED'}")
    return met


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    sys.exit(0 if main(parser.parse_args().rounds) else 1)
