"""Forms of English words: a noun or verb -> with its article, its plural, its gerund.

`inflect` knows them; it is slow, so each word is asked for once.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any

# Of these the last or first word makes no name of a value: 'the held on is ..'.
# fmt: off
PREPOSITIONS = frozenset(
    (
        "about", "above", "after", "around", "as", "at", "before", "below", "between", "by", "during", "for",
        "from", "in", "into", "near", "of", "off", "on", "onto", "over", "per", "since", "through", "till", "to",
        "toward", "towards", "under", "until", "up", "upon", "via", "with", "within", "without",
    )
)
_SPELLED_LIKE_VOWELS = frozenset("AEFHILMNORSX")  # letters whose names begin with a vowel: an SUV, an MRI
_DOUBLED = frozenset(
    (
        "begin", "bet", "cut", "forget", "get", "hit", "let", "put", "quit", "run", "set", "shut", "sit", "split",
        "spin", "stop", "swap", "win",
    )
)
# fmt: on


def a(noun: str) -> str:
    """The noun with its indefinite article: `an hour`, `a one-way ticket`."""
    return f"{article(noun.split(' ', 1)[0])} {noun}"


@lru_cache(maxsize=4096)
def article(word: str) -> str:
    """`a` or `an`, as the word is spoken."""
    if number := re.match(r"\d+", word):
        digits = number[0]
        return "an" if digits[0] == "8" or (digits[:2] in ("11", "18") and len(digits) % 3 == 2) else "a"
    if len(word) > 1 and word.isupper():
        return "an" if word[0] in _SPELLED_LIKE_VOWELS else "a"
    return "an" if word and str(_engine().a(word)).startswith("an ") else "a"


@lru_cache(maxsize=4096)
def plural(noun: str) -> str:
    """Several of it: `train connections`, `numbers of teeth`."""
    head, tail = _head_and_rest(noun)
    first, space, last = head.rpartition(" ")
    return f"{first}{space}{last if is_plural(last) else _engine().plural_noun(last)}{tail}"


@lru_cache(maxsize=4096)
def is_plural(noun: str) -> bool:
    """Whether a noun wants `are`: `dishes`, `guests at the table`, but not `number of teeth` or `status`."""
    head = _head_and_rest(noun)[0].rpartition(" ")[2].lower()
    return not head.endswith(("ss", "us", "is", "news")) and bool(_engine().singular_noun(head))


@lru_cache(maxsize=4096)
def singular(noun: str) -> str:
    """One of it: `person` for `people`; a noun that is no plural stays as it is."""
    return str(_engine().singular_noun(noun)) if is_plural(noun) else noun


@lru_cache(maxsize=4096)
def gerund(verb: str, past: str = "") -> str:
    """`moving`, `cancelling`, `calling off`. The past form shows whether the last letter is doubled."""
    stem, _, particle = verb.partition(" ")
    done = past.partition(" ")[0]
    if stem.endswith("ie"):
        form = stem[:-2] + "ying"
    elif stem.endswith("e") and not stem.endswith(("ee", "oe", "ye")) and stem != "be":
        form = stem[:-1] + "ing"
    elif done == f"{stem}{stem[-1]}ed" or stem in _DOUBLED:
        form = f"{stem}{stem[-1]}ing"
    else:
        form = stem + "ing"
    return f"{form} {particle}".strip()


def _head_and_rest(noun: str) -> tuple[str, str]:
    """'number of teeth' -> 'number', ' of teeth'."""
    words = noun.split(" ")
    cut = next((i for i, word in enumerate(words) if i and word.lower() in PREPOSITIONS), len(words))
    return " ".join(words[:cut]), "".join(f" {word}" for word in words[cut:])


@cache
def _engine() -> Any:
    import inflect  # a second of importing: only for whom writes natural tasks

    return inflect.engine()
