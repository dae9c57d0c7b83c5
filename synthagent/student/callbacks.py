"""What looks on while GRPO trains: a probe on pairs that it does not train on, a word on steps that teach nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from accelerate.utils import gather
from transformers import TrainerCallback

from synthagent.judging.reward import SamePrompt
from synthagent.stage import say
from synthagent.student.grpo_log import steps_of
from synthagent.student.processes import is_first

_DEAD = 10  # steps in a row


class PairProbe(TrainerCallback):  # type: ignore[misc]
    """Logs as `pair_rate` the share of pairs that the student does perfectly, `every` so many updates and at the end.

    `perfect`: whether it does each of some tasks; greedily, lest the probe draw random numbers that the training would
    have drawn. A checkpoint is wanted where it never was better. `log`: to be filled with what the step logs besides.
    """

    def __init__(
        self,
        pairs: Sequence[SamePrompt],
        every: int,
        perfect: Callable[[Sequence[str]], Mapping[str, bool]],
        log: dict[str, float],
        may_save: bool,
    ) -> None:
        self._pairs, self._every, self._perfect, self._log, self._may_save = pairs, every, perfect, log, may_save

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % self._every and state.global_step != state.max_steps:
            return
        mine = self._pairs[args.process_index :: args.world_size]
        done = self._perfect([name for pair in mine for name in pair])
        good = [all(done[name] for name in pair) for pair in mine]
        counts = gather(torch.tensor([[sum(good), len(good)]], device=args.device)).sum(0).tolist()
        self._log["pair_rate"] = rate = counts[0] / counts[1]
        before = [entry["pair_rate"] for entry in state.log_history if "pair_rate" in entry]
        if self._may_save and state.global_step < state.max_steps and rate >= max(before, default=0.0):
            control.should_save = True


class DeadGroups(TrainerCallback):  # type: ignore[misc]
    """Says once in a row of steps, each of so many updates, that nothing is learnt from them."""

    def __init__(self, updates: int) -> None:
        self._updates = updates

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not steps_of(state.log_history[-1:]):  # what is logged at the end of a training
            return
        last = steps_of(state.log_history)[-_DEAD - 1 :]
        dead = [log["dead_groups"] == 1 for log in last]
        if is_first() and len(dead) >= _DEAD and all(dead[-_DEAD:]) and not all(dead[:-_DEAD] or [False]):
            tried = sum(int(log["replaced"]) for log in last[-_DEAD:])
            first = last[-_DEAD]["step"] // self._updates
            besides = f" and of {tried} that were sampled in place of dead ones" if tried else ""
            say(
                f"grpo: steps {first} to {first + _DEAD - 1}: all episodes of a group earned the same, "
                f"in each of them{besides}, so that nothing is learnt; raise grpo.group_size, give the student more at "
                "first (sft.demos), or choose among more tasks (rollouts.tasks, rollouts.samples)"
            )
