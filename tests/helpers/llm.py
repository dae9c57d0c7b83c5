"""Questions to a model of one role, for several test modules."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from synthagent.errors import BadReplyError
from synthagent.frozen import Record
from synthagent.llm.client import Given, Llm, Request
from synthagent.llm.ordered import ordered
from synthagent.llm.store import Reply
from synthagent.params import Params


class Pet(Record):
    """A shape to ask for."""

    name: Annotated[str, Field(max_length=20)]
    age: int


PET = '{"name": "Rex", "age": 3}'
REX = Pet(name="Rex", age=3)


def request(text: str = "hi", **fields: Any) -> Request:
    return Request(({"role": "user", "content": text},), "prompt@1", **fields)


def ask(params: Params, folder: Path, *requests: Request, metrics: dict[str, Any] | None = None) -> list[Any]:
    """What `Llm.ask` gives for each, one after another; a BadReplyError as it is."""
    llm = Llm(params, folder)

    async def work(wanted: Request) -> Given[Pet] | BadReplyError:
        try:
            return await llm.ask("teacher", wanted, Pet)
        except BadReplyError as fault:
            return fault

    came = list(ordered(work, requests, 1, llm.close))
    if metrics is not None:
        metrics.update(llm.metrics())
    return came


def chat_about(params: Params, folder: Path, items: int = 6) -> list[Reply | str]:
    """What each item comes to: a reply, or the fault."""
    llm = Llm(params, folder)

    async def work(item: int) -> Reply | str:
        try:
            return await llm.chat("teacher", Request(({"role": "user", "content": f"{item}"},), "v"))
        except BadReplyError as fault:
            return str(fault)

    return list(ordered(work, range(items), 2, llm.close))
