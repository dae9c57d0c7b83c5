"""The browser of episodes: the datasets of one or two runs -> one HTML page that asks for nothing.

Data are JSON in chunks, compressed: a head with a row for each episode, then tasks and messages, read as they are
needed. What a task or a policy wrote reaches the page as text only (`templates/episodes_*.js` makes no markup of it).
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from synthagent.episodes.episode import opening
from synthagent.reasoning.subjects import read_subjects
from synthagent.records import EvaluatedEpisode, Reward, Rubric, Task, Trajectory, Verdict
from synthagent.showing.evidence import marks_of
from synthagent.showing.html import environment
from synthagent.showing.rows import EpisodeRow, read_rows
from synthagent.showing.show import signature
from synthagent.stage import Paths
from synthagent.store import read_records

_CHUNK = 500_000  # characters of JSON
_SCRIPTS = ("episodes_data.js", "episodes_list.js", "episodes_read.js")


@dataclass(frozen=True, slots=True)
class Run:
    """The episodes of a run. `name`: the revision, empty for what is in `data/`; messages and verdicts are by id."""

    name: str
    rows: Sequence[EpisodeRow]
    messages: Mapping[str, Sequence[Mapping[str, Any]]]
    verdicts: Mapping[str, Sequence[Verdict]]
    tasks: Mapping[str, Task]
    rubrics: Mapping[str, Rubric]


@dataclass(frozen=True, slots=True)
class Browser:
    """A page, and how many episodes are in it."""

    html: str
    episodes: int

    @property
    def megabytes(self) -> float:
        return len(self.html.encode()) / 1e6


def read_run(folder: Path = Path(), name: str = "") -> Run:
    """A run from a project's folder.

    Raises:
        StoreError: a dataset is missing or cannot be read; says which stage to run.
    """
    rows = read_rows(folder)
    of = read_subjects(folder / Paths.data, {row.task for row in rows})
    episodes, rollouts, rewards = (folder / path for path in (Paths.episodes, Paths.rollouts, Paths.rewards))
    evaluated = list(read_records(episodes, EvaluatedEpisode)) if episodes.exists() else []
    rolled_out = list(read_records(rollouts, Trajectory)) if rollouts.exists() else []
    earned = read_records(rewards, Reward) if rewards.exists() else ()
    return Run(
        name,
        rows,
        {each.id: each.messages for each in (*evaluated, *rolled_out)},
        {reward.trajectory_id: reward.verdicts for reward in earned} | {each.id: each.verdicts for each in evaluated},
        of.tasks,
        of.rubrics,
    )


def browser_of(runs: Sequence[Run]) -> Browser:
    """The page of some runs."""
    from markupsafe import Markup

    packed = _Packed()
    for number, run in enumerate(runs):
        _pack(run, number, packed)
    packed.close_chunk()
    head = {"runs": [run.name for run in runs], "rows": packed.rows}
    templates = files("synthagent.showing") / "templates"
    script = "\n".join((templates / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    style = (templates / "episodes.css").read_text(encoding="utf-8")
    html = (
        environment()
        .get_template("episodes.html.j2")
        .render(
            script=Markup(script),
            style=Markup(style),
            script_hash=_hash(script),
            style_hash=_hash(style),
            chunks=[Markup(_compressed(json.dumps(head))), *(Markup(chunk) for chunk in packed.chunks)],
        )
    )
    return Browser(html, len(packed.rows))


@dataclass(slots=True)
class _Packed:
    """The page's data as they grow: rows say in which chunk, and where in it, an episode is."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    chunks: list[str] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)  # of tasks, by their JSON: equal ones of two runs are one
    _parts: list[str] = field(default_factory=list)
    _size: int = 0

    def add(self, part: str) -> tuple[int, int]:
        """Add JSON of a task with episodes; return its chunk and its place there."""
        if self._size + len(part) > _CHUNK:
            self.close_chunk()
        self._parts.append(part)
        self._size += len(part)
        return len(self.chunks) + 1, len(self._parts) - 1

    def close_chunk(self) -> None:
        """What comes next goes into another chunk."""
        if self._parts:
            self.chunks.append(_compressed(f"[{','.join(self._parts)}]"))
            self._parts.clear()
            self._size = 0


def _pack(run: Run, number: int, packed: _Packed) -> None:
    by_task = dict[str, list[EpisodeRow]]()
    for row in run.rows:
        by_task.setdefault(row.task, []).append(row)
    for name, rows in sorted(by_task.items()):
        task = run.tasks[name]
        shown = _shown_task(task, run.rubrics.get(name))
        episodes = [_shown_episode(task, run.messages[row.id], run.verdicts.get(row.id, ())) for row in rows]
        key = json.dumps(shown)
        chunk, place = packed.add(f'{{"task":{key},"episodes":{json.dumps(episodes)}}}')
        same = packed.numbers.setdefault(key, len(packed.numbers))
        for index, row in enumerate(rows):
            where = {"run": number, "same": same, "chunk": chunk, "place": place, "index": index}
            packed.rows.append({**asdict(row), **where})


def _shown_task(task: Task, rubric: Rubric | None) -> dict[str, Any]:
    criteria = rubric.criteria if rubric else ()
    return {
        "id": task.id,
        "about": f"{task.domain}, level {task.difficulty}, {task.split}, {task.world_kind}",
        "twin": task.twin_of,
        "opening": opening(task),
        "constraints": [line.text for line in task.constraints],
        "facts": [[fact.slot, fact.value, fact.phrase] for fact in task.facts],
        "workflow": task.workflow,
        "tools": [signature(tool, task.distractors) for tool in task.tools],
        "rubric": [[c.id, c.kind, c.text, "judge" if c.check is None else "check"] for c in criteria],
    }


def _shown_episode(task: Task, messages: Sequence[Mapping[str, Any]], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """An episode; of messages that begin as its task does, what follows."""
    begun = list(messages[:2]) == opening(task)
    return {
        "begun": begun,
        "messages": messages[2:] if begun else messages,
        "verdicts": [{**verdict.model_dump(), "marks": marks_of(verdict, messages, task)} for verdict in verdicts],
    }


def _compressed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def _hash(text: str) -> str:
    """How a Content-Security-Policy names an inline script or style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
