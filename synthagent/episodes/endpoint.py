"""A policy behind an endpoint: (task, sample) -> trajectory, by native tool calls over the client that all roles share.

A server that gives calls as text in the Hermes format is understood, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from synthagent.episodes.cast import Cast
from synthagent.episodes.episode import Episode, Message, ToolCall, Turn, parse_arguments, parse_turn
from synthagent.episodes.world import fresh_world
from synthagent.errors import BadReplyError
from synthagent.llm.client import Llm, Request
from synthagent.llm.prompts import render
from synthagent.llm.store import Reply
from synthagent.params import Params
from synthagent.records import Task, Trajectory

_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_-]")


async def run_episode(
    task: Task,
    sample: int,
    cast: Cast,
    llm: Llm,
    params: Params,
    role: str = "policy",
    policy_name: str | None = None,
    extra_system: str = "",
) -> Trajectory:
    """Let the model of `role` act in a fresh episode of `task` until it ends.

    The model is told the protocol (`prompts/policy.md`), the lines the episode opens with and `extra_system`; the
    record holds the opening alone, so that it looks the same whoever acted. A reply that is cut off ends the episode
    with `token_limit`; one that cannot be had, of whatever role, with `error`.

    Raises:
        SynthAgentError: no episode can go on: endpoint, budget or replay, or a role without a model.
    """
    episode = Episode(task, fresh_world(task), max_turns=params.episode.max_turns, sample=sample)
    meter = _Meter()
    while episode.end is None:
        try:
            reply = await llm.chat(role, _request(episode, role, params, extra_system))
        except BadReplyError as fault:
            episode.fail(f"{role}: {fault.reason}")
            break
        meter.add(reply)
        if reply.finish == "refusal":
            episode.fail(f"{role}: refusal")
        elif reply.finish == "length" or meter.length > params.episode.max_tokens:
            episode.stop("token_limit", reply.text)
        elif (asked := episode.take(turn_of(reply))) is not None:
            try:
                episode.give(await cast.answer(episode, asked))
            except BadReplyError as fault:
                episode.fail(fault.reason)
    return episode.trajectory(policy_name or role, sample, meter.prompt, meter.completion)


def turn_of(reply: Reply) -> Turn:
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


def _well_formed(message: Message) -> Message:
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


def _request(episode: Episode, role: str, params: Params, extra: str) -> Request:
    opening, *rest = episode.messages
    prompt = render("policy", rules=opening["content"], extra=extra)
    system: Message = {"role": "system", "content": prompt.messages[0]["content"]}
    longest = getattr(params.roles, role).max_tokens or params.episode.max_turn_tokens
    return Request(
        messages=(system, *map(_well_formed, rest)),
        version=prompt.version,
        sample=episode.sample,
        tools=episode.task.tools,
        max_tokens=min(longest, params.episode.max_turn_tokens),
    )
