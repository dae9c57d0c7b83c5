"""Messages of an episode -> the lines that a judge or an extractor reads, and whether a quote stands in one of them.

One line a message: whoever writes a message cannot begin a line, and so cannot speak as another role.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MOST_OF_A_LINE, _MOST = 4_000, 60_000  # characters
_CUT = " (...) "
_LABEL = re.compile(r"^(?:\[\d+\]\s*)?(?:agent calls|agent|tool answers|user)\s*:")
_AROUND = " \t\r\n\"'`\u201c\u201d\u2018\u2019\u2026."  # quotation marks and dots that models put around a quote


@dataclass(frozen=True, slots=True)
class TranscriptLine:
    """One message, or one call in it."""

    label: str
    text: str

    def __str__(self) -> str:
        return f"{self.label} {self.text}"


def transcript(messages: Sequence[Mapping[str, Any]], most: int = _MOST) -> tuple[TranscriptLine, ...]:
    """What happened after the opening (constraints and instruction), a line a message.

    Overlong messages lose their middle; if the whole is longer than `most` characters, lines in its middle are left
    out.
    """
    lines = [line for number, message in enumerate(messages[2:], 1) for line in _lines(number, message)]
    sizes = [len(str(line)) for line in lines]
    if sum(sizes) <= most:
        return tuple(lines)
    head, tail, left = 0, len(lines), most
    while head < tail and left > 0:  # from both ends inwards
        left -= sizes[head]
        head += 1
        if head < tail and left > 0:
            tail -= 1
            left -= sizes[tail]
    left_out = [TranscriptLine("[..]", f"{tail - head} lines are left out here")] if head < tail else []
    return (*lines[:head], *left_out, *lines[tail:])


def shown(lines: Sequence[TranscriptLine]) -> str:
    """The lines as one text."""
    return "\n".join(map(str, lines)) or "(nothing happened)"


def pieces(lines: Sequence[TranscriptLine], longest: int = 160) -> tuple[str, ...]:
    """The lines' texts in pieces of whole words, each a quote of at most `longest` characters; none twice."""
    found = (piece for line in lines for piece in textwrap.wrap(_flat(line.text), longest, break_on_hyphens=False))
    return tuple(dict.fromkeys(piece for piece in found if is_quoted(piece, lines)))


def is_empty(quote: str) -> bool:
    """Whether a quote holds no word at all."""
    return re.search(r"\w", quote) is None


def is_quoted(quote: str, lines: Sequence[TranscriptLine]) -> bool:
    """Whether `quote` stands in one of the lines, in whole words; white space and case do not matter."""
    bare = _plain(quote)
    wanted = {plain for plain in (bare, _plain(_LABEL.sub("", bare))) if not is_empty(plain)}
    return any(_stands_in(plain, _flat(line.text).casefold()) for line in lines for plain in wanted)


def one_line(text: str, most: int = _MOST_OF_A_LINE) -> str:
    """A text on one line, encodable, without its middle where it is longer than `most` characters."""
    flat = _flat(text).encode("utf-8", "replace").decode()
    half = (most - len(_CUT)) // 2
    return flat if len(flat) <= most else flat[:half] + _CUT + flat[-half:]


def _lines(number: int, message: Mapping[str, Any]) -> list[TranscriptLine]:
    role, text = message["role"], one_line(str(message.get("content") or ""))
    if role != "assistant":
        return [TranscriptLine(f"[{number}] {'TOOL ANSWERS' if role == 'tool' else 'USER'}:", _readable(text))]
    lines = [TranscriptLine(f"[{number}] AGENT:", text)] if text else []
    for call in message.get("tool_calls") or ():
        arguments = _readable(one_line(call["function"]["arguments"]))
        lines.append(TranscriptLine(f"[{number}] AGENT CALLS:", one_line(f"{call['function']['name']} {arguments}")))
    return lines


def _readable(text: str) -> str:
    """JSON without escapes that a model would have to copy."""
    try:
        return one_line(json.dumps(json.loads(text), ensure_ascii=False))
    except (ValueError, RecursionError):
        return text


def _flat(text: str) -> str:
    return " ".join(text.split())


def _plain(quote: str) -> str:
    return _flat(quote).casefold().strip(_AROUND)


def _stands_in(plain: str, text: str) -> bool:
    place = text.find(plain)
    while place >= 0:
        end = place + len(plain)
        inside_word = (place > 0 and text[place - 1].isalnum() and plain[0].isalnum()) or (
            end < len(text) and text[end].isalnum() and plain[-1].isalnum()
        )
        if not inside_word:
            return True
        place = text.find(plain, place + 1)
    return False
