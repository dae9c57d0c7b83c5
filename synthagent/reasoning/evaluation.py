"""Held-out problems in the stage `evaluate`: which, who answers, and what answering without a look at them earns."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from synthagent.episodes.episode import Episode
from synthagent.episodes.policy import ScriptedPolicy, Setting
from synthagent.episodes.real_tools import real_environment, tools_of
from synthagent.episodes.turn import Turn
from synthagent.params import Params
from synthagent.reasoning.share import reasoning_here
from synthagent.records import CONSTANT, REASONING, Problem
from synthagent.stage import Paths, say
from synthagent.store import read_records


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What is evaluated. `commonest`: kind -> the commonest answer of its train problems, of several the first as text.

    Half of the greatest common divisors of large numbers are 1: what a policy earns says little without this.
    """

    problems: list[Problem]
    commonest: dict[str, str]


def choose_problems(params: Params) -> HeldOut:
    """Up to `evaluate.reasoning` held-out problems, drawn by the seed; none where they cannot be acted in."""
    count = params.evaluate.reasoning
    if not reasoning_here("evaluate", "evaluate.reasoning", count, params):
        return HeldOut([], {})
    stored = list(read_records(Paths.reasoning, Problem))
    heldout = [problem for problem in stored if problem.split == "heldout"]
    if not heldout:
        say(f"evaluate: evaluate.reasoning: {Paths.reasoning} has no held-out problem; raise reasoning.count")
    drawn = random.Random(f"evaluate-{params.seed}-{REASONING}").sample(heldout, min(count, len(heldout)))
    return HeldOut(sorted(drawn, key=lambda problem: problem.id), _commonest(stored))


def _commonest(problems: Sequence[Problem]) -> dict[str, str]:
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for problem in problems:
        if problem.split == "train":
            answers[problem.kind][problem.answer] += 1
    return {kind: min(found, key=lambda answer: (-found[answer], answer)) for kind, found in answers.items()}


def constant_policy(heldout: HeldOut, max_turns: int) -> ScriptedPolicy:
    """A script that gives every problem the commonest answer of its kind, and calls nothing."""
    kinds = {problem.id: problem.kind for problem in heldout.problems}

    def script(episode: Episode) -> Iterator[Turn]:
        yield Turn(f"<answer>{heldout.commonest.get(kinds[episode.task.id], '')}</answer>")

    return ScriptedPolicy(CONSTANT, script, Setting(max_turns=max_turns))


def setting_of(problems: Sequence[Problem], params: Params) -> Setting:
    """What episodes of problems have in common."""
    # Nothing is preloaded: a batch's sandboxes do not live long enough.
    opening = partial(real_environment, params.reasoning, tools_of(problems), preloaded=())
    return Setting(max_turns=params.episode.max_turns, opening=opening)
