"""What tests of suites share: the leaderboard's environment, and policies that say what a test wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from helpers.projects import ROOT
from synthagent.isolation import unavailable
from synthagent.records import Message
from synthagent.suites.bfcl import BFCL
from synthagent.suites.policies import Situation
from synthagent.suites.run import FOLDER, Result, Wanted, run
from synthagent.suites.worker import Worker

_there = (ROOT / BFCL.environment.folder).is_dir()
needs_bfcl = pytest.mark.skipif(
    not _there or bool(unavailable()), reason=unavailable() or "no .venv-bfcl here: `make bench-suites` makes it"
)


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


def link_bfcl(folder: Path) -> None:
    """Make the leaderboard's environment that of a project in `folder`."""
    (folder / BFCL.environment.folder).symlink_to((ROOT / BFCL.environment.folder).resolve())


def text(content: str) -> Message:
    return {"role": "assistant", "content": content}


def calls(*functions: tuple[str, str]) -> Message:
    """A message with calls: name and arguments as JSON text."""
    made = [
        {"id": f"c{i}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for i, (name, arguments) in enumerate(functions)
    ]
    return {"role": "assistant", "content": "", "tool_calls": made}


def played(policy: Says, ids: Mapping[str, list[str]], style: str = "native") -> list[Result]:
    """What a policy comes to in these problems of the leaderboard, in the working directory."""
    worker = Worker(BFCL, FOLDER / "worker.log")
    return run(BFCL, policy, worker, ids, Wanted(tuple(ids), None, style, 0), None)
