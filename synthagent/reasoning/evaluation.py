"""Held-out problems in the stage `evaluate`: which, and who answers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial

from synthagent.episodes.policy import Setting
from synthagent.episodes.real_tools import real_environment, tools_of
from synthagent.params import Params
from synthagent.reasoning.share import reasoning_here
from synthagent.records import REASONING, Problem
from synthagent.stage import Paths, say
from synthagent.store import read_records


def choose_problems(params: Params) -> list[Problem]:
    """Up to `evaluate.reasoning` held-out problems, drawn by the seed; none where they cannot be acted in."""
    count = params.evaluate.reasoning
    if not reasoning_here("evaluate", "evaluate.reasoning", count, params):
        return []
    heldout = [problem for problem in read_records(Paths.reasoning, Problem) if problem.split == "heldout"]
    if not heldout:
        say(f"evaluate: evaluate.reasoning: {Paths.reasoning} has no held-out problem; raise reasoning.count")
    drawn = random.Random(f"evaluate-{params.seed}-{REASONING}").sample(heldout, min(count, len(heldout)))
    return sorted(drawn, key=lambda problem: problem.id)


def setting_of(problems: Sequence[Problem], params: Params) -> Setting:
    """What episodes of problems have in common."""
    # Nothing is preloaded: a batch's sandboxes do not live long enough.
    opening = partial(real_environment, params.reasoning, tools_of(problems), preloaded=())
    return Setting(max_turns=params.episode.max_turns, opening=opening)
