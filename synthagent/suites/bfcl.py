"""The Berkeley Function-Calling Leaderboard, V4: Python single-turn by AST checker, multi-turn by simulators."""

from __future__ import annotations

from synthagent.ops.environments import ENVIRONMENTS
from synthagent.suites.suite import Published, Suite

_CALLING = ("simple_python", "multiple", "parallel", "parallel_multiple")
_CALLING_LIVE = ("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple")
_MULTI_TURN = ("multi_turn_base", "multi_turn_miss_func", "multi_turn_miss_param", "multi_turn_long_context")
_BOARD = ("simple", "multiple", "parallel", "parallel_multiple", "live", "irrelevance", "multi_turn")
_NO_VALUE = "an argument that has to be given has no right value in the suite's answer"
_NO_ARGUMENT = "the suite's answer has an argument that its function has not"

BFCL = Suite(
    name="bfcl",
    environment=next(environment for environment in ENVIRONMENTS if environment.name == "bfcl"),
    worker="synthagent.suites.workers.bfcl",
    categories=(*_CALLING, "irrelevance", *_CALLING_LIVE, "live_irrelevance", *_MULTI_TURN),
    styles=("native", "prompt"),
    refusals={"irrelevance": _CALLING, "live_irrelevance": _CALLING_LIVE},
    unsolvable={
        "live_simple_106-63-0": _NO_VALUE,
        "live_simple_112-68-0": _NO_VALUE,
        "live_multiple_862-181-3": _NO_ARGUMENT,
        "live_multiple_964-207-0": _NO_ARGUMENT,
    },
    published=(
        Published(
            source="official board, November 2026; function calling, but Gemma-3-1b by prompt",
            harness="the same checker; there `simple` averages Python, Java and JavaScript, `live` and `multi_turn` "
            "average their categories",
            figures={
                model: dict(zip(_BOARD, figures, strict=True))
                for model, figures in {
                    "Qwen3-0.6B": (64, 86, 68, 70, 57, 81, 3.6),
                    "Hammer2.1-0.5b": (62, 81, 69, 52, 55, 81, 2.9),
                    "Granite-4.0-350m": (62, 85, 70, 56, 46, 61, 2.5),
                    "Llama-3.2-1B": (44, 51, 44, 15, 12, 52, 0),
                    "Gemma-3-1b": (43, 36, 0, 2, 12, 33, 0),
                }.items()
            },
        ),
        Published(
            source="FunctionGemma's model card",
            harness="said to be the same",
            figures={"FunctionGemma-270M": dict(zip(_BOARD, (62, 64, 39, 30), strict=False)) | {"irrelevance": 74}},
        ),
    ),
)
