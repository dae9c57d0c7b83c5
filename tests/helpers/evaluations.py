"""Made-up rows of an evaluation: of one episode, of pairs of twins, of all policies."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from synthagent.records import Evaluation
from synthagent.showing.statistics import POLICIES

DECODINGS = {"base": ("sampled",), "sft": ("sampled", "greedy"), "grpo": ("sampled", "greedy")}


def row(policy: str, task: int, reward: float, **changes: Any) -> Evaluation:
    """An evaluated episode that earned `reward`."""
    usual = {"benchmark": "synthagent", "split": "heldout", "difficulty": 1, "sample": 0, "decoding": "sampled"}
    parts = {"reward_paper": reward / 2, "gate": 1.0, "subgoals": reward, "interactions": 1.0}
    counts = {"n_turns": 3, "n_questions": 1, "end": "answer"}
    fields = usual | parts | counts | {"policy": policy, "task_id": name_of(task), "reward": reward}
    return Evaluation(**(fields | changes))


def name_of(task: int) -> str:
    return f"task-{task:03d}"


def twins(policy: str, rewards: Iterable[tuple[float, float]], **changes: Any) -> list[Evaluation]:
    """Episodes of pairs of twins, with what each earned: one is right where it is done, the other where refused."""
    rows = []
    for number, (first, second) in enumerate(rewards):
        one, other = 2 * number, 2 * number + 1
        rows.append(row(policy, one, first, twin_of=name_of(other), outcome="done", **changes))
        rows.append(row(policy, other, second, twin_of=name_of(one), outcome="refused", **changes))
    return rows


def evaluation() -> list[Evaluation]:
    """All policies on six pairs of twins, of two splits and three levels, as the stage writes them."""
    rng = random.Random(0)
    rows = []
    for policy in POLICIES:
        for decoding in DECODINGS.get(policy, ("scripted",)):
            for number in range(6):
                earned = (1.0, 1.0) if policy == "expert" else (rng.choice((0.0, 0.25, 1.0)), rng.choice((0.0, 1.0)))
                changes = {"split": "heldout" if number % 2 else "unseen_domain", "difficulty": 1 + number // 2}
                counts = {"extra_questions": rng.randrange(3), "extra_calls": rng.randrange(3)}
                one, other = twins(policy, [earned], decoding=decoding, **changes, **counts)
                names = {"task_id": f"{number}-a", "twin_of": f"{number}-b"}
                rows.append(one.model_copy(update=names))
                rows.append(other.model_copy(update={"task_id": names["twin_of"], "twin_of": names["task_id"]}))
    return rows


def solved(policy: str, kind: str, first: int, right: list[int], **changes: Any) -> list[Evaluation]:
    """Episodes of problems of a kind, numbered from `first`."""
    of_problem = {"benchmark": "reasoning", "category": kind, "difficulty": None, **changes}
    return [row(policy, first + number, float(reward), **of_problem) for number, reward in enumerate(right)]
