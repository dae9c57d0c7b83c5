"""Items asked of a server with a fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.llm_faults import ITEMS
from synthagent.errors import BadReplyError
from synthagent.llm.client import Llm, Request
from synthagent.llm.ordered import ordered
from synthagent.llm.store import Reply


def chat(params: Any, folder: Path, items: int = 1) -> list[Reply]:
    """The replies of the first items; what fails one ends the run."""
    llm = Llm(params, folder)

    async def work(item: int) -> Reply:
        messages = ({"role": "system", "content": "s"}, {"role": "user", "content": f"Item {item}."})
        return await llm.chat("teacher", Request(messages, "v"))

    return list(ordered(work, range(items), 4, llm.close))


def chat_all(params: Any, folder: Path) -> list[Reply | str]:
    """What all items come to: a reply, or the reason of the fault."""
    llm = Llm(params, folder)

    async def work(item: int) -> Reply | str:
        messages = ({"role": "system", "content": "s"}, {"role": "user", "content": f"Item {item}."})
        try:
            return await llm.chat("teacher", Request(messages, "v"))
        except BadReplyError as fault:
            return fault.reason

    return list(ordered(work, range(ITEMS), 4, llm.close))
