"""Trains SmolLM2 on natural tasks, cell by cell, and lets it act in BFCL and tau2. What is done is not done again.

    python -m benchmarks.transfer --cells part one-wording
    python -m benchmarks.transfer --plan
    python -m benchmarks.transfer --scale gpu --at-once 8 --cells part one-call whole

It wants SmolLM2 (`make smollm2`) and the environments of the benchmarks (`make bench-suites`). Cells that are done lie
in `.cache/transfer`, keyed by params and code; the table goes to `replication/transfer-<scale>.md` and `.json`. Ctrl-C
loses what a training has done since its last checkpoint, a minute, and of an evaluation the problems under way.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, chdir
from pathlib import Path
from typing import Any

from benchmarks.project import FOUND, Project, changed, copy_of, key_of, run_alone, stop_by_signals
from benchmarks.transfer.cells import DEFAULT, NAMES, PROBLEMS, PROFILES, SCALES, Cell, Scale, cell_of
from synthagent.errors import SynthAgentError
from synthagent.ops.experiment import environment
from synthagent.ops.guard import guarded
from synthagent.params import Params
from synthagent.stage import CACHE, say
from synthagent.store import write_text
from synthagent.student.base import SMOLLM2
from synthagent.suites.known import suite_of
from synthagent.suites.problems import export_problems

FOLDER = CACHE / "transfer"
_MEASURE = "benchmarks/transfer/measure.py"


def run_cell(root: Path, project: Project, cell: Cell, scale: str) -> dict[str, Any]:
    """What a cell came to: it is trained and measured, unless that is done."""
    from benchmarks.transfer.measure import measure

    key = key_of([project.params, cell.changes, [str(asked) for asked in cell.asked], project.code])
    stored = root / FOLDER / "cells" / f"{scale}-{cell.name}.json"
    known: dict[str, Any] = json.loads(stored.read_text(encoding="utf-8")) if stored.is_file() else {}
    if known.get("key") == key:
        say(f"{cell.name}: done before")
        return known
    started = time.monotonic()
    say(f"{cell.name}: {cell.what}; up to {cell.target}")
    log = root / FOLDER / "logs" / f"{scale}-{cell.name}.log"
    project.experiment(cell.name, cell.target, cell.changes, log, lambda stage: say(f"  {cell.name}: {stage}"))
    params = Params.model_validate(changed(project.params, cell.changes))
    known = {"key": key, "what": cell.what, "changes": dict(cell.changes), **measure(project.folder, cell, params)}
    known["seconds"] = round(time.monotonic() - started, 1)
    write_text(stored, json.dumps(known, indent=1) + "\n")
    return known


def run_beside(root: Path, commands: Mapping[str, Sequence[str]], at_once: int) -> None:
    """Run commands, by the name of their cell, some at once; all of them, also if one fails.

    Raises:
        SynthAgentError: some failed; each has said why.
    """
    waiting, running, failed = list(commands), dict[str, subprocess.Popen[bytes]](), list[str]()
    with ExitStack() as stack:
        while waiting or running:
            while waiting and len(running) < at_once:
                name = waiting.pop(0)
                running[name] = stack.enter_context(guarded(commands[name], environment(root), folder=root))
            ended = [name for name, process in running.items() if process.poll() is not None]
            failed += [name for name in ended if running.pop(name).returncode]
            time.sleep(0.1)
    if failed:
        raise SynthAgentError(f"transfer: failed: {', '.join(failed)}; others are kept: run it again to go on")


def _command_of(name: str, scale: str) -> list[str]:
    """Runs one cell in a copy of the project of its own."""
    return [sys.executable, "-m", "benchmarks.transfer", "--scale", scale, "--cells", name, "--own-copy"]


def table(cells: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """In Markdown: a row for each checkpoint and suite; then our own tasks."""
    columns = list(
        dict.fromkeys(
            f"{suite}: {category}"
            for cell in cells.values()
            for policy in cell["policies"].values()
            for suite, told in policy["suites"].items()
            for category in told["categories"]
        )
    )
    yield f"| trained on | checkpoint | tokens | {' | '.join(columns)} | minutes: training, benchmarks | SHA-256 |"
    yield f"|---|---|---|{'---|' * len(columns)}---|---|"
    for name, cell in cells.items():
        for policy, told in cell["policies"].items():
            figures = {
                f"{suite}: {category}": _figure(by_policy[policy])
                for suite, asked in told["suites"].items()
                for category, by_policy in asked["categories"].items()
            }
            shown = " | ".join(figures.get(column, "") for column in columns)
            spent = f"{_training(cell, policy):.0f}, {sum(a['seconds'] for a in told['suites'].values()) / 60:.0f}"
            tokens = "" if policy == "base" else f"{cell['sft']['tokens']:,}"
            yield (
                f"| {name}: {cell['what']} | {policy} | {tokens} | {shown} | {spent} | {(told['sha256'] or '')[:16]} |"
            )
    yield ""
    yield "Scores in percent [95%]; of irrelevance the harmonic mean (no call there, a call elsewhere)."
    for name, cell in cells.items():
        for split, policies in cell.get("ours", {}).items():
            for policy, told in policies.items():
                spans = ", ".join(_span(told, measure) for measure in ("reward", "pair_rate"))
                yield f"- {name}, our own tasks, {split}, {policy}: {spans}."
    for suite in dict.fromkeys(s for cell in cells.values() for p in cell["policies"].values() for s in p["suites"]):
        yield from (f"- {source.source}: {source.figures}." for source in suite_of(suite).published)


def _figure(told: Mapping[str, Any]) -> str:
    lead = told["lead"]
    if lead is None:
        return "-"
    shown = f"{100 * lead['mean']:.1f} [{100 * lead['low']:.1f}, {100 * lead['high']:.1f}]"
    if told["refused"] is not None:
        shown += f" ({100 * told['refused']:.1f}, {100 * told['calls']:.1f})"
    return shown


def _span(told: Mapping[str, Any], measure: str) -> str:
    if told[measure] is None:
        return f"{measure.replace('_', ' ')} not measured"
    low, high = told[f"{measure}_ci_low"], told[f"{measure}_ci_high"]
    interval = "" if low is None else f" [{low:.3f}, {high:.3f}]"
    return f"{measure.replace('_', ' ')} {told[measure]:.3f}{interval}"


def _training(cell: Mapping[str, Any], policy: str) -> float:
    stages = {"base": (), "sft": ("sft",), "grpo": ("sft", "rollouts", "grpo")}[policy]
    return float(sum(cell["minutes"].get(stage, 0.0) for stage in stages))


def _cells(names: Sequence[str], scale: Scale, params: Mapping[str, Any]) -> list[Cell]:
    return [cell_of(name, scale, params["tasks"]["natural"]["patterns"]) for name in names]


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is not done yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", choices=NAMES, default=list(DEFAULT))
    parser.add_argument("--scale", choices=list(SCALES), default="full")
    parser.add_argument("--plan", action="store_true", help="say what would be run, and end")
    parser.add_argument("--at-once", type=int, default=1, help="so many cells beside each other, where a GPU has room")
    parser.add_argument("--own-copy", action="store_true", help=argparse.SUPPRESS)  # one of those
    given = parser.parse_args(argv)
    root, scale = Path.cwd(), SCALES[given.scale]
    place = root / FOLDER / "beside" / "-".join(given.cells) if given.own_copy else root / FOLDER

    def work() -> None:
        if not (root / SMOLLM2).is_dir():
            raise SynthAgentError(f"transfer: {SMOLLM2} is not there; run `make smollm2`")
        project = copy_of(root, place / "project", scale.changes, _MEASURE, PROFILES)
        cells = _cells(list(dict.fromkeys(given.cells)), scale, project.params)
        for cell in cells:
            say(f"{cell.name:12} up to {cell.target}: {cell.what}; {dict(cell.changes)}")
            for suite in dict.fromkeys(asked.suite for asked in cell.asked):
                suite_of(suite).environment.check()
        if given.plan:
            return
        if given.at_once > 1:
            run_beside(root, {cell.name: _command_of(cell.name, given.scale) for cell in cells}, given.at_once)
        with chdir(project.folder):  # of which the tasks have to be clean
            for line in export_problems(Path(PROBLEMS), "installed")[:-1]:
                say(line)
        done = {cell.name: run_cell(root, project, cell, given.scale) for cell in cells}
        if not given.own_copy:
            write(root, project, done, given.scale)

    return run_alone("transfer", place, work)


def write(root: Path, project: Project, done: Mapping[str, Mapping[str, Any]], scale: str) -> None:
    """Print the table; write it, and the figures behind it."""
    shown = list(table(done))
    for line in shown:
        say(line)
    place = root / FOUND / f"transfer-{scale}"
    write_text(place.with_suffix(".md"), "\n".join(shown) + "\n")
    write_text(place.with_suffix(".json"), json.dumps({"code": project.code, "cells": done}, indent=1) + "\n")


if __name__ == "__main__":
    stop_by_signals()
    sys.exit(main())
