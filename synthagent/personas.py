"""What a sentence can say of a persona: its text -> a short role."""

from __future__ import annotations

import re

_FUNCTION_WORD = re.compile(
    r"who|whose|with|from|that|which|and|or|but|in|of|for|on|to|by|at|up|out|over|into|under|when|while|after|as", re.I
)
_OPENING = re.compile(r"^\s*(as|i am|i'm|i\u2019m)\s+", re.I)
_MOST_WORDS = 3


def role_of(persona: str) -> str:
    """A short phrase for who speaks: 'A retired bank teller who sings in bars' -> 'a retired bank teller'."""
    words = re.findall(r"[A-Za-z][A-Za-z'-]*|[,.;:()]", _OPENING.sub("", persona))
    article = words.pop(0).lower() if words and words[0].lower() in ("a", "an", "the") else ""
    kept: list[str] = []
    for word in words:
        participle = word.endswith(("ing", "ed")) and kept  # 'a teller | collecting stamps'
        if _FUNCTION_WORD.fullmatch(word) or not word[0].isalpha() or participle or len(kept) == _MOST_WORDS:
            break
        kept.append(word.lower())
    if not kept:
        return ""
    return f"{article or ('an' if kept[0][0] in 'aeiou' else 'a')} {' '.join(kept)}"
