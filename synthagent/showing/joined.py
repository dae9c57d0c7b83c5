"""`synthagent report-card`: the report with what differs from run to run -> `.cache/report/index.html`.

The stage `report` writes a page that the same params write again, byte for byte, so that DVC can version it. Commit,
machine, time, tokens, and how far the figures are from those of the run before are joined here, when it is looked at.

Launch: `synthagent report-card`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthagent.differing import Changed
from synthagent.errors import InputError, StoreError
from synthagent.history import Revision, git, revision, text_at, uncommitted
from synthagent.showing.html import PLACE, environment
from synthagent.stage import CACHE, OUTS, Paths, md5_of_metrics
from synthagent.store import read_details, write_text

FOLDER = CACHE / "report"


@dataclass(frozen=True, slots=True)
class StageRun:
    """How a stage ran. `other`: its timings are of another run than its figures; None for what is not known."""

    name: str
    other: bool
    at: str | None
    commit: str | None
    uncommitted: int | None
    machine: str | None
    seconds: float | None
    peak_mb: float | None
    calls: int
    hits: int
    tokens: int
    usd: float | None
    student_tokens: float | None
    tokens_per_second: float | None


@dataclass(frozen=True, slots=True)
class Delta:
    """A headline number of a stage, here and in the run before; None: it has none."""

    stage: str
    name: str
    before: float | None
    now: float | None


@dataclass(frozen=True, slots=True)
class Joined:
    """What differs from run to run. `against`: the run before; None: there is none in git."""

    commit: Revision | None
    uncommitted: int
    stages: tuple[StageRun, ...]
    untracked: tuple[Changed, ...]
    against: Revision | None
    deltas: tuple[Delta, ...]
    same: int


def join(untracked: Sequence[Changed], against: str | None = None) -> Path:
    """Write the joined page and return where it is. `untracked`: params that differ and decide no figure.

    Raises:
        InputError: no such revision.
        StoreError: there is no report, or it is of an earlier version; or the disk refuses.
    """
    try:
        page = Paths.report.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise StoreError(f"{Paths.report}: no such page; `dvc repro report` writes it, `dvc pull` brings it") from None
    if PLACE not in page:
        raise StoreError(f"{Paths.report}: written by another version; run `dvc repro report`")
    found = gathered(untracked, against)
    for beside in Paths.report.parent.iterdir() if Paths.report.parent.is_dir() else ():
        if beside.is_file() and beside != Paths.report:  # what the page links to
            FOLDER.mkdir(parents=True, exist_ok=True)
            shutil.copy2(beside, FOLDER / beside.name)
    write_text(FOLDER / Paths.report.name, page.replace(PLACE, render(found), 1))
    return FOLDER / Paths.report.name


def gathered(untracked: Sequence[Changed], against: str | None = None) -> Joined:
    """Ask git, the timings and the metrics."""
    here = {stage: _figures_of(stage) for stage in OUTS if Paths.metrics(stage).exists()}
    before = _before(against, here)
    there = _metrics_of(before.commit) if before else {}
    pairs = [
        Delta(stage, name, there.get(stage, {}).get(name), here.get(stage, {}).get(name))
        for stage in OUTS
        for name in dict.fromkeys([*here.get(stage, {}), *there.get(stage, {})])
    ]
    deltas = tuple(delta for delta in pairs if before and delta.before != delta.now)
    return Joined(
        commit=revision(),
        uncommitted=uncommitted() or 0,
        stages=tuple(_runs()),
        untracked=tuple(untracked),
        against=before,
        deltas=deltas,
        same=len(pairs) - len(deltas),
    )


def render(found: Joined) -> str:
    """The part of the page that is joined."""
    templates = environment()
    templates.filters |= {"figure": _figure, "tenth": lambda value: "" if value is None else f"{value:,.1f}"}
    templates.filters |= {"written": json.dumps, "day": lambda value: value.replace("T", " ").removesuffix("+00:00")}
    machines = list(dict.fromkeys(run.machine for run in found.stages if run.machine))
    return templates.get_template("joined.html.j2").render(found=found, machines=machines)


def _before(against: str | None, here: Mapping[str, Mapping[str, float | None]]) -> Revision | None:
    """The run to compare with: the one that is asked for; or the last in git that has other figures than this."""
    if against is not None:
        asked = revision(against)
        if asked is None:
            raise InputError(f"--against: git has no commit {against!r}; `git log -- data/metrics` lists runs")
        return asked
    listed = git("log", "-2", "--format=%H", "--", Paths.metrics("report").parent.as_posix()) or ""
    return next((revision(commit) for commit in listed.split() if _metrics_of(commit) != here), None)


def _metrics_of(commit: str) -> dict[str, dict[str, float | None]]:
    texts = {stage: text_at(commit, Paths.metrics(stage)) for stage in OUTS}
    return {stage: _figures(text) for stage, text in texts.items() if text is not None}


def _figures_of(stage: str) -> dict[str, float | None]:
    try:
        return _figures(Paths.metrics(stage).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return {}


def _figures(text: str) -> dict[str, float | None]:
    """Headline numbers, by name; none where the text is something else."""
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    values = content.items() if isinstance(content, dict) else ()
    return {name: value for name, value in values if value is None or isinstance(value, int | float)}


def _runs() -> Iterator[StageRun]:
    """How the stages ran, of those whose timings are here."""
    for stage in OUTS:
        path = Paths.timings(stage)
        if not path.exists():
            continue
        timings = read_details(path)
        origin: Mapping[str, Any] = timings.get("origin") or {}
        tallies = [tally for models in (timings.get("llm") or {}).values() for tally in models.values()]
        prices = [tally["usd"] for tally in tallies]
        yield StageRun(
            name=stage,
            other=timings.get("metrics_md5") != md5_of_metrics(stage),
            at=origin.get("at"),
            commit=origin.get("commit"),
            uncommitted=origin.get("uncommitted"),
            machine=origin.get("machine"),
            seconds=timings.get("seconds"),
            peak_mb=timings.get("peak_rss_mb"),
            calls=sum(tally["calls"] for tally in tallies),
            hits=sum(tally["hits"] for tally in tallies),
            tokens=sum(tally["prompt_tokens"] + tally["completion_tokens"] for tally in tallies),
            usd=None if None in prices or not prices else sum(prices),
            student_tokens=_figures_of(stage).get("tokens"),
            tokens_per_second=timings.get("tokens_per_second"),
        )


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4f}"
