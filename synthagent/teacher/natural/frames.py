"""The sentence frames of `frames.yaml`, read once: groups of frames by voice, and lists of words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal, get_args

import yaml

Voice = Literal["plain", "terse", "formal", "chatty", "learner"]
VOICES: tuple[Voice, ...] = get_args(Voice)
_WORDS = ("measures", "seekers", "to_verbs", "no_nouns")


@dataclass(frozen=True, slots=True)
class Frames:
    """`groups`: group, voice, frames. `words`: lists of nouns and verbs. `personas`: beginnings of words, by voice."""

    groups: Mapping[str, Mapping[Voice, tuple[str, ...]]]
    words: Mapping[str, frozenset[str]]
    personas: Mapping[Voice, tuple[str, ...]]


@cache
def frames() -> Frames:
    """Read the file that ships with the package."""
    read = yaml.safe_load((resources.files("synthagent.teacher.natural") / "frames.yaml").read_text(encoding="utf-8"))
    groups = {name: group for name, group in read.items() if name not in _WORDS and name != "personas"}
    return Frames(
        groups={name: {voice: _of(by, name, voice) for voice in VOICES} for name, by in groups.items()},
        words={name: _flat(read[name]) for name in _WORDS},
        personas={voice: tuple(stems) for voice, stems in read["personas"].items()},
    )


def _of(group: Mapping[Voice, list[str]], name: str, voice: Voice) -> tuple[str, ...]:
    """What a voice has in a group; what agents say is the same for all, and a terse user greets nobody."""
    return tuple(group.get(voice, [] if name == "greeting" else group["plain"]))


def _flat(lines: Iterable[str | list[str]]) -> frozenset[str]:
    """The words of a list, or of a list of lists."""
    return frozenset(word for line in lines for word in ([line] if isinstance(line, str) else line))
