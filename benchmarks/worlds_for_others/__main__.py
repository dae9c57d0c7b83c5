"""Acts the same episodes in process and through every interface of others, and prints a line each: are they paid alike?

Scripts act: the expert, one that never asks, one that does everything, one that writes instructions to everybody.

Inputs: `data/tasks.parquet`, `data/rubrics.parquet`, `params.yaml`; the environments that
`benchmarks/peers/setup.sh verifiers openenv` makes. Exit code 1 where a reward differs.

Launch: `python -m benchmarks.worlds_for_others --count 25`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio

from benchmarks.worlds_for_others.episodes import ACTING, Acted, acted, drawn, rules_of
from benchmarks.worlds_for_others.over_mcp import acted_one_by_one, http_server, in_memory, on_stdio, over_http
from benchmarks.worlds_for_others.over_packages import installed, missing, told_by
from synthagent.errors import SynthAgentError
from synthagent.exchange.playable import Playable
from synthagent.params import Params
from synthagent.params_file import load_params
from synthagent.stage import Paths

PROCESSES = 1  # tasks that are also acted in through processes, on stdio and over HTTP


@dataclass(frozen=True, slots=True)
class Compared:
    """The rewards of episodes through an interface, beside those in process."""

    interface: str
    expected: Sequence[float]
    told: Sequence[float | None]

    @property
    def equal(self) -> int:
        """How many are the same number."""
        return sum(one == other for one, other in zip(self.expected, self.told, strict=True))

    @property
    def line(self) -> str:
        """A row of the table."""
        paid = [sum(reward == 1 for reward in self.expected), sum(0 < reward < 1 for reward in self.expected)]
        none = len(self.expected) - sum(paid)
        return f"{self.interface:<28}{len(self.expected):>9}{self.equal:>8}{paid[0]:>10}{paid[1]:>10}{none:>7}"


HEAD = f"{'interface':<28}{'episodes':>9}{'equal':>8}{'earned 1':>10}{'between':>10}{'0':>7}"


def over_mcp(playables: Sequence[Playable], params: Params) -> Iterator[Compared]:
    """All episodes by a server in this process; a few through processes, as clients start them."""
    episodes = [(p, acted_one_by_one(p, params, script)) for p in playables for script in ACTING]

    async def memory() -> list[float | None]:
        return [await in_memory(playable, params, episode) for playable, episode in episodes]

    yield Compared("MCP, in memory", [episode.reward for _, episode in episodes], anyio.run(memory))
    few = episodes[: PROCESSES * len(ACTING)]

    async def stdio() -> list[float | None]:
        return [await on_stdio(playable, episode, Path.cwd()) for playable, episode in few]

    yield Compared("MCP, stdio", [episode.reward for _, episode in few], anyio.run(stdio))
    for mode in ("auto", "legacy"):
        told = [reward for playable in playables[:PROCESSES] for reward in _http(playable, few, mode)]
        name = "MCP, HTTP, 2026-07-28" if mode == "auto" else "MCP, HTTP, with sessions"
        yield Compared(name, [episode.reward for _, episode in few], told)


def _http(playable: Playable, episodes: Sequence[tuple[Playable, Acted]], mode: str) -> list[float | None]:
    mine = [episode for of, episode in episodes if of is playable]
    with http_server(playable.task.id, Path.cwd()) as url:

        async def act() -> list[float | None]:
            return [await over_http(f"{url}/{episode.script}", playable, episode, mode) for episode in mine]

        return anyio.run(act)


def over_package(kind: str, episodes: Sequence[Acted], params: Params) -> Compared:
    """All episodes through an installed package."""
    with tempfile.TemporaryDirectory() as folder:
        told = told_by(kind, installed(kind, Path(folder), params, Paths.data), episodes)
    return Compared(kind, [episode.reward for episode in episodes], [row["reward"] for row in told])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 if a reward differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=25, help="tasks, each with four episodes")
    parser.add_argument("--seed", type=int, default=0, help="which tasks")
    given = parser.parse_args(arguments)
    params = load_params()
    playables = drawn(Paths.tasks, Paths.rubrics, given.count, given.seed)
    episodes = list(acted(playables, rules_of(params)))
    print(HEAD, flush=True)
    unequal = 0

    def show(compared: Compared) -> int:
        print(compared.line, flush=True)
        return len(compared.expected) - compared.equal

    for compared in over_mcp(playables, params):
        unequal += show(compared)
    for kind in ("verifiers", "openenv"):
        if why := missing(kind):
            print(f"{kind:<28}left out: {why}", flush=True)
        else:
            unequal += show(over_package(kind, episodes, params))
    return 1 if unequal else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SynthAgentError as error:
        sys.exit(f"worlds_for_others: {error}")
