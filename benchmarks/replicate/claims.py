"""What is replicated: claims, each a comparison of two cells; a cell is an experiment over params. Pure.

All cells of a seed share what the run cache of DVC knows of `ours`. Those that differ before `sft` in something that is
not the warm start's are given it as `student.base`, with `sft.demos: 0`, as the paper gives Qwen3: only RL differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.project import WITHOUT_PROBLEMS

ClaimName = Literal["gap", "equal", "reward", "tasks", "mapping", "demos"]
DEFAULT: tuple[ClaimName, ...] = ("gap", "equal", "reward")
ALL: tuple[ClaimName, ...] = (*DEFAULT, "tasks", "mapping", "demos")
OTHER_TASKS = 1000  # added to the seed where other tasks are wanted
TOOL_ERRORS = 0.2
SLOWER = 4  # SFT that goes on: at its first rates it undoes more than it learns (docs/replication.md)
STAGES = ("personas", "tasks", "rubrics", "sft", "rollouts", "rewards", "grpo")
# Of the default params on two cores with nothing else running, by data/timings; with 4 s a stage for DVC.
_SECONDS = {"personas": 4, "tasks": 31, "rubrics": 30, "sft": 275, "rollouts": 33, "rewards": 7, "grpo": 223}
_EVALUATION = 15


@dataclass(frozen=True, slots=True)
class Scale:
    """Params of all cells, laid over those of the profile `embedded`."""

    changes: Mapping[str, Any]


# `small` is for the tests: the least training after which episodes differ in reward. Its figures mean nothing.
SCALES = {
    "full": Scale({**WITHOUT_PROBLEMS, "evaluate.tasks": 512}),
    "small": Scale(
        {
            **WITHOUT_PROBLEMS,
            "personas.count": 20,
            "tasks.count": 220,
            "tasks.difficulty_mix": [1, 0, 0],
            "tasks.blend_share": 0.0,
            "rubrics.skill": 1.0,
            "student.tiny": {"vocab_size": 800, "hidden_size": 32, "layers": 2, "heads": 2},
            "sft.demos": 120,
            "sft.batch_size": 4,
            "episode.max_turns": 8,
            "episode.max_tokens": 80,
            "episode.max_turn_tokens": 24,
            "rollouts.tasks": 12,
            "rollouts.samples": 2,
            "grpo.steps": 1,
            "grpo.tasks_per_step": 2,
            "grpo.group_size": 2,
            "evaluate.tasks": 8,
            "compute.processes": 1,
            "reward.require_answer": False,
        }
    ),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """An experiment, and up to which stage it runs. `what`: in the table.

    `warm`: it starts from the warm start of `ours`. `equal`: it goes on with SFT on demonstrations of other tasks, for
    as many tokens as RL took. `part`: of one task in so many, with as many demonstrations and episodes as of all.
    `anew`: the stages that the run cache does not know from `ours`.
    """

    name: str
    what: str
    changes: Mapping[str, Any]
    anew: Sequence[str]
    target: Literal["sft", "grpo"] = "grpo"
    warm: bool = False
    equal: bool = False
    part: int = 1

    @property
    def seconds(self) -> float:
        """What it takes at full scale, evaluation included. A warm start that is passed on costs a start."""
        base_passed_on = self.warm and not self.equal
        stages = sum(8 if base_passed_on and stage == "sft" else _SECONDS[stage] for stage in self.anew)
        return stages - (100 if self.equal else 0) + _EVALUATION * (2 if self.name == "ours" else 1)


def _rubric(count: int) -> Cell:
    changes = {"rubrics.demos_per_task": 4, "rubrics.from_demos": count}
    anew = ("rubrics", "sft", "rollouts", "rewards", "grpo")
    return Cell(f"rubric-{count}", f"rubric from {count}", changes, anew, warm=True)


_AFTER_PERSONAS = STAGES[1:]
CELLS = {
    cell.name: cell
    for cell in (
        Cell("ours", "default", {}, STAGES),
        Cell("no-gap", "RL without the gap", {"tasks.information_gap": False}, _AFTER_PERSONAS, warm=True),
        Cell("more-sft", "more SFT", {}, ("tasks", "rubrics", "sft"), "sft", warm=True, equal=True),
        Cell("paper-reward", "the paper's reward", {"reward.formula": "paper"}, ("rewards", "grpo")),
        Cell("third-of-tasks", "a third of the tasks", {}, _AFTER_PERSONAS, part=3),
        Cell(
            "without-m",
            f"M off, tools err {TOOL_ERRORS:.0%}",
            {"episode.mapping": False, "grpo.tool_errors": TOOL_ERRORS},
            ("rubrics", "rollouts", "rewards", "grpo"),
        ),
        *map(_rubric, (2, 3, 4)),
    )
}


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two that a claim compares: a checkpoint of a cell. `called`: in the table, if not as the cell is."""

    cell: str
    policy: Literal["sft", "grpo"] = "grpo"
    called: str = ""

    @property
    def what(self) -> str:
        """What it is called in the table."""
        return self.called or CELLS[self.cell].what


