"""Speed of BFCL's multi-turn simulators (package `bfcl-eval`): the gold calls of `multi_turn_base`, on one core.

Calls go through BFCL's own `execute_multi_turn_func_call`, one a step, as an agent that reads every result would make
them. Loading the scenarios is not timed. The calls are the gold answers that ship with BFCL: no model's text is run.

    .venv-bfcl/bin/python -m benchmarks.peers.bfcl --seconds 2    -> {"peer": "bfcl-multi-turn", "calls_per_s": ...}
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from itertools import chain

from benchmarks.clock import Batch, calls_per_second

CATEGORY = "multi_turn_base"
RUN = "speed"
EXPECTED_ERRORS = 0.05
"""At most this share of gold calls answers with an error: some tasks ask for a call that fails (10 of 1,142)."""


def batches() -> Iterator[Batch]:
    """One pass over all gold calls a batch, from freshly loaded scenarios."""
    from bfcl_eval.eval_checker.multi_turn_eval import multi_turn_utils as simulators
    from bfcl_eval.utils import load_dataset_entry, load_ground_truth_entry

    execute = simulators.execute_multi_turn_func_call
    gold = {entry["id"]: list(chain(*entry["ground_truth"])) for entry in load_ground_truth_entry(CATEGORY)}
    tasks = [
        (task["initial_config"], task["involved_classes"], task["id"], gold[task["id"]])
        for task in load_dataset_entry(CATEGORY)
    ]
    results: list[str] = []

    def batch() -> int:
        for config, classes, task_id, calls in tasks:
            for call in calls:
                results.extend(execute([call], config, classes, RUN, task_id)[0])
        return len(results)

    while True:
        # State lives in globals of that module, keyed by run and task; an execution of no calls loads it.
        for name in [name for name in vars(simulators) if name.startswith(f"{RUN}_")]:
            delattr(simulators, name)
        for config, classes, task_id, _ in tasks:
            execute([], config, classes, RUN, task_id)
        results.clear()
        yield batch
        errors = sum("error" in result.lower() for result in results)
        if errors > EXPECTED_ERRORS * len(results):
            raise RuntimeError(f"{errors} of {len(results)} gold calls of BFCL failed")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="CPU seconds to measure for")
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as root:
        os.environ["BFCL_PROJECT_ROOT"] = root  # importing BFCL makes directories there, else beside the package
        print(json.dumps({"peer": "bfcl-multi-turn", "calls_per_s": calls_per_second(batches(), seconds)}))
