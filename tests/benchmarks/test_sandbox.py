"""The sides of the comparison run the same program to the same end."""

from __future__ import annotations

from collections import defaultdict

import pytest
from helpers.projects import default_params

from benchmarks.sandbox import CALLS, PRINTED, Seconds, cold, from_pool, in_bubblewrap, in_subprocess, timed
from synthagent.sandbox import available, sandboxes

pytestmark = pytest.mark.skipif(bool(available("bubblewrap")), reason=f"no isolation: {available('bubblewrap')}")
LIMITS = default_params().reasoning.python.model_copy(update={"wall_s": 20.0})


def test_every_side_prints_the_same() -> None:
    seconds: Seconds = defaultdict(list)
    with sandboxes(LIMITS, preloaded=()) as pool:
        from_pool(pool, seconds)
    assert {side: len(taken) for side, taken in seconds.items()} == {"pool": CALLS, "pool, first": CALLS}
    assert cold(LIMITS, ()) == in_subprocess() == in_bubblewrap() == PRINTED


def test_a_side_that_prints_something_else_is_no_figure() -> None:
    with pytest.raises(RuntimeError, match="printed 'nothing'"):
        timed(lambda: "nothing")
