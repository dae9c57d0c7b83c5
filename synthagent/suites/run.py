"""Runs a policy in a suite's problems -> a result a problem, each kept as soon as it is there.

A run that was killed goes on with what is missing: results lie in `.cache/suites`, under what decides them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from synthagent.errors import StoreError, SuiteError
from synthagent.frozen import Record
from synthagent.llm.ordered import ordered
from synthagent.records import Message
from synthagent.stage import CACHE, progress
from synthagent.suites.policies import Situation, SuitePolicy, SuiteUser
from synthagent.suites.suite import Suite
from synthagent.suites.worker import DIED, FailedError, Started, Worker
from synthagent.worlds import Tool

FOLDER = CACHE / "suites"
_MOST_AT_ONCE = 64  # problems, each of which has a process


class Result(Record):
    """What a policy came to in a problem. `failed`: why it could not be brought to an end; the score is then 0."""

    id: str
    category: str
    trial: int = 0
    score: float
    called: bool
    steps: int
    detail: str = ""
    failed: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which problems. `count`: of each category, drawn by the seed; None: all. `trials`: how often each is run."""

    categories: tuple[str, ...]
    count: int | None
    style: str
    seed: int
    trials: int = 1


def check(suite: Suite, wanted: Wanted) -> None:
    """Nothing, if the suite has what is wanted.

    Raises:
        SuiteError: no such category, or style.
    """
    for category in wanted.categories:
        if category not in suite.categories:
            raise SuiteError(f"suite {suite.name}: no category {category!r}; there are {', '.join(suite.categories)}")
    if wanted.style not in suite.styles:
        raise SuiteError(f"suite {suite.name}: no style {wanted.style!r}; there are {', '.join(suite.styles)}")


def ids_of(suite: Suite, wanted: Wanted) -> dict[str, list[str]]:
    """The problems that are wanted, by category. Those of a smaller count are among those of a larger one.

    Raises:
        SuiteError: the suite does not answer.
    """

    async def ask() -> dict[str, list[str]]:
        worker = Worker(suite, FOLDER / suite.name / "worker.log")
        try:
            return {category: await worker.problems(category) for category in wanted.categories}
        finally:
            await worker.close()

    return {category: _drawn(ids, category, wanted) for category, ids in asyncio.run(ask()).items()}


def _drawn(ids: list[str], category: str, wanted: Wanted) -> list[str]:
    shuffled = list(ids)
    random.Random(f"{category}-{wanted.seed}").shuffle(shuffled)
    chosen = set(shuffled[: wanted.count])
    return [id for id in ids if id in chosen]


def run(
    suite: Suite,
    policy: SuitePolicy,
    worker: Worker,
    ids: Mapping[str, Sequence[str]],
    wanted: Wanted,
    user: SuiteUser | None,
) -> list[Result]:
    """A result for each problem and trial, in their order. `user`: whoever plays the user, where the suite wants one.

    Raises:
        SynthAgentError: none can go on: environment, isolation, endpoint, budget; what is done is kept.
    """
    kept = _Kept(suite, policy, wanted, user)
    asked = [(category, id, trial) for trial in range(wanted.trials) for category, some in ids.items() for id in some]
    missing = [each for each in asked if each[1:] not in kept.results]

    async def one(each: tuple[str, str, int]) -> None:
        category, id, trial = each
        policy.begin()
        try:
            result = await _run_one(policy, worker, user, Situation(id, category, wanted.style, trial))
        finally:
            policy.end()
        kept.add(result)

    async def close() -> None:
        try:
            await policy.close()
            if user is not None:
                await user.close()
        finally:
            await worker.close()

    running: Iterator[None] = ordered(one, missing, min(policy.concurrency, _MOST_AT_ONCE), close)
    for _ in progress(running, len(missing), f"{suite.name} {policy.name}"):
        pass
    return [kept.results[each[1:]] for each in asked]


async def _run_one(policy: SuitePolicy, worker: Worker, user: SuiteUser | None, situation: Situation) -> Result:
    started: Started | None = None
    try:
        started = await worker.start(situation.id, situation.style)
        while (wants := started.state.get("wants")) != "nothing":
            _heed(situation, started.state)
            if wants == "user":
                if user is None:
                    raise FailedError("it wants a user, and there is none")
                said = await user.answer(situation, started.state["ask"], _tools(started.state.get("ask_tools", ())))
            else:
                said = await policy.act(situation)
                situation.messages.append(said)
                situation.steps += 1
            await started.step(said)
        score = started.state["score"]
        return _result(situation, score["score"], score["called"], detail=str(score.get("detail", ""))[:500])
    except (FailedError, LookupError, TypeError, ValidationError) as fault:
        if started is not None:
            await started.drop()
        why = str(fault) if isinstance(fault, FailedError) else f"its worker answers nonsense ({fault!r})"[:500]
        called = any(message.get("tool_calls") for message in situation.messages)
        return _result(situation, 0.0, called, failed=why[:500])


def _result(situation: Situation, score: float, called: bool, detail: str = "", failed: str | None = None) -> Result:
    which = {"id": situation.id, "category": situation.category, "trial": situation.trial}
    content = {"score": score, "called": called, "steps": situation.steps, "detail": detail, "failed": failed}
    return Result.model_validate({**which, **content})


def _heed(situation: Situation, state: Mapping[str, Any]) -> None:
    """Take what is new into the situation."""
    new: list[Message] = list(state["messages"])
    situation.messages += new
    if state.get("tools") is not None:
        situation.tools = _tools(state["tools"])


def _tools(schemas: Sequence[Mapping[str, Any]]) -> list[Tool]:
    functions = [tool["function"] for tool in schemas]
    known = ("name", "description", "parameters")
    return [Tool(**{key: function[key] for key in known if key in function}) for function in functions]


class _Kept:
    """The results of a policy so far, in a file of lines; a half-written last line is one that is missing."""

    def __init__(self, suite: Suite, policy: SuitePolicy, wanted: Wanted, user: SuiteUser | None) -> None:
        self.path = FOLDER / suite.name / f"{_fit(policy.name)}-{_key(suite, policy, wanted, user)}.jsonl"
        self.results: dict[tuple[str, int], Result] = {}
        with suppress(FileNotFoundError):
            for line in self.path.read_bytes().splitlines():
                with suppress(ValidationError):
                    result = Result.model_validate_json(line)
                    self.results[result.id, result.trial] = result

    def add(self, result: Result) -> None:
        """Keep a result, unless it says nothing about the policy."""
        self.results[result.id, result.trial] = result
        if result.failed == DIED:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(b"\n" * _is_cut(self.path) + result.model_dump_json().encode() + b"\n")
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be written: {error.strerror}; make room, then run again") from None


def _is_cut(path: Path) -> bool:
    """Whether the last line of a file was not written to its end."""
    with path.open("rb") as file:
        if file.seek(0, 2) == 0:
            return False
        file.seek(-1, 2)
        return file.read() != b"\n"


def _key(suite: Suite, policy: SuitePolicy, wanted: Wanted, user: SuiteUser | None) -> str:
    """Of all that decides a result of this policy: suite, version, style, seed, user, and this harness itself."""
    decides = {
        "suite": suite.name,
        "version": suite.environment.version,
        "policy": policy.name,
        "identity": dict(policy.identity),
        "style": wanted.style,
        "seed": wanted.seed,
        "user": None if user is None else dict(user.identity),
    }
    digest = hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _fit(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)[-40:].strip("-")
