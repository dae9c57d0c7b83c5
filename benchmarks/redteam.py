"""What can be earned without judgement: lazy policies and a search, against pairs of twins -> tables.

    .venv/bin/python -m benchmarks.redteam                      (the scoreboard)
    .venv/bin/python -m benchmarks.redteam --judge params.yaml  (a judge that is a model)

Twins look the same, and the right outcome of one is not that of the other. Pair reward is the mean over pairs of the
smaller of the two rewards; pair rate the share of pairs in which both are perfect. Tried are

    lazy       every policy of synthagent/episodes/lazy.py
    program    one sequence of at most eight steps (ask, read, write, answer) for all tasks: random ones, and a
               hill-climb on pair reward from the best; also one that refuses as soon as a tool gives an error
    table      asks and reads all; then the error, consent, price or status that it saw chooses how it goes on: learnt
               on half of the pairs and scored on the other half

None reads the policy's text. The last table says in which pairs the best found earns what it earns. Exit 1 if its pair
reward is above .25 under the formula of params.yaml; the other formulas are for comparison. With `--judge`, see
benchmarks/redteam_judge.py.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from statistics import fmean
from typing import get_args

from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from benchmarks import redteam_judge
from benchmarks.redteam_search import FEATURES, Effort, Found, Pair, Scores, climb, learn_table, some_pairs
from synthagent.episodes.lazy import LAZY
from synthagent.llm.store import FOLDER
from synthagent.params import Formula
from synthagent.params_file import load_params

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 0.25
TABLES = (*((name,) for name in FEATURES), FEATURES)


def attacks(pairs: Sequence[Pair], formula: Formula, seed: int, effort: Effort) -> Iterator[tuple[str, Found]]:
    """Family by family, what was found, by name."""
    scores = Scores(pairs, formula)
    for name, script in LAZY.items():
        yield f"lazy: {name}", Found("", pairs, scores.of(script))
    for heeds in (False, True):
        name = "program: refuses on errors" if heeds else "program"
        yield name, climb(scores, Random(f"redteam-{seed}"), effort, heeds)
    for features in TABLES:
        name = "all" if features == FEATURES else features[0]
        yield f"table: {name}", learn_table(scores, Random(f"redteam-{seed}"), features, effort.table)


def turns_on(pair: Pair) -> str:
    """What the twins differ in."""
    if pair.first.task.facts != pair.second.task.facts:
        return "consent"
    first, second = (sum(len(t.rows) for t in case.task.world.tables.values()) for case in pair)
    return "value in a row" if first == second else "existence"


def by_kind(found: Found) -> Table:
    """In which pairs it earns what it earns."""
    table = Table("the pair turns on", "level", "pairs", "pair reward", "pair rate")
    kinds: dict[tuple[str, int], list[float]] = defaultdict(list)
    for pair, earned in zip(found.pairs, found.earned, strict=True):
        kinds[turns_on(pair), pair.first.task.difficulty].append(min(earned))
    for (kind, level), least in sorted(kinds.items()):
        rate = fmean(one > 1 - 1e-9 for one in least)
        table.add_row(kind, str(level), str(len(least)), f"{fmean(least):.3f}", f"{rate:.3f}")
    return table


def red_team(pairs: Sequence[Pair], formulas: Sequence[Formula], held: Formula, seed: int, effort: Effort) -> bool:
    """Attack by each formula and print the tables; whether nothing was found above the limit under `held`."""
    table = Table("formula", "policy", "reward", "pair reward", "pair rate", "", "found")
    worst: tuple[str, Found] | None = None
    for formula in formulas:
        progress = tqdm(attacks(pairs, formula, seed, effort), formula, len(LAZY) + 2 + len(TABLES), disable=None)
        for name, found in progress:
            result, above = found.result, formula == held and found.result.pair_reward > LIMIT
            figures = (f"{value:.3f}" for value in (result.reward, result.pair_reward, result.pair_rate))
            table.add_row(formula, name, *figures, "ABOVE" if above else "", found.text)
            if formula == held and (worst is None or result.rank > worst[1].result.rank):
                worst = name, found
        table.add_section()
    assert worst is not None
    name, found = worst
    console = Console(width=150)
    console.print(table)
    met = found.result.pair_reward <= LIMIT
    said = "met" if met else "MISSED"
    console.print(f"best under {held}: {name}, pair reward {found.result.pair_reward:.3f} (limit {LIMIT}: {said})")
    console.print(by_kind(found))
    return met


def main(argv: Sequence[str] | None = None) -> int:
    """Attack the scoreboard or the judge; 0 if it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200, help="pairs of twins, at least 2")
    choices = get_args(Formula)
    parser.add_argument("--formula", nargs="+", choices=choices, default=["paper", "product", "cubed"])
    parser.add_argument("--seed", type=int, default=0, help="of the search")
    parser.add_argument("--judge", type=Path, metavar="PARAMS", help="attack the judge of this params file instead")
    parser.add_argument("--episodes", type=int, default=12, help="with --judge")
    parser.add_argument("--repeats", type=int, default=3, help="with --judge: how often it is asked the same again")
    parser.add_argument("--store", type=Path, default=FOLDER, help="with --judge: where its answers are kept")
    given = parser.parse_args(argv)
    if given.pairs < 2 or given.episodes < 1 or given.repeats < 1:
        parser.error("--pairs takes 2 or more, --episodes and --repeats 1 or more")
    if given.judge:
        return redteam_judge.run(given.judge, given.episodes, given.repeats, given.store)
    params = load_params(ROOT / "params.yaml")
    held = params.reward.formula
    formulas = [formula for formula in choices if formula in {*given.formula, held}]
    formulas.sort(key=lambda formula: formula == held)  # what holds comes last
    return 0 if red_team(some_pairs(params, given.pairs), formulas, held, given.seed, Effort()) else 1


if __name__ == "__main__":
    sys.exit(main())
