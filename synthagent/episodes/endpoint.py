"""A policy behind an endpoint: tasks -> trajectories, by native tool calls over the client that all roles share.

A server that gives calls as text in the Hermes format is understood, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from synthagent.episodes.episode import Episode
from synthagent.episodes.policy import Setting, Start
from synthagent.episodes.turn import ToolCall, Turn, parse_arguments, parse_turn
from synthagent.errors import BadReplyError
from synthagent.llm.client import Llm, Request
from synthagent.llm.ordered import ordered
from synthagent.llm.prompts import render
from synthagent.llm.store import Reply
from synthagent.params import Params
from synthagent.records import Decoding, Message, Trajectory

_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_-]")


@dataclass(frozen=True, slots=True)
class EndpointPolicy:
    """The model of a role as a policy. `extra`: what it is told beside the protocol and the constraints.

    The model is told the protocol (`prompts/policy.md`), the lines the episode opens with and `extra`; the record holds
    the opening alone, so that it looks the same whoever acted.
    """

    llm: Llm
    params: Params
    setting: Setting
    name: str = "policy"
    role: str = "policy"
    extra: str = ""
    decoding: Decoding = "sampled"

    def run(self, starts: Iterable[Start]) -> Iterator[Trajectory]:
        """As `Policy`, many at once; closes the client.

        Raises:
            SynthAgentError: no episode can go on: endpoint, budget or replay, or a role without a model.
        """
        return ordered(self.act, starts, self.params.llm.max_concurrency, self.llm.close)

    async def act(self, start: Start) -> Trajectory:
        """Act in one fresh episode until it ends.

        A reply that is cut off ends it with `token_limit`; one that cannot be had, of whatever role, with `error`.

        Raises:
            SynthAgentError: as `run`.
        """
        episode, meter = self.setting.episode(start), _Meter()
        while episode.end is None:
            try:
                reply = await self.llm.chat(self.role, self._request(episode))
            except BadReplyError as fault:
                episode.fail(f"{self.role}: {fault.reason}")
                break
            meter.add(reply)
            if reply.finish == "refusal":
                episode.fail(f"{self.role}: refusal")
            elif reply.finish == "length" or meter.length > self.params.episode.max_tokens:
                episode.stop("token_limit", reply.text)
            else:
                await episode.astep(turn_of_reply(reply))
        return episode.trajectory(self.name, meter.prompt, meter.completion)

    def _request(self, episode: Episode) -> Request:
        opening, *rest = episode.messages
        prompt = render("policy", rules=opening["content"], extra=self.extra)
        system: Message = {"role": "system", "content": prompt.messages[0]["content"]}
        most = self.params.episode.max_turn_tokens
        return Request(
            messages=(system, *map(well_formed, rest)),
            version=prompt.version,
            sample=episode.sample,
            tools=episode.task.tools,
            max_tokens=min(getattr(self.params.roles, self.role).max_tokens or most, most),
        )


def turn_of_reply(reply: Reply) -> Turn:
    """The turn that a reply makes. Arguments that are not JSON make a call that the world refuses."""
    if not reply.tool_calls:
        return parse_turn(reply.text)
    return Turn(reply.text.strip(), tuple(_call_of(call["function"]) for call in reply.tool_calls))


class _Meter:
    """Counts tokens. `length`: those of turns and observations so far, without the opening."""

    def __init__(self) -> None:
        self.prompt = self.completion = self.length = 0
        self._opening: int | None = None

    def add(self, reply: Reply) -> None:
        if self._opening is None:
            self._opening = reply.prompt_tokens
        self.prompt += reply.prompt_tokens
        self.completion += reply.completion_tokens
        # A server that does not count prompts leaves only what was written.
        self.length = max(self.completion, reply.prompt_tokens - self._opening + reply.completion_tokens)


def _call_of(function: Mapping[str, Any]) -> ToolCall:
    return ToolCall(str(function["name"]), parse_arguments(str(function["arguments"])))


def well_formed(message: Message) -> Message:
    """A message as any server takes it: it would refuse the whole episode for one call that the policy got wrong."""
    if "tool_calls" not in message:
        return message
    calls = [{**call, "function": _callable(**call["function"])} for call in message["tool_calls"]]
    return {**message, "tool_calls": calls}


def _callable(name: str, arguments: str) -> dict[str, str]:
    return {
        "name": _NOT_IN_A_NAME.sub("_", name)[:64] or "_",
        "arguments": arguments if arguments.startswith("{") else "{}",
    }
