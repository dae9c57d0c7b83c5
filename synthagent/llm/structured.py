"""Structured answers: a reply's text -> a validated record. What a model wrote is untrusted until it is one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from synthagent.errors import BadReplyError
from synthagent.llm.store import Reply
from synthagent.text import clean_value

T = TypeVar("T", bound=BaseModel)
_LONGEST_FAULT = 300


def json_schema_of(shape: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema that an answer has to fit."""
    return shape.model_json_schema()


def parse(reply: Reply, shape: type[T]) -> T:
    """The record in a reply: the first JSON object in its text that fits.

    Raises:
        BadReplyError: refused (`refusal`), cut off (`truncated`), no JSON object (`no_json`), or one that breaks a rule
            (`wrong_shape`).
    """
    if reply.finish in ("refusal", "content_filter"):
        raise BadReplyError("refusal", " ".join(reply.text.split())[:_LONGEST_FAULT], reply.tokens)
    fault = BadReplyError("no_json", "there is no JSON object in it", reply.tokens)
    for value in _objects(reply.text):
        try:
            return shape.model_validate(value)
        except ValidationError as error:
            fault = BadReplyError("wrong_shape", _told(error), reply.tokens)
    if reply.finish == "length":
        raise BadReplyError(
            "truncated", "it was cut off before it was complete (max_tokens of the role may be too few)", reply.tokens
        )
    raise fault


def complaint(fault: BadReplyError) -> str:
    """What to say to a model whose answer could not be used."""
    return f"That cannot be used: {fault.detail}. Answer again with the corrected JSON object, whole, and nothing else."


def _objects(text: str) -> Iterator[Any]:
    """The JSON objects in a text, wherever they begin; inside of one none is sought."""
    decoder, place = json.JSONDecoder(parse_constant=_no_number), 0
    for _ in range(20):
        place = text.find("{", place)
        if place < 0:
            return
        try:
            value, place = decoder.raw_decode(text, place)
            yield clean_value(value)
        except (ValueError, RecursionError):
            place += 1


def _no_number(name: str) -> Any:
    raise ValueError(name)  # NaN and Infinity are not JSON


def _told(error: ValidationError) -> str:
    faults = (f"{'.'.join(map(str, f['loc'])) or 'the object'}: {f['msg']}" for f in error.errors()[:3])
    return "; ".join(faults)[:_LONGEST_FAULT]
