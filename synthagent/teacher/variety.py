"""How varied tasks, or problems of others, are: instructions and tools -> a `Variety`, the same figures for any set.

Twins share an instruction: equal instructions count once. What grows or shrinks with the size of a set is measured on
samples of an equal number of words, so that sets of different size compare.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
from pydantic import Field

from synthagent.frozen import Json, Record
from synthagent.llm.embeddings import Embeddings
from synthagent.records import Task
from synthagent.text import words_of

WORDS = 10_000  # of a sample, where a set has as many
_SAMPLES = 5  # so many, at most, are averaged
_EMBEDDED = 1_000  # so many instructions, at most, get vectors
_TYPES = {"dict": "object", "float": "number", "tuple": "array", "str": "string", "int": "integer", "bool": "boolean"}


class Variety(Record):
    """What a set comes to. Null is what cannot be known: too few words, no model at hand, no schema."""

    tasks: int
    instructions: int = Field(description="different ones")
    words: int = Field(description="of the different instructions")
    tools: int = Field(description="different names")
    shapes: int | None = Field(description="different shapes of what a tool takes; see `shape_of`")
    trigrams: int = Field(description="different rows of three words in instructions")
    sample: int = Field(description="words of the samples that the next two figures are means over")
    trigram_share: float | None = Field(description="different rows of three words, over all rows of three")
    compression: float | None = Field(description="bytes over bytes by zlib at level 9: more says the same again")
    spread: float | None = Field(description="mean cosine distance of two instructions' vectors")


def shape_of(parameters: Any) -> str:
    """The types of what a tool takes, without names, order and words: `array[string], integer?, string(enum)`.

    `?`: it may be left out.
    """
    if not isinstance(parameters, Mapping) or not isinstance(parameters.get("properties"), Mapping):
        return ""
    required = parameters.get("required")
    needed = set(required) if isinstance(required, list | tuple) else set()
    parts = (f"{_type(schema)}{'' if name in needed else '?'}" for name, schema in parameters["properties"].items())
    return ", ".join(sorted(parts))


def _type(schema: Any) -> str:
    if not isinstance(schema, Mapping):
        return "any"
    kind: Json = schema.get("type", "any")
    names = [_TYPES.get(str(one), str(one)) for one in (kind if isinstance(kind, list) else [kind])]
    name = "|".join(sorted(names))
    if "items" in schema:
        name += f"[{_type(schema['items'])}]"
    if isinstance(schema.get("properties"), Mapping):
        name += f"{{{shape_of(schema)}}}"
    return f"{name}(enum)" if "enum" in schema else name


@dataclass(slots=True)
class VarietyCount:
    """Counts a set task by task; a hundred thousand take some 60 MB."""

    tasks: int = 0
    names: set[str] = field(default_factory=set)
    shapes: set[str] = field(default_factory=set)
    unknown_shapes: bool = False
    instructions: dict[str, int] = field(default_factory=dict)
    rows: array[int] = field(default_factory=lambda: array("q"))

    def add_task(self, task: Task) -> None:
        """Count a task of ours."""
        self.add([task.instruction], ((tool.name, shape_of(tool.parameters)) for tool in task.tools))

    def add(self, instructions: Iterable[str], tools: Iterable[tuple[str, str | None]]) -> None:
        """Count one task or problem. A tool is its name and its shape, None where that is not known."""
        self.tasks += 1
        for name, shape in tools:
            self.names.add(name)
            if shape is None:
                self.unknown_shapes = True
            else:
                self.shapes.add(shape)
        for instruction in instructions:
            if instruction not in self.instructions:
                words = words_of(instruction)
                self.instructions[instruction] = len(words)
                self.rows.extend(map(hash, _threes(words)))

    @property
    def words(self) -> int:
        """Of all different instructions."""
        return sum(self.instructions.values())

    def variety(self, words: int = WORDS, embeddings: Embeddings | None = None) -> Variety:
        """The figures; `words`: of a sample. Which instructions are sampled depends on nothing but the set."""
        chosen = sorted(self.instructions, key=lambda text: sha256(text.encode("utf-8", "replace")).digest())
        samples = list(_samples(chosen, self.instructions, words))
        spread = _spread(embeddings.of(chosen[:_EMBEDDED])) if embeddings and len(chosen) > 1 else None
        return Variety(
            tasks=self.tasks,
            instructions=len(chosen),
            words=self.words,
            tools=len(self.names),
            shapes=None if self.unknown_shapes else len(self.shapes),
            trigrams=len(np.unique(np.frombuffer(self.rows, np.int64))) if self.rows else 0,
            sample=words,
            trigram_share=_mean([_trigram_share(sample, words) for sample in samples], 4),
            compression=_mean([_compression(sample) for sample in samples], 3),
            spread=None if spread is None else round(spread, 4),
        )


def headlines(variety: Variety) -> dict[str, float | None]:
    """What metrics say of it, by their names there."""
    return {
        "distinct_tools": variety.tools,
        "distinct_shapes": variety.shapes,
        "distinct_trigrams": variety.trigrams,
        "trigram_share": variety.trigram_share,
        "compression_ratio": variety.compression,
        "embedding_spread": variety.spread,
    }


def variety_of(tasks: Iterable[Task], words: int = WORDS, embeddings: Embeddings | None = None) -> Variety:
    """The figures of tasks of ours."""
    count = VarietyCount()
    for task in tasks:
        count.add_task(task)
    return count.variety(words, embeddings)


def _threes(words: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    return zip(words, words[1:], words[2:], strict=False)


def _samples(texts: Sequence[str], lengths: Mapping[str, int], words: int) -> Iterator[list[str]]:
    """Disjoint samples, each of the first texts that have so many words together; the last ones are left."""
    sample, have, made = list[str](), 0, 0
    for text in texts:
        sample.append(text)
        have += lengths[text]
        if have >= words > 0:
            yield sample
            sample, have, made = [], 0, made + 1
            if made == _SAMPLES:
                return


def _trigram_share(sample: Sequence[str], words: int) -> float:
    """Rows do not cross from one text to the next; what the last text has too much is cut."""
    rows: list[tuple[str, str, str]] = []
    left = words
    for text in sample:
        some = words_of(text)[:left]
        left -= len(some)
        rows += _threes(some)
    return len(set(rows)) / max(1, len(rows))


def _compression(sample: Sequence[str]) -> float:
    raw = "\n".join(sample).encode("utf-8", "replace")
    return len(raw) / len(zlib.compress(raw, 9))


def _spread(vectors: Any) -> float:
    """Of vectors of length 1: one less their mean cosine, over all pairs of two."""
    count = len(vectors)
    whole = np.asarray(vectors, np.float64).sum(axis=0)
    return float(1 - (whole @ whole - count) / (count * (count - 1)))


def _mean(values: Sequence[float], digits: int) -> float | None:
    return round(sum(values) / len(values), digits) if values else None
