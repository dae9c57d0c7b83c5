"""Problems of the user's: a JSON lines file -> problems; a line that cannot be used becomes a rejected row.

The formats are those in which such problems are published, whatever the case of the keys:
ToolStar's  {"question": .., "answer": [..]}, or as for verl {"question": .., "ability": "math" | "qa",
            "reward_model": {"ground_truth": .. }}; several answers that are words are all right (names of one thing);
AIME's      {"id": .., "problem": .., "solution": .., "answer": ..}; the solution is not read.
A row may also have `kind`, and `tools` (python, search). Where it has no tools, `qa` is for the search.
"""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from synthagent.errors import InputError
from synthagent.reasoning.answers import ALIASES, MATHS, MOST_CHARACTERS, equal
from synthagent.reasoning.gym import id_of
from synthagent.records import Problem, Rejected
from synthagent.text import clean_value

MOST_OF_A_QUESTION = 20_000
_QUESTIONS = ("question", "problem", "instruction", "prompt")
_ANSWERS = ("answer", "ground_truth", "golden_answers", "reward_model")
_TOOLS = ("python", "search")
_EITHER = re.compile(r"\d\s+or\s+[-+$\\(]*\d")


class _RowError(Exception):
    """Why a row is no problem."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


def read_given(path: Path, count: int, search: bool) -> Iterator[Problem | Rejected]:
    """The first `count` rows of a file. `search`: there is a search tool.

    Raises:
        InputError: no such file, not UTF-8, or no row in it.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise InputError(f"reasoning.path: {path}: {error.strerror}; give a JSON lines file, or null") from None
    except UnicodeDecodeError as error:
        raise InputError(f"reasoning.path: {path}: not UTF-8 text at byte {error.start}; convert it to UTF-8") from None
    rows = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise InputError(
            f'reasoning.path: {path}: no problem in it; give one a line: {{"question": "2 + 2?", "answer": "4"}}'
        )
    for index, (number, line) in enumerate(rows[:count]):
        try:
            yield _problem(_row(line), index, path, number, search)
        except _RowError as fault:
            detail = f"{path.name}:{number}: {fault.detail}"
            payload = line[:MOST_OF_A_QUESTION].encode("utf-8", "replace").decode()
            yield Rejected(id=id_of(index), stage="reasoning", reason=fault.reason, detail=detail, payload=payload)


def _row(line: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _RowError("malformed", f"not JSON ({error})") from None
    if not isinstance(row, dict):
        raise _RowError("malformed", "not a JSON object")
    try:
        return {str(key).lower(): value for key, value in clean_value(row).items()}
    except RecursionError:
        raise _RowError("malformed", "nested too deep") from None


def _problem(row: Mapping[str, Any], index: int, path: Path, number: int, search: bool) -> Problem:
    question = _question(row)
    kind = row.get("kind") or row.get("ability") or "given"
    if not isinstance(kind, str) or not re.fullmatch(r"[\w .:-]{1,60}", kind):
        raise _RowError("malformed", f"`kind` must be a short text, but it is {reprlib.repr(kind)}")
    answer, *aliases = _answers(row)
    return Problem(
        id=id_of(index),
        persona_id="",
        kind=kind,
        split="train",
        instruction=question,
        answer=answer,
        source=path.name,
        tools=_tools(row, kind, search),
        provenance={"line": number, **({"id": str(row["id"])[:200]} if row.get("id") is not None else {})}
        | ({ALIASES: aliases} if aliases else {}),
    )


def _question(row: Mapping[str, Any]) -> str:
    found = next((row[name] for name in _QUESTIONS if row.get(name)), None)
    if isinstance(found, list):  # chat messages, as verl has them
        users = [part.get("content") for part in found if isinstance(part, dict) and part.get("role") == "user"]
        found = users[0] if len(users) == 1 else None
    if not isinstance(found, str) or not found.strip():
        raise _RowError("malformed", f"no question: a text under one of {', '.join(_QUESTIONS)} is wanted")
    if len(found) > MOST_OF_A_QUESTION:
        raise _RowError("too_long", f"a question of {len(found):,} characters; at most {MOST_OF_A_QUESTION:,}")
    return found.strip()


def _answers(row: Mapping[str, Any]) -> list[str]:
    """The right answers of a row: one; or several words for one thing."""
    texts = [text for name in _ANSWERS for text in _texts(row.get(name))]
    if not texts:
        raise _RowError("no_answer", f"no answer: a text or a number under one of {', '.join(_ANSWERS)} is wanted")
    if len(max(texts, key=len)) > MOST_CHARACTERS:
        raise _RowError("too_long", f"an answer of more than {MOST_CHARACTERS:,} characters")
    first, *others = dict.fromkeys(texts)
    in_words = not any(MATHS.search(text) for text in texts)
    if not in_words and not all(equal(first, other) for other in others):
        raise _RowError("several_answers", f"answers that differ: {', '.join(texts)[:300]}")
    if _EITHER.search(first):
        raise _RowError("several_answers", f"an answer that is several: {first[:300]}")
    return [first, *others] if in_words else [first]


def _texts(value: Any) -> list[str]:
    match value:
        case bool() | None:
            return []
        case str() | int() | float():
            return [str(value).strip()] if str(value).strip() else []
        case list():
            return [text for part in value for text in _texts(part)]
        case {"ground_truth": truth}:
            return _texts(truth)
    return []


def _tools(row: Mapping[str, Any], kind: str, search: bool) -> tuple[Any, ...]:
    wanted = row.get("tools") or (("search",) if kind == "qa" else ("python",))
    if not isinstance(wanted, list | tuple) or not all(name in _TOOLS for name in wanted):
        raise _RowError("malformed", f"`tools` must be of {', '.join(_TOOLS)}, but it is {reprlib.repr(wanted)}")
    if "search" in wanted and not search:
        raise _RowError("no_search", "it needs the search tool; name a corpus in reasoning.search")
    return tuple(name for name in _TOOLS if name in wanted)
