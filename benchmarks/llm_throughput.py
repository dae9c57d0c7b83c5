"""The rollout engine beside its peers, against a server that answers after 50 ms -> a table, and each target.

    benchmarks/peers/setup.sh verifiers; python -m benchmarks.llm_throughput
    python -m benchmarks.llm_throughput --episodes 50000      # memory instead: RSS on the way, server without delay

Ideal is concurrency / delay calls a second. Every side makes the same calls, `TURNS` an episode:

    bare        asyncio + aiohttp: posts the same bodies, parses the answers, keeps nothing
    ours        episodes as the stage `rollouts` runs them: `EndpointPolicy`, simulated tools that answer from
                the mapping M, every answer committed to the response store
    verifiers   verifiers 0.4, in its own environment (benchmarks/peers/verifiers_rollouts.py)

The sides take turns, the median of the rounds counts. The server needs a core of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.llm_server import TURNS
from synthagent.episodes.endpoint import EndpointPolicy
from synthagent.episodes.environment import ModelEnvironment
from synthagent.episodes.mapping import Mappings
from synthagent.episodes.policy import Setting, Start
from synthagent.llm.client import Llm
from synthagent.llm.ordered import ordered
from synthagent.params import Params
from synthagent.params_file import load_params
from synthagent.records import Task, Trajectory
from synthagent.worlds import Fact, Said, Tool, WorldSpec

ROOT = Path(__file__).resolve().parents[1]
DELAY_S = 0.05
CONCURRENCY = (1, 16, 64, 256)
LEAST = 0.9


def the_task() -> Task:
    """A simulated task whose tool is known to answer: no call but the policy's own."""
    parameters = {"type": "object", "properties": {"record_id": {"type": "string"}}, "required": ["record_id"]}
    function = {"name": "lookup", "description": "Look a record up.", "parameters": parameters}
    said = tuple(
        Said(tool="lookup", args={"record_id": f"R-{turn}"}, response={"status": "open", "owner": f"owner {turn}"})
        for turn in range(TURNS - 1)
    )
    return Task(
        id="task-0",
        persona_id="p",
        domain="records",
        difficulty=1,
        split="train",
        instruction="Please see whether my record is in order. " * 4,
        workflow=(),
        facts=(Fact(slot="record_id", value="R-0", phrase="It is R-0."),),
        tools=(
            Tool.model_validate({"type": "function", "function": function, "outputs": {"status": {"type": "string"}}}),
        ),
        distractors=(),
        constraints=(),
        world_kind="simulated",
        world=WorldSpec(tables={}, effects={}, background="There are records.", said=said),
        reference=(),
    )


