"""What is trained: SmolLM2 on natural tasks, once with all, and with one ingredient left out at a time. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.project import WITHOUT_PROBLEMS

PROFILES = ("embedded", "smollm2")
PROBLEMS = "data/problems"  # of the benchmarks that are installed: a task like one of them is rejected
CALLING = ("simple_python", "multiple", "parallel", "parallel_multiple", "irrelevance")
_THREE = ("simple_python", "multiple", "irrelevance")


@dataclass(frozen=True, slots=True)
class Asked:
    """Problems of a suite: so many of each category, or all."""

    suite: str
    categories: tuple[str, ...]
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """A training, and what its checkpoints are asked. `target`: the last stage. `what`: in the table."""

    name: str
    what: str
    changes: Mapping[str, Any]
    target: Literal["sft", "evaluate"]
    asked: tuple[Asked, ...]

    @property
    def policies(self) -> tuple[str, ...]:
        """The checkpoints that act."""
        return ("base", "sft", "grpo") if self.target == "evaluate" else ("sft",)


@dataclass(frozen=True, slots=True)
class Scale:
    """Params of all cells, over those of the profiles, and how much is asked. `part`: tokens of SFT where it is all."""

    changes: Mapping[str, Any]
    whole: int
    part: int
    count: int | None


_CLEAN = {**WITHOUT_PROBLEMS, "tasks.decontaminate.path": PROBLEMS}
# `gpu`: more of all, in batches that fill one. `small` is for the tests: it shows that all of it runs. Its figures mean
# nothing.
SCALES = {
    "full": Scale({**_CLEAN, "tasks.count": 6000, "sft.demos": 100_000}, whole=1_000_000, part=300_000, count=None),
    "gpu": Scale(
        {
            **_CLEAN,
            "compute.processes": 1,
            "tasks.count": 6000,
            "sft.demos": 100_000,
            "sft.batch_size": 16,
            "sft.batch_tokens": 16_384,
            "sft.adam_rate": 0.0006,
            "rollouts.tasks": 256,
            "grpo.steps": 20,
            "grpo.tasks_per_step": 16,
            "grpo.batch_tokens": 16_384,
            "grpo.probe": {"every": 5, "pairs": 32},
            "evaluate.tasks": 128,
        },
        whole=4_000_000,
        part=2_000_000,
        count=None,
    ),
    "small": Scale(
        {
            **_CLEAN,
            "tasks.count": 60,
            "sft.demos": 100_000,
            "sft.batch_size": 2,
            "rollouts.tasks": 4,
            "rollouts.samples": 2,
            "grpo.steps": 1,
            "grpo.tasks_per_step": 2,
            "grpo.group_size": 2,
            "evaluate.tasks": 2,
        },
        whole=6_000,
        part=4_000,
        count=2,
    ),
}

_LEFT_OUT: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "one-wording": ("one wording of each sentence", {"tasks.natural.wordings": "one"}),
    "no-refusals": (
        "always a tool that fits, nothing to ask for",
        {"tasks.natural.patterns.cannot": 0.0, "tasks.natural.missing": 0.0},
    ),
    # .17 of nine tenths are as many questions as .3 of the half that may have them elsewhere.
    "one-call": ("one call a task, or none", {"tasks.natural.missing": 0.17}),
    "no-masks": ("all names speak", {"tasks.natural.masked": 0.0}),
}
# As many tokens as `whole`, without GRPO. Of four users at each desk the demonstrations are in one batch.
_MORE: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "more": ("all ingredients, more of them", {}),
    "desks": (
        "as many, of four users a desk",
        {"tasks.natural.desk": 4, "sft.batch_size": 8, "sft.batch_tokens": 4096},
    ),
}
NAMES = ("whole", *_MORE, "part", *_LEFT_OUT)
DEFAULT = ("part", "one-wording", "no-refusals", "one-call", "whole")


def cell_of(name: str, scale: Scale, shares: Mapping[str, float]) -> Cell:
    """A cell by its name. `shares`: of the patterns, by default."""
    if name == "whole":
        all_asked = (
            Asked("bfcl", CALLING, scale.count),
            Asked("bfcl", ("multi_turn_base",), min(scale.count or 50, 50)),
            Asked("tau2", ("mock_solo",), scale.count),
        )
        return Cell(name, "all of it, then GRPO", {"sft.tokens": scale.whole}, "evaluate", all_asked)
    asked = (Asked("bfcl", _THREE, scale.count),)
    if name == "part":
        return Cell(name, "all ingredients", {"sft.tokens": scale.part}, "sft", asked)
    if name in _MORE:
        what, changes = _MORE[name]
        return Cell(name, what, {"sft.tokens": scale.whole, **changes}, "sft", asked)
    what, changes = _LEFT_OUT[name]
    return Cell(name, what, {"sft.tokens": scale.part, **changes, **_shares_without(name, shares)}, "sft", asked)


def _shares_without(name: str, shares: Mapping[str, float]) -> dict[str, float]:
    """The shares of patterns where some are left out. Refusals are as many, unless it is they that are left out."""
    match name:
        case "no-refusals":
            others = sum(share for key, share in shares.items() if key != "cannot")
            left = {key: round(share / others, 3) for key, share in shares.items() if key not in ("one", "cannot")}
        case "one-call":
            left = {"cannot": shares["cannot"]}
        case _:
            return {}
    left["one"] = round(1 - sum(left.values()), 3)
    return {f"tasks.natural.patterns.{key}": left.get(key, 0.0) for key in shares}
