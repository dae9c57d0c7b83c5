"""Prompts are files: `synthagent/prompts/NAME.md`, a Jinja template -> messages, and the version by content hash.

What stands above the first line `---` is the system message, what stands below it the user's. Values are inserted as
they are and never evaluated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from synthagent.records import Message


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered prompt. `version`: name and content hash of the file it came from."""

    messages: tuple[Message, ...]
    version: str


def render(name: str, **values: Any) -> Prompt:
    """Fill in the prompt file `name`."""
    if all(isinstance(value, str) for value in values.values()):
        return _rendered(name, tuple(values.items()))  # a policy's is the same in every turn of every episode of a task
    return _render(name, values)


@lru_cache(maxsize=512)
def _rendered(name: str, values: tuple[tuple[str, str], ...]) -> Prompt:
    return _render(name, dict(values))


def _render(name: str, values: Mapping[str, Any]) -> Prompt:
    file = _load(name)
    texts = [part.render(**values).strip() for part in file.parts]
    roles = ("system", "user") if len(texts) == 2 else ("user",)
    messages = tuple({"role": role, "content": text} for role, text in zip(roles, texts, strict=True))
    return Prompt(messages, file.version)


def fenced(text: str) -> str:
    """Untrusted text between two lines that it cannot contain, so that it cannot pass for a part of the prompt."""
    mark = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
    return f"<<<{mark}\n{text}\n{mark}>>>"


@dataclass(frozen=True, slots=True)
class _File:
    parts: tuple[Template, ...]
    version: str


@cache
def _load(name: str) -> _File:
    text = resources.files("synthagent.prompts").joinpath(f"{name}.md").read_text(encoding="utf-8")
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    parts = tuple(environment.from_string(part) for part in text.split("\n---\n", 1))
    return _File(parts, f"{name}@{hashlib.sha256(text.encode()).hexdigest()[:12]}")
