"""Stage `personas`: a JSON lines file, or the built-in list -> `data/personas.parquet`.

Launch: `synthagent personas` or `dvc repro personas`.
"""

from __future__ import annotations

import json
import reprlib
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from synthagent.errors import InputError
from synthagent.params import Params
from synthagent.records import Persona
from synthagent.stage import Figures, Paths, say
from synthagent.store import write_records
from synthagent.teacher.domains import read_lines

MOST_CHARACTERS = 2_000


def built_in() -> Iterator[Persona]:
    """The personas that ship with the teacher."""
    for number, text in enumerate(read_lines("personas.txt"), 1):
        yield Persona(id=f"built-in-{number:04d}", text=text, source="built-in")


def from_file(path: Path) -> Iterator[Persona]:
    """Personas of a JSON lines file: objects with `text` (or `persona`) and optionally `id`.

    Raises:
        InputError: missing, empty or unreadable file; at line k: not JSON, no text, too long, an id seen before.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # not at U+2028 and its like, which JSON allows
    except OSError as error:
        raise InputError(f"personas.path: {path}: {error.strerror}; give a JSON lines file, or null") from None
    except UnicodeDecodeError as error:
        raise InputError(f"personas.path: {path}: not UTF-8 text at byte {error.start}; convert it to UTF-8") from None
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        persona = _parse(path, number, line)
        if persona.id in seen:
            first = seen[persona.id]
            raise InputError(f"{path}:{number}: id {persona.id!r} stands already in line {first}; make it unique")
        seen[persona.id] = number
        yield persona
    if not seen:
        raise InputError(f'{path}: no persona in it; give one JSON object a line, such as {{"text": "a baker"}}')


def _parse(path: Path, number: int, line: str) -> Persona:
    place = f"{path}:{number}"
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: not JSON ({error}); give one JSON object a line") from None
    if not isinstance(row, dict):
        raise InputError(f"{place}: not a JSON object; give an object with a `text`")
    text, name = row.get("text", row.get("persona")), row.get("id", f"line-{number:06d}")
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{place}: `text` (or `persona`) must be a non-empty text, but it is {reprlib.repr(text)}")
    if not isinstance(name, str | int) or not str(name).strip() or len(str(name)) > 200:
        raise InputError(f"{place}: `id` must be a text of at most 200 characters, but it is {reprlib.repr(name)}")
    if len(text) > MOST_CHARACTERS:
        raise InputError(f"{place}: a text of {len(text):,} characters; at most {MOST_CHARACTERS:,} are allowed")
    if _has_controls(text) or _has_controls(str(name)):
        raise InputError(f"{place}: the text or the id has control characters; remove them")
    return Persona(id=str(name), text=text.strip(), source=path.name)


def _has_controls(text: str) -> bool:
    """Whether the text has control characters, or halves of characters."""
    return any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


def run(params: Params) -> Figures:
    """Read deps, write outs, return the figures."""
    path = params.personas.path
    personas = list(from_file(Path(path)) if path else built_in())[: params.personas.count]
    write_records(Paths.personas, Persona, sorted(personas, key=lambda p: p.id))
    say(f"{len(personas)} personas from {path or 'the built-in list'}")
    return Figures({"personas": len(personas)})
