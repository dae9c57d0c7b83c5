"""Episodes as rows to choose from: rollouts and evaluated episodes of a folder -> filtered, sorted.

The browser and `synthagent list` filter by the same columns.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from synthagent.errors import InputError, StoreError
from synthagent.reasoning.subjects import read_subjects
from synthagent.records import EvaluatedEpisode, Evaluation, Reward, Rubric, Task, Trajectory
from synthagent.stage import Paths
from synthagent.store import read_columns
from synthagent.text import visible

Sort = Literal["id", "task", "policy", "domain", "level", "reward", "turns", "questions"]
NAMED = ("split", "domain", "level", "policy", "decoding", "end")  # the columns whose values can be named
_DONE = ("id", "task_id", "policy", "sample", "end", "n_turns", "n_tool_calls", "n_questions", "error")


@dataclass(frozen=True, slots=True)
class EpisodeRow:
    """An episode in a list. `reward`: None where it has none; `failed`: its failed criteria, `ID KIND: TEXT`."""

    id: str
    task: str
    split: str
    domain: str
    level: int
    policy: str
    decoding: str
    sample: int
    reward: float | None
    end: str
    turns: int
    tool_calls: int
    questions: int
    failed: tuple[str, ...]
    error: str | None


@dataclass(frozen=True, slots=True)
class WantedEpisodes:
    """Which rows: one of the values of each column that is named, rewards between, a failed criterion with `failed`."""

    split: Collection[str] = ()
    domain: Collection[str] = ()
    level: Collection[int] = ()
    policy: Collection[str] = ()
    decoding: Collection[str] = ()
    end: Collection[str] = ()
    failed: str = ""
    min_reward: float | None = None
    max_reward: float | None = None

    def __contains__(self, row: EpisodeRow) -> bool:
        return (
            all(not getattr(self, name) or getattr(row, name) in getattr(self, name) for name in NAMED)
            and (not self.failed or any(self.failed.casefold() in line.casefold() for line in row.failed))
            and (self.min_reward is None or (row.reward is not None and row.reward >= self.min_reward))
            and (self.max_reward is None or (row.reward is not None and row.reward <= self.max_reward))
        )


def chosen(
    rows: Sequence[EpisodeRow], wanted: WantedEpisodes, sort: Sort = "id", reverse: bool = False
) -> list[EpisodeRow]:
    """The rows that are wanted, sorted; sorted by reward, those without one come last.

    Raises:
        InputError: a value that no row has; names those that there are.
    """
    for name in NAMED:
        there = {getattr(row, name) for row in rows}
        if strange := [value for value in getattr(wanted, name) if value not in there]:
            known = ", ".join(visible(str(value)) for value in sorted(there)) or "none"
            raise InputError(f"--{name}: no episode has {visible(str(strange[0]))}; there are: {known}")
    kept = sorted((row for row in rows if row in wanted), key=lambda row: row.id)
    kept.sort(key=_ORDER[sort], reverse=reverse)
    return sorted(kept, key=lambda row: row.reward is None) if sort == "reward" else kept


_ORDER: Mapping[Sort, Callable[[EpisodeRow], Any]] = {
    "id": lambda row: row.id,
    "task": lambda row: row.task,
    "policy": lambda row: (row.policy, row.decoding),
    "domain": lambda row: row.domain,
    "level": lambda row: row.level,
    "reward": lambda row: row.reward or 0.0,
    "turns": lambda row: row.turns,
    "questions": lambda row: row.questions,
}


def lacking(folder: Path = Path()) -> str:
    """What to tell where only rollouts are there; empty where nothing is lacking."""
    if (folder / Paths.episodes).exists():
        return ""
    return f"{folder / Paths.episodes}: not there, so these are rollouts only; `dvc repro evaluate` writes it"


def read_rows(folder: Path = Path()) -> list[EpisodeRow]:
    """The rows of a project's folder, by id: what is there of rollouts and evaluated episodes.

    Raises:
        StoreError: neither is there, or something cannot be read; says which stage to run.
    """
    episodes, rollouts = folder / Paths.episodes, folder / Paths.rollouts
    if not episodes.exists() and not rollouts.exists():
        raise StoreError(f"{episodes}: no such file, nor {rollouts}; run `dvc repro evaluate`, or `dvc checkout`")
    found = [*_evaluated(folder)] if episodes.exists() else []
    found += [*_rolled_out(folder)] if rollouts.exists() else []
    of = read_subjects(folder / Paths.data, {done["task_id"] for done in found})
    rows = [_row(done, of.tasks[done["task_id"]], of.rubrics.get(done["task_id"])) for done in found]
    return sorted(rows, key=lambda row: row.id)


def _evaluated(folder: Path) -> Iterator[dict[str, Any]]:
    who = ("policy", "decoding", "task_id", "sample")
    rewards = {
        tuple(row[name] for name in who): row["reward"]
        for row in read_columns(folder / Paths.evaluation, Evaluation, (*who, "reward"))
    }
    for done in read_columns(folder / Paths.episodes, EvaluatedEpisode, (*_DONE, "decoding", "verdicts")):
        yield {**done, "reward": rewards.get(tuple(done[name] for name in who))}


def _rolled_out(folder: Path) -> Iterator[dict[str, Any]]:
    file = folder / Paths.rewards
    earned = read_columns(file, Reward, ("trajectory_id", "reward", "verdicts")) if file.exists() else []
    rewards = {row["trajectory_id"]: row for row in earned}
    nothing: dict[str, Any] = {"reward": None, "verdicts": ()}
    for done in read_columns(folder / Paths.rollouts, Trajectory, _DONE):
        yield {**nothing, **rewards.get(done["id"], nothing), **done, "decoding": "sampled"}


def _row(done: Mapping[str, Any], task: Task, rubric: Rubric | None) -> EpisodeRow:
    criteria = {c.id: f"{c.id} {c.kind}: {c.text}" for c in rubric.criteria} if rubric else {}
    failed = [verdict["criterion"] for verdict in done["verdicts"] if not verdict["passed"]]
    return EpisodeRow(
        id=done["id"],
        task=done["task_id"],
        split=task.split,
        domain=task.domain,
        level=task.difficulty,
        policy=done["policy"],
        decoding=done["decoding"],
        sample=done["sample"],
        reward=done["reward"],
        end=done["end"],
        turns=done["n_turns"],
        tool_calls=done["n_tool_calls"],
        questions=done["n_questions"],
        failed=tuple(criteria.get(name, name) for name in failed),
        error=done["error"],
    )
