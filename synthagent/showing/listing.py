"""Rows of episodes as lines: a table that fits the terminal, JSON lines, or ids to hand on.

Launch: `synthagent list --policy grpo --failed constraint --sort reward`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from io import StringIO
from statistics import fmean
from typing import Literal

from rich.console import Console
from rich.table import Table

from synthagent.showing.rows import EpisodeRow
from synthagent.showing.show import safe

Form = Literal["table", "jsonl", "ids"]
_FROM_WIDTH = {"end": 50, "split": 66, "level": 76, "turns": 86, "domain": 100}  # columns, and from which width on

_ALIGNED: Mapping[str, Literal["right"]] = {"level": "right", "turns": "right"}


def listed(rows: Sequence[EpisodeRow], form: Form, width: int, coloured: bool) -> Iterator[str]:
    """The rows, a line each; above a table its head, below it how many there are."""
    match form:
        case "ids":
            yield from (row.id for row in rows)
        case "jsonl":
            yield from (json.dumps(asdict(row)) for row in rows)
        case "table":
            yield from _table(rows, width, coloured)
            scored = [row.reward for row in rows if row.reward is not None]
            yield f"{len(rows):,} episodes" + (f", mean reward {fmean(scored):.3f}" if scored else "")


def _table(rows: Sequence[EpisodeRow], width: int, coloured: bool) -> Iterator[str]:
    """On a narrow terminal there are fewer columns; what is long is cut."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("id", no_wrap=True, min_width=min(24, width // 2))
    table.add_column("reward", justify="right", no_wrap=True, min_width=6)
    shown = [name for name, least in _FROM_WIDTH.items() if width >= least]
    for name in shown:
        table.add_column(name, no_wrap=True, min_width=5, max_width=16, justify=_ALIGNED.get(name, "left"))
    table.add_column("failed", no_wrap=True, max_width=max(8, width // 3))
    for row in rows:
        reward = "none" if row.reward is None else f"{row.reward:.3f}"
        style = {None: "", 0.0: "red", 1.0: "green"}.get(row.reward, "yellow")
        failed = f"error: {row.error}" if row.error else " ".join(line.partition(" ")[0] for line in row.failed)
        others = (safe(str(getattr(row, name))) for name in shown)
        table.add_row(safe(row.id), safe(reward, style), *others, safe(failed))
    console = Console(file=StringIO(), width=width, force_terminal=coloured, highlight=False, force_jupyter=False)
    console.print(table)
    assert isinstance(console.file, StringIO)
    yield from console.file.getvalue().rstrip("\n").split("\n")
