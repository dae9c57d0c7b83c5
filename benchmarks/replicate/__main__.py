"""Runs the cells that claims need, seed by seed, and prints the table. What is done is not done again.

    python -m benchmarks.replicate --claims gap equal reward --seeds 0 1 2
    python -m benchmarks.replicate --plan

Cells that are done lie in `.cache/replicate`, keyed by params and code; the table and its figures go to
`replication/<scale>.md` and `.json`, behind whose name stand the claims where they are neither the default ones nor
all. Ctrl-C loses what the running stage has done since its last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from benchmarks.project import FOUND, Project, copy_of, key_of, run_alone, stop_by_signals
from benchmarks.replicate.claims import ALL, CELLS, CLAIMS, DEFAULT, SCALES, Cell, cells_of, overrides
from benchmarks.replicate.table import Row, decide, lines
from synthagent.params import Params
from synthagent.stage import CACHE, say
from synthagent.store import write_text

FOLDER = CACHE / "replicate"
_MEASURE = "benchmarks/replicate/measure.py"
_KEPT = ("tasks.parquet", "rubrics.parquet", "rollouts.parquet")  # of `ours`, for all cells of its seed


@dataclass
class Runs:
    """The cells of one scale, those that are done and those to come. `left`: seconds that these are thought to take."""

    root: Path
    scale: str
    project: Project
    left: float = 0.0
    thought: float = 0.0
    took: float = 0.0
    done: dict[str, dict[str, Any]] = field(default_factory=dict)

    def data(self, seed: int) -> Path:
        """What `ours` made with a seed, as far as others need it."""
        return self.root / FOLDER / "kept" / f"{self.scale}-{seed}"

    def params(self, seed: int) -> Params:
        """The params of `ours`."""
        return Params.model_validate({**self.project.params, "seed": seed})


def run_cell(runs: Runs, cell: Cell, seed: int, at: str) -> None:
    """Run a cell, unless it is done, and keep what it came to."""
    name = f"{cell.name}-{seed}"
    ours = runs.done.get(f"ours-{seed}", {})
    changes = overrides(cell, seed, runs.project.params, ours.get("warm", ""), ours.get("equal_demos", 0))
    key = key_of([runs.project.params, changes, runs.project.code])
    stored = runs.root / FOLDER / "cells" / f"{runs.scale}-{name}.json"
    known = json.loads(stored.read_text()) if stored.is_file() else {}
    if known.get("key") == key and _is_whole(runs, cell, seed, known):
        say(f"{at} {name}: done before")
    else:
        started = time.monotonic()
        say(f"{at} {name}: about {cell.seconds / 60:.0f} min at full scale; {_minutes(runs)} left in all")
        log = runs.root / FOLDER / "logs" / f"{runs.scale}-{name}.log"
        ran = runs.project.experiment(name, cell.target, changes, log, lambda stage: say(f"  {name}: {stage}"))
        known = {"key": key, "changes": changes, **_come_to(runs, cell, seed)}
        known["seconds"] = round(time.monotonic() - started, 1)
        write_text(stored, json.dumps(known, indent=1) + "\n")
        if cell.target in ran:  # a cell that came from the run cache says nothing of the pace
            runs.thought, runs.took = runs.thought + cell.seconds, runs.took + known["seconds"]
        rates = ", ".join(f"{policy} {_rate(one):.3f}" for policy, one in known["policies"].items())
        say(f"  {name}: pair rate {rates}; {known['seconds']:.0f} s")
    runs.done[name] = known
    runs.left -= cell.seconds


def _come_to(runs: Runs, cell: Cell, seed: int) -> dict[str, Any]:
    """What an experiment that has just run came to: its checkpoints, evaluated; of `ours`, what others start from."""
    from benchmarks.replicate.measure import equal_demos, measure

    made, kept, params = runs.project.folder / "data", runs.data(seed), runs.params(seed)
    found: dict[str, Any] = {}
    if cell.name == "ours":
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        for file in _KEPT:
            shutil.copyfile(made / file, kept / file)
        warm = Path(".cache") / "warm" / _digest_of(runs.project, "sft", "data/models/sft")
        shutil.copytree(made / "models" / "sft", runs.project.folder / warm, dirs_exist_ok=True)
        tokens = json.loads((made / "metrics" / "sft.json").read_text())["tokens_per_demo"]
        found = {"warm": warm.as_posix(), "equal_demos": equal_demos(kept, made / "models" / "sft", tokens, params)}
    elif cell.equal:
        told = json.loads((made / "metrics" / "sft.json").read_text())
        found = {"demos": told["demos"], "tokens": told["tokens"]}
    policies = ("sft", "grpo") if cell.name == "ours" else (cell.target,)
    measured = {policy: asdict(measure(made / "models" / policy, kept, params)) for policy in policies}
    return {**found, "policies": measured}


def _is_whole(runs: Runs, cell: Cell, seed: int, known: Mapping[str, Any]) -> bool:
    """Whether what other cells need of a cell is still there."""
    if cell.name != "ours":
        return True
    kept = all((runs.data(seed) / file).is_file() for file in _KEPT)
    return kept and (runs.project.folder / known["warm"] / "config.json").is_file()


def _digest_of(project: Project, stage: str, out: str) -> str:
    """What DVC knows an out by."""
    lock = yaml.safe_load((project.folder / "dvc.lock").read_text(encoding="utf-8"))
    md5 = next(each["md5"] for each in lock["stages"][stage]["outs"] if each["path"] == out)
    return str(md5).partition(".")[0][:12]


def decided(runs: Runs, claims: Sequence[str], seeds: Sequence[int]) -> list[Row]:
    """The rows of the table."""
    return [
        decide(
            claim,
            *(
                [runs.done[f"{side.cell}-{seed}"]["policies"][side.policy]["pairs"] for seed in seeds]
                for side in (claim.first, claim.second)
            ),
        )
        for claim in CLAIMS
        if claim.name in claims
    ]


def name_of(scale: str, claims: Sequence[str]) -> str:
    """The name of a table: that of some of the claims does not take the place of the others'."""
    return scale if {*claims} in ({*DEFAULT}, {*ALL}) else "-".join((scale, *(one for one in ALL if one in claims)))


