"""Says of answers whether they are right: JSON lines on standard input -> a JSON line each. A program of its own.

`{"kind": K, "settings": S, "entry": E, "answer": A}` is put to the scorer of reasoning-gym's task K as it was set,
`{"truth": T, "answer": A}` to math-verify; `{"load": MODULE}` imports one of the two, which is slow. Both read what a
model wrote, some scorers by evaluating it, and either may take for ever: so `synthagent.reasoning.answers` runs this in
isolation, and ends it when an answer takes too long.

Launch: `python -I synthagent/reasoning/scorer.py`.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from functools import cache
from importlib import import_module
from typing import Any

_WHOLE = 1 - 1e-9  # scorers give parts of a point for answers that are nearly right


@cache
def _gym_scorer(kind: str, settings: str) -> Any:
    from reasoning_gym.factory import create_dataset

    return create_dataset(kind, **json.loads(settings)).score_answer


def right(question: dict[str, Any]) -> bool:
    """Whether the answer earns the whole point, or is the same as the truth; what is to be loaded is."""
    if "load" in question:
        import_module(question["load"])
        return True
    answer = question["answer"]
    if "kind" in question:
        score = _gym_scorer(question["kind"], json.dumps(question["settings"], sort_keys=True))
        return float(score(answer, question["entry"])) >= _WHOLE
    from math_verify import parse, verify

    # Who started this waits no longer than it wants to, so that no clock is needed here.
    truth, given = (_read(parse, text) for text in (question["truth"], answer))
    return bool(truth and given and verify(truth, given, timeout_seconds=None))


def _read(parse: Any, text: str) -> Any:
    """A text as mathematics, as LaTeX or as plain text."""
    marked = text if any(mark in text for mark in ("$", "\\boxed", "\\(", "\\[")) else f"${text}$"
    return parse(marked, parsing_timeout=None)


def main() -> None:
    """Answer until the input ends. What libraries print goes to standard error."""
    logging.disable(logging.CRITICAL)
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            said: dict[str, Any] = {"right": right(json.loads(line))}
        except Exception as error:  # a scorer that an answer breaks has found it wrong
            said = {"right": False, "fault": f"{type(error).__name__}: {error}"[:300]}
        out.write(json.dumps(said) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
