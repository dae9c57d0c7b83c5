"""Equality of values by meaning: what checks and searches compare where the words are a person's own. Pure."""

from __future__ import annotations

import unicodedata

from synthagent.frozen import Json


def same(one: Json, other: Json) -> bool:
    """Whether two JSON values mean the same.

    Numbers by value, 10 and 10.0 (a number is no text, and true is not 1); texts by their words, whatever the case and
    the spaces; lists in any order; objects entry by entry.
    """
    match one, other:
        case bool(), bool():
            return one == other
        case (bool(), _) | (_, bool()):
            return False
        case ((int() | float()), (int() | float())):
            return abs(one - other) <= 1e-9 * max(1.0, abs(one), abs(other))
        case str(), str():
            return one == other or _folded(one) == _folded(other)
        case list(), list():
            return len(one) == len(other) and _paired(one, list(other))
        case dict(), dict():
            return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    return one is None and other is None


def _folded(text: str) -> list[str]:
    return unicodedata.normalize("NFC", text).casefold().split()


def _paired(one: list[Json], left: list[Json]) -> bool:
    """Whether each item has one of its own among those that are left."""
    for item in one:
        found = next((number for number, other in enumerate(left) if same(item, other)), None)
        if found is None:
            return False
        del left[found]
    return True