def write(runs: Runs, rows: Sequence[Row], name: str) -> None:
    """Print the table; write it, and the figures behind it."""
    table = [*lines(rows), "", *_notes(runs)]
    for line in table:
        say(line)
    cells = {
        name: {
            **{key: value for key, value in cell.items() if key not in ("key", "policies")},
            "policies": {
                policy: {"pair_rate": round(_rate(one), 4), "reward": one["reward"], "questions": one["questions"]}
                for policy, one in cell["policies"].items()
            },
        }
        for name, cell in runs.done.items()
    }
    found = {"scale": runs.scale, "code": runs.project.code, "rows": [asdict(row) for row in rows], "cells": cells}
    place = runs.root / FOUND
    write_text(place / f"{name}.json", json.dumps(found, indent=1) + "\n")
    write_text(place / f"{name}.md", "\n".join(table) + "\n")


def _notes(runs: Runs) -> list[str]:
    """What the table does not say: the warm start, questions, what SFT was given for its tokens."""
    by_cell: dict[str, list[dict[str, Any]]] = {}
    for name, cell in runs.done.items():
        by_cell.setdefault(name.rpartition("-")[0], []).append(cell)

    def means(cell: str, policy: str, read: Any) -> str:
        return " ".join(f"{read(one['policies'][policy]):.3f}" for one in by_cell[cell])

    notes = [f"Warm start before RL, pair rate by seed: {means('ours', 'sft', _rate)}."]
    for name, cells in by_cell.items():
        policy = CELLS[name].target
        asks = means(name, policy, lambda one: one["questions"])
        notes.append(f"{name}: pair rate by seed {means(name, policy, _rate)}; questions an episode {asks}.")
        if CELLS[name].equal:
            took = ", ".join(f"{one['demos']} demonstrations ({one['tokens']:,} tokens)" for one in cells)
            notes.append(f"{name}: SFT went on, for as many passes over a token as RL took, with {took}.")
    return notes


def _rate(one: Mapping[str, Any]) -> float:
    return fmean(one["pairs"].values())


def _minutes(runs: Runs) -> str:
    """What is left, at the pace that this machine has had."""
    pace = runs.took / runs.thought if runs.thought else 1.0
    return f"{runs.left * pace / 60:.0f} min"


def plan(cells: Sequence[Cell], seeds: Sequence[int]) -> list[str]:
    """What will be run, and the minutes that it takes at full scale on two cores with nothing else running."""
    shown = [f"{cell.name:16} {cell.seconds / 60:5.1f} min a seed, up to {cell.target}: {cell.what}" for cell in cells]
    total = sum(cell.seconds for cell in cells) * len(seeds) / 60
    return [*shown, f"{len(cells) * len(seeds)} cells, seeds {' '.join(map(str, seeds))}: about {total:.0f} min"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is not done yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--claims", nargs="+", choices=ALL, default=list(DEFAULT))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--scale", choices=list(SCALES), default="full")
    parser.add_argument("--plan", action="store_true", help="say what would be run and how long it takes, and end")
    given = parser.parse_args(argv)
    cells, seeds, root = cells_of(given.claims), list(dict.fromkeys(given.seeds)), Path.cwd()
    for line in plan(cells, seeds):
        say(line)
    if given.plan:
        return 0

    def work() -> None:
        project = copy_of(root, root / FOLDER / "project", SCALES[given.scale].changes, _MEASURE)
        total = len(cells) * len(seeds)
        runs = Runs(root, given.scale, project, left=sum(cell.seconds for cell in cells) * len(seeds))
        todo = [(cell, seed) for seed in seeds for cell in cells]
        for number, (cell, seed) in enumerate(todo, 1):
            run_cell(runs, cell, seed, f"[{number}/{total}]")
        write(runs, decided(runs, given.claims, seeds), name_of(given.scale, given.claims))

    return run_alone("replicate", root / FOLDER, work)


if __name__ == "__main__":
    stop_by_signals()
    sys.exit(main())
