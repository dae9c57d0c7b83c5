"""Whether problems take part in a stage: what a share in params asks for, and what this machine has.

Where the sandbox is not there the share is dropped, and said: a run without problems is better than none, and code
that a model wrote never runs without the isolation that params name.
"""

from __future__ import annotations

from synthagent.params import Params
from synthagent.sandbox import available
from synthagent.stage import say


def reasoning_here(stage: str, name: str, share: float, params: Params) -> bool:
    """Whether problems take part; says why not where `share`, the value of the param `name`, asks for them."""
    if not share:
        return False
    if (lacking := available(params.reasoning.python.isolation)) is None:
        return True
    say(f"{stage}: {name}: dropped, since no code of a model can be run here: {lacking}")
    return False


def without_problems(params: Params) -> Params:
    """The params of a GRPO without problems."""
    return params.model_copy(update={"grpo": params.grpo.model_copy(update={"reasoning_share": 0.0})})
