"""Text that came from outside: fit for every file and server (`clean`), for a terminal (`visible`), read by words."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

MOST_CHARACTERS = 1_000_000
_UNFIT = "\ufffd"
_AS_THEY_ARE = json.JSONEncoder(ensure_ascii=False)
_WORD = re.compile(r"(?<!\w)-?\d+\.\d+(?!\w)|(?<!\w)-\d+(?!\w)|\w+")


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


def json_text(value: Any) -> str:
    """JSON in which letters stand as they are, so that a model need not spell the `é` it reads as an escape.

    Half a pair of surrogates, which no file can hold, makes all of it ASCII.
    """
    text = _AS_THEY_ARE.encode(value)
    return text if text.encode("utf-8", "replace").decode() == text else json.dumps(value)


def visible(text: str) -> str:
    """`text` with control, direction and other invisible characters shown as escapes; line ends stay."""
    return "".join(
        character
        if character == "\n" or unicodedata.category(character)[0] != "C"
        else character.encode("unicode_escape").decode()
        for character in text
    )


def words_of(text: str) -> list[str]:
    """The words of a text, lower case: letters of any script, digits and underscores; `-1.5` is one."""
    return _WORD.findall(text.lower())


def contains_phrase(text: str, phrase: str) -> bool:
    """Whether the words of `phrase` stand in `text` in a row."""
    return f" {' '.join(words_of(phrase))} " in f" {' '.join(words_of(text))} "