@dataclass(frozen=True, slots=True)
class Claim:
    """What the paper says of two cells. `direction`: of the difference first - second; `=`: about the same."""

    name: ClaimName
    text: str
    paper: str
    direction: Literal[">", "="]
    first: Side
    second: Side


_OURS = Side("ours")
CLAIMS = (
    Claim(
        "gap",
        "the information gap is needed",
        "with > without: TAU-2 and BFCL average 40.0 44.7 58.6 46.5 (14B), without (8B) 22.0 28.9 35.3 39.1, near base",
        ">",
        Side("ours", called="RL with the gap"),
        Side("no-gap"),
    ),
    Claim(
        "equal",
        "RL beats SFT",
        "RL > SFT at equal data (no figure)",
        ">",
        Side("ours", called="RL"),
        Side("more-sft", "sft"),
    ),
    Claim(
        "reward",
        "our reward beats the paper's",
        "not in the paper, which has only mean(N, I)",
        ">",
        Side("ours", called="cubed product"),
        Side("paper-reward"),
    ),
    Claim("tasks", "three times the tasks", "15k > 5k", ">", Side("ours", called="all tasks"), Side("third-of-tasks")),
    Claim(
        "mapping",
        "M keeps the advantages clean",
        "on > off (no figure)",
        ">",
        Side("ours", called="M on"),
        Side("without-m"),
    ),
    Claim("demos", "2 demonstrations do as well as 4", "about the same", "=", Side("rubric-4"), Side("rubric-2")),
    Claim("demos", "3 demonstrations do as well as 4", "about the same", "=", Side("rubric-4"), Side("rubric-3")),
)


def cells_of(names: Sequence[str]) -> list[Cell]:
    """The cells that claims need, `ours` first, since all others build on it."""
    wanted = {"ours"} | {side.cell for claim in CLAIMS if claim.name in names for side in (claim.first, claim.second)}
    return [cell for cell in CELLS.values() if cell.name in wanted]


def overrides(cell: Cell, seed: int, params: Mapping[str, Any], warm: str, equal_demos: int) -> dict[str, Any]:
    """The params that make a cell, by key: over those of the scale, `params`. `warm`: the folder of the warm start."""
    changes = {"seed": seed, **cell.changes}
    if cell.part > 1:
        for section, name in (("tasks", "count"), ("rollouts", "tasks")):
            changes[f"{section}.{name}"] = params[section][name] // cell.part
        changes["rubrics.demos_per_task"] = params["rubrics"]["demos_per_task"] * cell.part
    if cell.warm:
        changes |= {"student.base": warm, "student.optimizer": "muon", "sft.demos": 0}
    if cell.equal:
        slower = {f"sft.{rate}": params["sft"][rate] / SLOWER for rate in ("muon_rate", "adam_rate")}
        changes |= {"seed": seed + OTHER_TASKS, "sft.demos": equal_demos, **slower}
    return changes
