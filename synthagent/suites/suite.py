"""What a benchmark that others wrote is, for us: where it runs, its categories, what is known about its figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from synthagent.ops.environments import SuiteEnvironment
from synthagent.records import Message


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
    `without_gold`: problems that could be solved, but of which the suite's own answers solve nothing -> why.
    `with_user`: categories in which a model plays the user, that of `roles.user`; `farewell`: how that one ends it.
    `silence`: category -> what a policy that does nothing says there, where that cannot be an empty text.
    """

    name: str
    environment: SuiteEnvironment
    worker: str
    categories: tuple[str, ...]
    styles: tuple[str, ...] = ("native",)
    refusals: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unsolvable: Mapping[str, str] = field(default_factory=dict)
    without_gold: Mapping[str, str] = field(default_factory=dict)
    published: tuple[Published, ...] = ()
    with_user: tuple[str, ...] = ()
    farewell: str = ""
    silence: Mapping[str, Message] = field(default_factory=dict)
    memory_mb: int = 2048
