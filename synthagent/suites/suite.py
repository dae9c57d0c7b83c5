"""What a benchmark that others wrote is, for us: where it runs, its categories, what is known about its figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from synthagent.ops.environments import SuiteEnvironment


@dataclass(frozen=True, slots=True)
class Published:
    """Figures of others, in percent: model -> category -> figure. `harness`: whether it is the same as here."""

    source: str
    harness: str
    figures: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Suite:
    """A benchmark.

    `worker`: its module in `synthagent.suites.workers`. `refusals`: categories in which nothing is to be called, so
    that a policy that never calls has all of them -> the categories that say whether it calls where it should.
    `styles`: native, by tool calls; prompt, the suite's own way to ask for calls as text.
    `unsolvable`: problems for which the suite accepts no answer -> why. `memory_mb`: of a process of its worker.
    `wants_user`: a model plays the user, that of `roles.user`.
    """

    name: str
    environment: SuiteEnvironment
    worker: str
    categories: tuple[str, ...]
    styles: tuple[str, ...] = ("native",)
    refusals: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unsolvable: Mapping[str, str] = field(default_factory=dict)
    published: tuple[Published, ...] = ()
    wants_user: bool = False
    memory_mb: int = 2048
