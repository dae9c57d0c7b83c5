"""Domains are data: one YAML file each in `domains/`. Adding a domain is adding a file.

A blended domain is made of words drawn from `lexicon.txt`: from it, a student without pre-training learns to copy names
from its prompt instead of memorising them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

import yaml
from pydantic import Field

from synthagent.frozen import Record

_FILES = resources.files("synthagent.teacher")
BLEND = "blend"
# Of all domains: which of them a rule names stands in the rule, so that no word says by itself whether to act.
# Three, as each is one more word that a small network has to meet often before it can judge (docs/decisions.md).
STATUSES = ("active", "frozen", "pending")


class Choice(Record):
    """An attribute of an entity that can be set, and its values."""

    slots: tuple[str, ...]
    values: tuple[str, ...] = Field(min_length=2)


class Action(Record):
    """Synonymous verbs, and the status that an entity has afterwards."""

    verbs: tuple[str, ...] = Field(min_length=1)
    done: str


class Domain(Record):
    """The words of one domain."""

    name: str
    split: Literal["train", "unseen_domain"]
    keywords: tuple[str, ...] = Field(description="prefixes of words in a persona that lead here")
    nouns: tuple[str, ...]
    persons: tuple[str, ...]
    choice: Choice
    actions: tuple[Action, ...] = Field(min_length=2)
    extras: tuple[str, ...] = Field(min_length=2)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """All words that the teacher can use, read once."""

    train: tuple[Domain, ...]
    unseen: tuple[Domain, ...]
    lexicon: tuple[str, ...]
    names: tuple[str, ...]


def load_vocabulary() -> Vocabulary:
    """Read the domain files and word lists that ship with the package."""
    files = sorted((f for f in (_FILES / "domains").iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name)
    domains = [Domain.model_validate(_yaml(file.read_text())) for file in files]
    return Vocabulary(
        train=tuple(d for d in domains if d.split == "train"),
        unseen=tuple(d for d in domains if d.split == "unseen_domain"),
        lexicon=read_lines("lexicon.txt"),
        names=read_lines("names.txt"),
    )


def read_lines(name: str) -> tuple[str, ...]:
    """The non-empty lines of a text file that ships with the teacher."""
    return tuple(line.strip() for line in (_FILES / name).read_text().splitlines() if line.strip())


def domain_of(persona: str, among: tuple[Domain, ...], rng: random.Random) -> Domain:
    """The domain that a persona's words lead to; where several or none do, one drawn with `rng`."""
    words = persona.lower().split()
    leads = [d for d in among if any(word.startswith(d.keywords) for word in words)]
    return rng.choice(leads or among)


def blend(vocabulary: Vocabulary, rng: random.Random) -> Domain:
    """A made-up domain: words of the lexicon in the roles, actions of the training domains."""
    actions = rng.sample([a for d in vocabulary.train for a in d.actions], 8)
    distinct: list[Action] = []
    for action in actions:
        taken = {verb for a in distinct for verb in (*a.verbs, a.done)}
        if not taken & {*action.verbs, action.done}:
            distinct.append(action)
    used = {*STATUSES, *(word for action in distinct for word in (*action.verbs, action.done))}
    words = [w for w in rng.sample(vocabulary.lexicon, 40) if w not in used]
    return Domain(
        name=BLEND,
        split="train",
        keywords=(),
        nouns=tuple(words[0:2]),
        persons=tuple(words[2:3]),
        choice=Choice(slots=tuple(words[3:4]), values=tuple(words[4:8])),
        actions=tuple(distinct[:3]),
        extras=tuple(words[8:10]),
    )


def _yaml(text: str) -> Any:
    return yaml.safe_load(text)
