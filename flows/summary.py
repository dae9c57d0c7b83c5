"""What a run shows at its end: its outcome, the table of results, the curve, a link -> one markdown artifact."""

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flows.curve import picture
from synthagent.cli import STAGES
from synthagent.ops.experiment import Experiment
from synthagent.stage import Paths

_COLUMNS = {"pair rate": "pair_rate", "pair reward": "pair_reward", "reward": "reward", "perfect": "perfect_rate"}


def summary(title: str, outcome: str, folder: Path, made: Experiment | None, report: str | None) -> str:
    """The markdown. `folder`: where the run worked; `report`: the address of its report."""
    parts = [f"# {_text(title)}", _text(outcome)]
    if made is not None:
        parts += [*_comparing(made), *_changes(Path(), folder)]
    parts += _results(folder / Paths.details("evaluate"))
    if (drawn := picture(folder / Paths.plots / "grpo.csv")) is not None:
        parts += ["## Learning curve of GRPO", drawn]
    if report is not None:
        parts.append(f"[The report]({report}), with episodes to read.")
    elif (folder / Paths.report).exists() and made is None:
        parts.append(f"The report: `{Paths.report}`.")
    return "\n\n".join(parts) + "\n"


def _comparing(made: Experiment) -> list[str]:
    name = made.name
    text = [f"DVC experiment `{name}` on commit `{made.commit}`. Here params.yaml and data are as they were."]
    if made.uncommitted:
        text.append(f"It starts from changes that are not committed: {_names(made.uncommitted)}.")
    if made.untracked:
        text.append(f"It read files that git does not know, and does not keep them: {_names(made.untracked)}.")
    commands = f"dvc exp show\ndvc exp diff {name}\ndvc exp apply {name}    # its params and data, into this worktree"
    return [" ".join(text), f"```\n{commands}\n```"]


def _changes(before: Path, after: Path) -> list[str]:
    """The headline numbers that the experiment has otherwise."""
    rows = []
    for stage in STAGES:
        old, new = _read(before / Paths.metrics(stage)), _read(after / Paths.metrics(stage))
        rows += [(stage, name, old.get(name), value) for name, value in new.items() if old.get(name) != value]
    if not rows:
        return ["No headline number differs from those of this worktree."]
    return ["## Headline numbers that differ", _table(("stage", "metric", "worktree", "experiment"), rows)]


def _results(details: Path) -> list[str]:
    """The policies of the last evaluation, sampled; by split."""
    policies: Mapping[str, Any] = _read(details).get("policies", {})
    parts = []
    for split in sorted({split for splits in policies.values() for split in splits}):
        cells = {policy: splits[split] for policy, splits in policies.items() if split in splits}
        rows = [(policy, *(cell.get(key) for key in ("n", *_COLUMNS.values()))) for policy, cell in cells.items()]
        parts += [f"## Results on {_text(split)}", _table(("policy", "episodes", *_COLUMNS), rows)]
    return parts


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case float():
            return f"{value:.3f}"
        case _:
            return _text(str(value)).replace("|", "\\|")


def _names(names: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(f"`{_text(name)}`" for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _text(text: str) -> str:
    """Text that is no markup: names of models, files and params are others' words."""
    return html.escape(" ".join(text.split()), quote=False)


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found
