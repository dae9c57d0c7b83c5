"""Text that came from outside -> text that every file, store and server of ours can hold."""

from __future__ import annotations

from typing import Any

MOST_CHARACTERS = 1_000_000
_UNFIT = "\ufffd"


def clean(text: str) -> str:
    """No halves of characters (lone surrogates), no NUL, not endless."""
    text = text[:MOST_CHARACTERS].replace("\x00", _UNFIT)
    try:
        text.encode()
    except UnicodeEncodeError:
        # The halves of one character that JSON escaped apart belong together; what is left alone is no character.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def clean_value(value: Any) -> Any:
    """A JSON value with all its texts and keys clean: in JSON text, escapes can hide what `clean` would have seen."""
    match value:
        case str():
            return clean(value)
        case dict():
            return {clean(key): clean_value(item) for key, item in value.items()}
        case list():
            return [clean_value(item) for item in value]
    return value
