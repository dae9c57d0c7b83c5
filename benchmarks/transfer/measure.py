"""Lets a checkpoint of a copy of the project act in problems of others -> figures by category, as JSON."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path
from typing import Any

from benchmarks.transfer.cells import Asked, Cell
from synthagent.params import Params, SuiteParams
from synthagent.stage import Paths
from synthagent.suites.evaluate import evaluate_suite

_MEASURES = ("reward", "pair_rate")


def measure(folder: Path, cell: Cell, params: Params) -> dict[str, Any]:
    """What the checkpoints that lie in `folder` come to: what they were trained with, their figures by policy."""
    with chdir(folder):
        found: dict[str, Any] = {"sft": json.loads(Paths.metrics("sft").read_text(encoding="utf-8"))}
        found["policies"] = {policy: _policy(policy, cell, params) for policy in cell.policies}
        if cell.target == "evaluate":
            found["ours"] = _ours(json.loads(Paths.details("evaluate").read_text(encoding="utf-8")), cell)
        stages = (
            ("tasks", "rubrics", "sft") if cell.target == "sft" else ("tasks", "rubrics", "sft", "rollouts", "grpo")
        )
        found["minutes"] = {stage: _minutes(stage) for stage in stages}
        return found


def _policy(policy: str, cell: Cell, params: Params) -> dict[str, Any]:
    weights = {"sft": Paths.sft, "grpo": Paths.grpo}.get(policy)
    found: dict[str, Any] = {"sha256": _digest(weights / "model.safetensors") if weights else None, "suites": {}}
    for asked in cell.asked:
        started = time.monotonic()
        figures = _figures(policy, asked, params)
        kept = found["suites"].setdefault(asked.suite, {"categories": {}, "seconds": 0.0})
        kept["categories"] |= figures
        kept["seconds"] = round(kept["seconds"] + time.monotonic() - started, 1)
    return found


def _figures(policy: str, asked: Asked, params: Params) -> dict[str, Any]:
    """Of each category, what the policy has; `noop` too."""
    chosen = SuiteParams(name=asked.suite, categories=asked.categories, count=asked.count, max_tokens=256)
    categories: dict[str, Any] = evaluate_suite(params, chosen, [policy]).details()["categories"]
    return categories


def _ours(details: Mapping[str, Any], cell: Cell) -> dict[str, Any]:
    """Reward and pair rate on our own tasks, by split and policy, with their intervals."""
    return {
        split: {
            policy: {
                key: details["policies"][policy][split].get(key)
                for measure in _MEASURES
                for key in (measure, f"{measure}_ci_low", f"{measure}_ci_high")
            }
            for policy in cell.policies
        }
        for split in ("heldout", "unseen_domain")
    }


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _minutes(stage: str) -> float:
    seconds: float = json.loads(Paths.timings(stage).read_text(encoding="utf-8"))["seconds"]
    return round(seconds / 60, 1)
