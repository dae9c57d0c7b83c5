"""What GRPO logs of a step: an entry of the Trainer's log -> `GrpoStep`, which is a row of `data/plots/grpo.csv`.

Nothing here tells the time: the same params give the same rows. Imports nothing heavy.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from synthagent.student.prompts import WINDOW
from synthagent.student.watch import Log, StepRow

GAP = "sampling/sampling_logp_difference"  # TRL's names in the log of a step
WEIGHT = "sampling/importance_sampling_ratio"


@dataclass(frozen=True, slots=True)
class GrpoStep:
    """What one step of GRPO logged, as shares or means over its episodes; a row of `data/plots/grpo.csv`.

    The gate of the reward is 1 - `violations`. `tokens`: the student's own. `truncated`: ended by a limit or an error.
    `dead_groups`: those that were left; `replaced`: groups sampled in place of dead ones, a count. `clipped`: tokens
    whose ratio was (None: the loss does not clip). `pair_rate`: of the probe (None: it was not this step's turn).
    `reward_tasks`, `reward_reasoning`: of the episodes of tasks and of problems (None: the step has none).
    `logprob_gap`: of a served student, mean distance of the server's log-probs from the trainer's; `importance`: mean
    weight that corrects for it.
    """

    step: int
    reward: float
    reward_std: float
    perfect: float
    dead_groups: float
    violations: float
    questions: float
    tokens: float
    entropy: float
    subgoals: float
    interactions: float
    turns: float
    truncated: float
    level: float
    replaced: int
    clipped: float | None
    pair_rate: float | None
    logprob_gap: float
    logprob_gap_max: float
    importance: float
    reward_tasks: float | None
    reward_reasoning: float | None


def step_logged(updates: int, log: dict[str, Any]) -> GrpoStep:
    """The figures of a step, of so many updates, from what is logged at its end."""

    def figure(name: str, digits: int = 4) -> float:
        return round(float(log[name]), digits)

    clipped = next((log[name] for name in ("clip_ratio/region_mean", "cispo_clip_ratio") if name in log), None)
    return GrpoStep(
        step=int(log["step"]) // updates,
        reward=figure("reward"),
        reward_std=figure("reward_std"),
        perfect=figure("perfect"),
        dead_groups=figure("dead_groups"),
        violations=figure("violations"),
        questions=figure("questions"),
        tokens=figure("tokens", 1),
        entropy=figure("entropy"),
        subgoals=figure("subgoals"),
        interactions=figure("interactions"),
        turns=figure("turns", 2),
        truncated=figure("truncated"),
        level=figure("level", 2),
        replaced=round(log["replaced"]),
        clipped=None if clipped is None else round(float(clipped), 4),
        pair_rate=figure("pair_rate") if "pair_rate" in log else None,
        logprob_gap=round(float(log.get(f"{GAP}/mean", 0.0)), 7),
        logprob_gap_max=round(float(log.get(f"{GAP}/max", 0.0)), 7),
        importance=round(float(log.get(f"{WEIGHT}/mean", 1.0)), 7),
        reward_tasks=figure("reward_tasks") if "reward_tasks" in log else None,
        reward_reasoning=figure("reward_reasoning") if "reward_reasoning" in log else None,
    )


def row_of(updates: int, log: Log) -> StepRow | None:
    """The row of the step that was logged last; None: that was the end of the training."""
    return asdict(step_logged(updates, log[-1])) if "reward" in log[-1] else None


def tokens_of(episodes: int, log: Log) -> float:
    """How many tokens the student wrote in the step that was logged last."""
    return float(log[-1]["tokens"]) * episodes


def worth_of(log: Log) -> float:
    """Of a checkpoint: by the probe where there is one, and then nothing without it; else the mean reward of late."""
    steps = steps_of(log)
    if any("pair_rate" in step for step in steps):
        return float(steps[-1].get("pair_rate", -1.0))
    return fmean(float(step["reward"]) for step in steps[-WINDOW:])


def steps_of(log: Log) -> list[dict[str, Any]]:
    """The entries of a log that are about a step."""
    return [entry for entry in log if "reward" in entry]
