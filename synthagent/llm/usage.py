"""What calls cost: usage by role and model for the metrics, and the budget that stops a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from synthagent.errors import BudgetError, ParamsError
from synthagent.llm.store import Paid, Reply
from synthagent.params import LlmParams, Price

_MILLION = 1_000_000


@dataclass(slots=True)
class Tally:
    """Of one role and model in one stage. `calls` were made now; `hits` came from the store. Tokens of both."""

    calls: int = 0
    hits: int = 0
    retries: int = 0
    failures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0


class Usage:
    """Counts what a stage uses."""

    def __init__(self, prices: Mapping[str, Price]) -> None:
        self._prices = prices
        self._tallies: dict[str, dict[str, Tally]] = {}

    def of(self, role: str, model: str) -> Tally:
        """The tally of a role and model."""
        return self._tallies.setdefault(role, {}).setdefault(model, Tally())

    def add(self, role: str, model: str, reply: Reply, *, hit: bool) -> None:
        """Count one answer."""
        tally = self.of(role, model)
        tally.hits += hit
        tally.calls += not hit
        tally.prompt_tokens += reply.prompt_tokens
        tally.completion_tokens += reply.completion_tokens
        tally.usd += cost(self._prices.get(model), reply.prompt_tokens, reply.completion_tokens)

    @property
    def tokens(self) -> int:
        """Of all roles: of calls made now, and of answers from the store."""
        tallies = (tally for models in self._tallies.values() for tally in models.values())
        return sum(tally.prompt_tokens + tally.completion_tokens for tally in tallies)

    def metrics(self) -> dict[str, Any]:
        """role -> model -> counts."""
        return {
            role: {
                model: {**asdict(t), "usd": round(t.usd, 6) if model in self._prices else None}
                for model, t in models.items()
            }
            for role, models in sorted(self._tallies.items())
        }


def total(usages: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The `metrics` of several processes, added up."""
    summed: dict[str, Any] = {}
    for usage in usages:
        for role, models in usage.items():
            for model, counts in models.items():
                known = summed.setdefault(role, {}).setdefault(model, dict.fromkeys(counts, 0))
                for name, value in counts.items():  # what one process cannot know, nobody can
                    known[name] = None if None in (value, known[name]) else known[name] + value
    return summed


def cost(price: Price | None, prompt: int, completion: int) -> float:
    """USD; 0 where there is no price."""
    return 0.0 if price is None else (prompt * price.prompt + completion * price.completion) / _MILLION


class Budget:
    """Refuses calls once `llm.max_tokens_total` or `llm.max_usd` would be passed.

    It counts everything that was ever paid for in this project, and reckons with the calls that are under way.

    Raises:
        ParamsError: a limit in USD, but a model without a price.
    """

    def __init__(self, params: LlmParams, paid: Mapping[str, Paid], models: set[str]) -> None:
        if params.max_usd is not None and (unpriced := sorted(models - params.prices.keys())):
            raise ParamsError(
                f"params.yaml: llm.prices: llm.max_usd needs a price for {unpriced[0]!r}; add it, or set it to null"
            )
        self._params = params
        self.tokens = sum(p.prompt + p.completion for p in paid.values())
        self.usd = sum(cost(params.prices.get(model), p.prompt, p.completion) for model, p in paid.items())
        self._calls, self._tokens_here, self._usd_here, self._under_way = 0, 0, 0.0, 0

    def begin(self) -> None:
        """A call is about to be made.

        Raises:
            BudgetError: it would pass a limit.
        """
        expected = self._under_way + 1
        mean_tokens, mean_usd = self._tokens_here / max(1, self._calls), self._usd_here / max(1, self._calls)
        limits = (
            ("max_tokens_total", self._params.max_tokens_total, self.tokens, mean_tokens),
            ("max_usd", self._params.max_usd, self.usd, mean_usd),
        )
        for name, limit, paid, mean in limits:
            if limit is not None and (paid >= limit or (self._calls and paid + expected * mean > limit)):
                raise BudgetError(
                    f"llm.{name}: {limit:,} would be passed ({paid:,.6g} paid for so far); raise it in params.yaml "
                    "and run again: what was paid for is kept in .cache/llm"
                )
        self._under_way += 1

    def end(self, model: str, reply: Reply | None) -> None:
        """A call has ended, with an answer or without."""
        self._under_way -= 1
        if reply is not None:
            usd = cost(self._params.prices.get(model), reply.prompt_tokens, reply.completion_tokens)
            self._calls += 1
            self.tokens += reply.tokens
            self.usd += usd
            self._tokens_here += reply.tokens
            self._usd_here += usd