@contextmanager
def serving(delay: float) -> Iterator[str]:
    """The server in a process of its own; its base_url."""
    command = [sys.executable, "-m", "benchmarks.llm_server", "--delay", str(delay)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.kill()


def params_for(base_url: str, concurrency: int) -> Params:
    """The project's params, with a policy behind the server."""
    raw = load_params(ROOT / "params.yaml").model_dump()
    raw["roles"]["policy"] = {"backend": "openai", "base_url": base_url, "model": "m", "temperature": 1.0}
    raw["llm"]["max_concurrency"] = concurrency
    raw["episode"] |= {"max_tokens": 100_000, "max_turns": TURNS + 1}
    return Params.model_validate(raw)


def episodes(params: Params, count: int, folder: Path) -> Iterator[Trajectory]:
    """Our side: as `stages/rollouts.py` does it."""
    llm, mappings, task = Llm(params, folder), Mappings(), the_task()
    setting = Setting(ModelEnvironment(params, llm, mappings), params.episode.max_turns)
    return EndpointPolicy(llm, params, setting).run(Start(task, sample) for sample in range(count))


def ours(base_url: str, concurrency: int, count: int) -> float:
    """Calls a second."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        for trajectory in episodes(params_for(base_url, concurrency), count, Path(folder)):
            if trajectory.end != "answer" or trajectory.n_turns != TURNS:
                raise RuntimeError(f"an episode went wrong: {trajectory}")
        return count * TURNS / (time.perf_counter() - start)


def bodies(base_url: str) -> list[bytes]:
    """What one of our episodes sends, taken from its store."""
    from synthagent.llm import endpoint

    with tempfile.TemporaryDirectory() as folder:
        sent: list[bytes] = []
        params = params_for(base_url, 1)
        llm = Llm(params, Path(folder))

        class Recorder(endpoint.Endpoint):
            async def complete(self, body: Mapping[str, Any], failed_before: bool = False) -> endpoint.Completion:
                sent.append(json.dumps(body).encode())
                return await super().complete(body, failed_before)

        async def recorded(start: Start) -> None:
            llm._endpoints["policy"] = Recorder("policy", params.roles.policy, params.llm)
            setting = Setting(ModelEnvironment(params, llm, Mappings()), params.episode.max_turns)
            await EndpointPolicy(llm, params, setting).act(start)

        list(ordered(recorded, [Start(the_task())], 1, llm.close))
        return sent


def bare(base_url: str, concurrency: int, count: int, contents: Sequence[bytes]) -> float:
    """Calls a second of the least that could do it."""
    import aiohttp

    async def main() -> float:
        connector = aiohttp.TCPConnector(limit=0)
        headers = {"Content-Type": "application/json", "Authorization": "Bearer none"}
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
            left = iter(range(count))

            async def worker() -> None:
                for _ in left:
                    for content in contents:
                        async with session.post(f"{base_url}/chat/completions", data=content) as response:
                            json.loads(await response.read())["choices"][0]["message"]

            start = time.perf_counter()
            await asyncio.gather(*(worker() for _ in range(concurrency)))
            return count * TURNS / (time.perf_counter() - start)

    return asyncio.run(main())


def peer(name: str, base_url: str, concurrency: int, count: int) -> float | None:
    """Calls a second of a peer, measured by its module in its own environment; None where it is not set up."""
    python = ROOT / f".venv-{name}" / "bin" / "python"
    if not python.exists():
        return None
    module = f"benchmarks.peers.{name}_rollouts"
    arguments = ["--base-url", base_url, "--concurrency", str(concurrency), "--episodes", str(count)]
    command = [str(python), "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{module}: {done.stderr[-2000:]}")
    return float(json.loads(done.stdout.strip().splitlines()[-1])["calls_per_s"])


def verdicts(concurrency: int, share: Mapping[str, float]) -> list[str]:
    """What became of each target, in words. A miss ends nothing: this is a measurement, and machines differ."""
    targets = [("of the ideal", 1.0, LEAST), ("of bare", share["bare"], LEAST)]
    if "verifiers" in share:
        targets.append(("of verifiers", share["verifiers"], 1.0))
    return [
        f"{'met   ' if share['ours'] >= least * base else 'MISSED'} {concurrency:>4} in flight: "
        f"{share['ours'] / base:.3f} {name} (at least {least:.2f})"
        for name, base, least in targets
    ]


def measure(rounds: int, seconds: float, levels: Sequence[int]) -> None:
    """Print the table and the verdicts."""
    columns = ("concurrency", "ideal /s", "bare", "ours", "verifiers", "ours / bare", "CPU ms a call: bare", "ours")
    table = Table(*columns, title="share of the ideal throughput")
    said: list[str] = []
    with serving(DELAY_S) as base_url:
        contents = bodies(base_url)
        for concurrency in levels:
            count = max(4 * concurrency, int(seconds * concurrency / DELAY_S / TURNS))
            sides: dict[str, Callable[[], float | None]] = {
                "bare": partial(bare, base_url, concurrency, count, contents),
                "ours": partial(ours, base_url, concurrency, count),
                "verifiers": partial(peer, "verifiers", base_url, concurrency, 2 * concurrency),
            }
            shares: dict[str, list[float]] = {side: [] for side in sides}
            cpu: dict[str, list[float]] = {side: [] for side in sides}
            for _ in range(rounds):
                for side, run in sides.items():
                    start = time.process_time()
                    if (rate := run()) is not None:
                        shares[side].append(rate * DELAY_S / concurrency)
                        cpu[side].append((time.process_time() - start) / count / TURNS * 1e3)
            share = {side: statistics.median(values) for side, values in shares.items() if values}
            spent = [f"{statistics.median(cpu[side]):.2f}" for side in ("bare", "ours")]
            said += verdicts(concurrency, share)
            shown = [f"{share[side]:.3f}" if side in share else "not set up" for side in sides]
            ratio = f"{share['ours'] / share['bare']:.2f}"
            table.add_row(str(concurrency), f"{concurrency / DELAY_S:,.0f}", *shown, ratio, *spent)
    Console(width=120).print(table)
    print(*said, sep="\n")


def memory(count: int) -> None:
    """Print the resident set size on the way through many episodes, against a server without delay."""
    import psutil

    process = psutil.Process()
    with serving(0) as base_url, tempfile.TemporaryDirectory() as folder:
        for number, _ in enumerate(episodes(params_for(base_url, 64), count, Path(folder)), 1):
            if number % max(1, count // 5) == 0 or number == 1_000:
                print(f"{number:>7,} episodes: {process.memory_info().rss / 2**20:,.0f} MiB", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each side in a round, ideally")
    parser.add_argument("--concurrency", type=int, nargs="*", default=CONCURRENCY)
    parser.add_argument("--episodes", type=int, help="measure memory over so many episodes")
    arguments = parser.parse_args()
    if arguments.episodes:
        memory(arguments.episodes)
    else:
        measure(arguments.rounds, arguments.seconds, arguments.concurrency)
