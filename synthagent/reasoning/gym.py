"""Problems of reasoning-gym: kinds by weight, and a seed -> problems, each with what its kind's scorer needs.

The package makes and scores its problems itself, offline. It is not among what synthagent always brings: one of its own
requirements has to be compiled.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from synthagent.errors import ParamsError
from synthagent.reasoning.answers import ENTRY, GYM, SETTINGS
from synthagent.records import Problem, Rejected

PACKAGE = "reasoning-gym"
REMEDY = "pip install 'synthagent[reasoning]', which takes a C compiler; or name a file in reasoning.path"
_OF_THE_DAY = frozenset({"time_intervals"})  # their problems depend on the day on which they are made
_SEEDS_APART = 1_000_003  # the package adds a problem's number to the seed
_OURS = frozenset({"seed", "size"})  # of a dataset's settings, those that follow from params


def lacking() -> str | None:
    """Why there are no problems of reasoning-gym here."""
    try:
        version(PACKAGE)
    except PackageNotFoundError:
        return f"the package {PACKAGE} is not installed: {REMEDY}"
    return None


def pose(
    kinds: Mapping[str, float], settings: Mapping[str, Mapping[str, Any]], count: int, seed: int
) -> Iterator[Problem | Rejected]:
    """Problem `number` depends on nothing but the kinds, their settings, the seed and the number.

    Raises:
        ParamsError: a kind that the package does not have, or cannot make with these settings.
    """
    names = sorted(name for name, weight in kinds.items() if weight)
    _check_names("kinds", names)
    _check_names("settings", sorted(settings))  # those of a kind that is not chosen stay for when it is
    sources = {name: _source(name, settings.get(name, {}), count, seed) for name in names}
    made_with = f"{PACKAGE} {version(PACKAGE)}"
    for number in range(count):
        rng = random.Random(f"reasoning-{seed}-{number}")
        kind = rng.choices(names, [kinds[name] for name in names])[0]
        wanted = settings.get(kind, {})
        with _told(kind, wanted):
            made = sources[kind][number]
        chosen = {SETTINGS: dict(wanted)} if wanted else {}
        yield _posed(made, kind, number, {"source": made_with, "seed": seed, **chosen})


def id_of(number: int) -> str:
    """The id of a problem, by its number."""
    return f"problem-{number:07d}"


def _source(name: str, settings: Mapping[str, Any], count: int, seed: int) -> Any:
    from reasoning_gym.factory import DATASETS, create_dataset

    if name in _OF_THE_DAY:
        raise ParamsError(
            f"params.yaml: reasoning.kinds.{name}: its problems depend on the day on which they are made; leave it out"
        )
    known = sorted({field.name for field in fields(DATASETS[name][1])} - _OURS)
    if strangers := sorted(set(settings) - set(known)):
        raise ParamsError(
            f"params.yaml: reasoning.settings.{name}: {PACKAGE} has no setting {', '.join(strangers)} of it; "
            f"it has {', '.join(known)}"[:900]
        )
    with _told(name, settings):
        return create_dataset(name, seed=seed * _SEEDS_APART, size=count, **settings)


@contextmanager
def _told(name: str, settings: Mapping[str, Any]) -> Iterator[None]:
    """Tell in one line what a dataset finds wrong with its settings: some by making it, some by making a problem."""
    try:
        yield
    except Exception as error:  # each dataset has errors of its own
        fault = " ".join(str(error).split())[:300] or type(error).__name__
        if settings:
            raise ParamsError(f"params.yaml: reasoning.settings.{name}: {fault}") from None
        raise ParamsError(
            f"params.yaml: reasoning.kinds.{name}: cannot be made without further settings ({fault}); "
            f"see reasoning.settings.{name}"
        ) from None


def _check_names(section: str, names: Sequence[str]) -> None:
    from reasoning_gym.factory import DATASETS

    for name in names:
        if name not in DATASETS:
            place, known = f"params.yaml: reasoning.{section}.{name}", ", ".join(sorted(DATASETS))
            raise ParamsError(f"{place}: {PACKAGE} has no such task; it has {known}"[:900])


def _posed(made: Mapping[str, Any], kind: str, number: int, provenance: Mapping[str, Any]) -> Problem | Rejected:
    entry = json.loads(json.dumps(dict(made), default=str))  # some have numbers and texts of numpy
    question, answer = str(entry["question"]).strip(), entry["answer"]
    if answer is None or not str(answer).strip():
        payload = json.dumps(entry)
        return Rejected(
            id=id_of(number), stage="reasoning", reason="no_answer", detail=f"{kind} knows no answer", payload=payload
        )
    return Problem(
        id=id_of(number),
        persona_id="",
        kind=kind,
        split="train",
        instruction=question,
        answer=str(answer),
        source=f"{GYM}{kind}",
        tools=("python",),
        provenance={**provenance, ENTRY: entry},
    )
