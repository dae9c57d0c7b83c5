"""When an answer is right: a problem and what somebody answered -> yes or no.

What is equal, letter by letter or as a number, needs nobody. All else is put to `synthagent.reasoning.scorer`, a
process that is kept: the scorer of the problem's source, or math-verify. It runs in isolation (`synthagent.isolation`)
where that can be had; where not, an answer of a kind whose scorer evaluates what it reads has to be equal.
"""

from __future__ import annotations

import atexit
import os
import re
import sys
import threading
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from synthagent.isolation import Limits, isolated, unavailable
from synthagent.lines import DEAD, LATE, LineProcess
from synthagent.records import Problem

GYM = "reasoning-gym:"  # of a problem's source, before the name of its kind
# In a problem's provenance: further right answers; what its source's scorer needs, and the settings of its dataset.
ALIASES, ENTRY, SETTINGS = "aliases", "entry", "settings"
MOST_CHARACTERS = 4_000
# Kinds of reasoning-gym whose scorer hands the answer to `eval` or to sympy's `parse_expr`.
EVALUATED = frozenset(
    [
        "binary_matrix",
        "countdown",
        "intermediate_integration",
        "n_queens",
        "polynomial_multiplication",
        "puzzle24",
        "simple_integration",
        "spiral_matrix",
        "string_insertion",
    ]
)
_PROGRAM = "synthagent.reasoning.scorer"
_LIMITS = Limits(memory_mb=4096, processes=16, file_mb=32)
_LOADING_S, _SCORING_S = 120.0, 5.0
MATHS = re.compile(r"[\d\\=+*/^<>{}()\[\]|%$]")
_NUMBER = re.compile(r"[-+]?(\d{1,3}(,\d{3})+|\d+)?(\.\d*)?")
_SEVERAL = re.compile(r"\n|\d\s*=\s*[-+]?\d|\$[^$]*\$|[\"'`]")  # of which math-verify would take the last
_BOXED = re.compile(r"\\boxed\{(.*)\}", re.DOTALL)


def same(problem: Problem, answer: str) -> bool:
    """Whether an answer of a policy is right."""
    given = answer.strip()
    if not given or len(given) > MOST_CHARACTERS:
        return False
    if problem.source.startswith(GYM):
        return given == problem.answer or _by_source(problem, given)
    truths = (problem.answer, *problem.provenance.get(ALIASES, ()))
    return any(equal(truth, given) for truth in truths)


def equal(truth: str, given: str) -> bool:
    """Whether two texts say the same: as numbers, as words, or else as mathematics. Several answers are none."""
    truth, given = _bare(truth), _bare(given)
    if truth == given:
        return True
    if (number := _number(truth)) is not None and (other := _number(given)) is not None:
        return number == other
    if not MATHS.search(truth):
        return _words(truth) == _words(given)
    if _SEVERAL.search(given) and not _SEVERAL.search(truth):
        return False
    return _scorer(os.getpid()).right({"truth": truth, "answer": given})


def scores_itself(problem: Problem) -> bool:
    """Whether its source's scorer takes the known answer of a problem, as it is stored, for right."""
    return not problem.source.startswith(GYM) or _by_source(problem, problem.answer)


def _by_source(problem: Problem, given: str) -> bool:
    kind, scorer = problem.source.removeprefix(GYM), _scorer(os.getpid())
    if kind in EVALUATED and not scorer.isolated:
        return given == problem.answer
    entry, settings = problem.provenance[ENTRY], problem.provenance.get(SETTINGS, {})
    return scorer.right({"kind": kind, "settings": settings, "entry": entry, "answer": given})


def _bare(text: str) -> str:
    """Without the frames that mathematics comes in, spaces around it, and a full stop behind it."""
    text = text.strip().removesuffix(".").strip()
    if boxed := _BOXED.search(text):
        text = boxed[1]
    return text.strip("$ \n")


def _number(text: str) -> Fraction | None:
    if len(text) > 400 or not _NUMBER.fullmatch(text) or not any(character.isdecimal() for character in text):
        return None
    return Fraction(text.replace(",", ""))


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r"\w+", text.casefold()) if word not in ("a", "an", "the")]


class _Scorer:
    """The process that scores. It is started when first asked, and again when an answer has ended it."""

    def __init__(self) -> None:
        self.isolated = not unavailable()
        self._process: LineProcess | None = None
        self._loaded: set[str] = set()
        self._lock = threading.Lock()
        self._pid = os.getpid()
        atexit.register(self._end)

    def right(self, question: Mapping[str, Any]) -> bool:
        """Whether the answer in a question is right; one that takes too long, or ends the process, is not."""
        library = "reasoning_gym" if "kind" in question else "math_verify"
        with self._lock:
            for _ in range(2):  # a process may have died with the thread that started it
                if library not in self._loaded and self._said({"load": library}, _LOADING_S) is not None:
                    self._loaded.add(library)
                said = self._said(question, _SCORING_S)
                if said is not None:
                    return bool(said["right"])
        return False

    def _said(self, question: Mapping[str, Any], patience_s: float) -> dict[str, Any] | None:
        """What the process says to a question; None if it has ended without a word. One that is too slow says no."""
        self._process = self._process or self._started()
        said = self._process.ask(question, patience_s)
        if said is LATE or said is DEAD:
            self._end()
            return {"right": False} if said is LATE else None
        return said

    def _started(self) -> LineProcess:
        found = find_spec(_PROGRAM)
        assert found is not None
        assert found.origin is not None
        program, python = Path(found.origin), Path(sys.executable)
        arguments = ["-I", str(program)]
        command = isolated(python, arguments, [program], _LIMITS) if self.isolated else [str(python), *arguments]
        return LineProcess(command)

    def _end(self) -> None:
        if self._process is None or os.getpid() != self._pid:
            return
        process, self._process = self._process, None
        self._loaded.clear()
        process.close()


@lru_cache(maxsize=4)
def _scorer(pid: int) -> _Scorer:
    """The scorer of this process: one that was forked must not use its parent's."""
    return _Scorer()
