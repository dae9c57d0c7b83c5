"""What tests of suites share: the suites' environments, and policies that say what a test wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from helpers.projects import ROOT
from synthagent.isolation import unavailable
from synthagent.records import Message
from synthagent.suites.agentdojo import AGENTDOJO
from synthagent.suites.bfcl import BFCL
from synthagent.suites.policies import Situation, SuiteUser
from synthagent.suites.run import FOLDER, Result, Wanted, run
from synthagent.suites.suite import Suite
from synthagent.suites.tau2 import TAU2
from synthagent.suites.worker import Worker


def _needs(suite: Suite) -> pytest.MarkDecorator:
    folder = suite.environment.folder
    missing = unavailable() or ("" if (ROOT / folder).is_dir() else f"no {folder} here: `make bench-suites` makes it")
    return pytest.mark.skipif(bool(missing), reason=missing)


needs_bfcl, needs_tau2, needs_agentdojo = _needs(BFCL), _needs(TAU2), _needs(AGENTDOJO)


class Says:
    """A policy made of a function: a situation -> a message. `acts` counts its messages."""

    decoding = "scripted"
    concurrency = 4
    name = "says"

    def __init__(self, says: Callable[[Situation], Message], **identity: Any) -> None:
        self.says, self.acts = says, 0
        self.identity: Mapping[str, Any] = identity

    async def act(self, situation: Situation) -> Message:
        self.acts += 1
        return self.says(situation)

    def begin(self) -> None:
        pass

    def end(self) -> None:
        pass

    async def close(self) -> None:
        pass


def link(suite: Suite, folder: Path) -> None:
    """Make a suite's environment that of a project in `folder`."""
    (folder / suite.environment.folder).symlink_to((ROOT / suite.environment.folder).resolve())


def link_bfcl(folder: Path) -> None:
    """Make the leaderboard's environment that of a project in `folder`."""
    link(BFCL, folder)


def text(content: str) -> Message:
    return {"role": "assistant", "content": content}


def calls(*functions: tuple[str, str]) -> Message:
    """A message with calls: name and arguments as JSON text."""
    made = [
        {"id": f"c{i}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for i, (name, arguments) in enumerate(functions)
    ]
    return {"role": "assistant", "content": "", "tool_calls": made}


def played(
    policy: Says,
    ids: Mapping[str, list[str]],
    style: str = "native",
    suite: Suite = BFCL,
    user: SuiteUser | None = None,
    trials: int = 1,
) -> list[Result]:
    """What a policy comes to in these problems of a suite, in the working directory."""
    worker = Worker(suite, FOLDER / "worker.log")
    return run(suite, policy, worker, ids, Wanted(tuple(ids), None, style, 0, trials), user)
