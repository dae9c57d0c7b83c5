"""The commands that look at a whole run: where a checkpoint comes from, its report card.

Launch: `synthagent lineage data/models/grpo`. Heavy imports happen inside the commands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def lineage(
    checkpoint: Annotated[Path, typer.Argument(help="data/models/sft, data/models/grpo, or a copy of one elsewhere.")],
    rev: Annotated[str | None, typer.Option(help="Only what this commit, tag or experiment recorded.")] = None,
    whole: Annotated[bool, typer.Option("--json", help="As JSON, with every param and every hash.")] = False,
) -> None:
    """Say which code, params, personas, data and responses a checkpoint comes from; found by its content."""
    from synthagent.ops.lineage import as_json, lines
    from synthagent.ops.lineage import lineage as lineage_of

    found = lineage_of(checkpoint, rev)
    if whole:
        print(as_json(found))
        return
    for line in lines(found):
        print(line)


def report_card(
    against: Annotated[
        str | None, typer.Option(help="The commit to compare with; the last with other figures.")
    ] = None,
    params: Annotated[Path, typer.Option("--params", help="The params file.")] = Path("params.yaml"),
) -> None:
    """Join the report with what differs from run to run: commit, machine, time, tokens, the run before."""
    from synthagent.differing import changed_params, decides
    from synthagent.params_file import load_params
    from synthagent.showing.joined import join

    untracked = [change for change in changed_params(load_params(params)) if not decides(change)]
    print(f"{join(untracked, against)}: for any browser")
