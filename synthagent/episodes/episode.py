"""One run of a policy in a task's world: turns in, observations out, OpenAI chat messages as the record.

A policy hands over a `Turn`; the episode has its `Environment` answer what the turn asks, in the order written, keeps
the record and says when it is over. A policy's text is untrusted: it can neither speak as another role nor end up in an
observation.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Literal, Protocol, TypeVar

from synthagent.episodes import user
from synthagent.episodes.turn import Question, ToolCall, Turn, message_of
from synthagent.episodes.world import AnswerEvent, ToolEvent, UserEvent, World, fresh_world
from synthagent.errors import BadReplyError
from synthagent.records import End, Message, Task, Trajectory
from synthagent.text import json_text

PROTOCOL = "Answer Done, Refused or Kept, then the value or reason."
NATURAL_PROTOCOL = (
    "When you have finished, answer in <answer></answer>: Done, Refused, Kept or Cannot, then the value or the reason."
)
SIMULATED_PROTOCOL = (
    "Call tools. Write to the user to ask for what you do not know. "
    "When all is done, or cannot be, answer in <answer></answer>."
)
REASONING_PROTOCOL = "Work it out with the tools. Answer in <answer></answer>: the result alone."
MAX_TURNS = 16  # paper section 2; stages take `episode.max_turns`

Response = ToolEvent | str
R = TypeVar("R")


class Environment(Protocol):
    """Who answers in an episode: its tools and its user."""

    async def answer(self, episode: Episode, asked: ToolCall | Question) -> Response:
        """The event of a tool call, which is then in the log of the episode's world, or the user's reply.

        Raises:
            BadReplyError: it cannot be answered; ends the episode, nothing else.
        """
        ...


class Embedded:
    """The environment without any model: the executable world, and the user made of code."""

    async def answer(self, episode: Episode, asked: ToolCall | Question) -> Response:
        """As `Environment`; a tool for which the world has no effect does not exist."""
        if isinstance(asked, Question):
            world = episode.task.world
            return user.reply(episode.task.facts, asked.text, world.asked_by, world.goes_on)
        return episode.world.call(asked.name, asked.arguments)


EMBEDDED = Embedded()


def opening(task: Task) -> list[Message]:
    """The messages an episode starts with: the constraints, how to end, and the instruction."""
    protocols = {"executable": PROTOCOL, "simulated": SIMULATED_PROTOCOL, "real": REASONING_PROTOCOL}
    lines = [*(constraint.text for constraint in task.constraints), protocols[task.world_kind]]
    if task.world.opening:
        lines = [task.world.opening, *lines[:-1], NATURAL_PROTOCOL]
    return [{"role": "system", "content": "\n".join(lines)}, {"role": "user", "content": task.instruction}]


class Episode:
    """A policy's run in a fresh world of `task`, or in `world`. Feed `step` or `astep` turns until `end` is set.

    `sample` tells the episodes of a task apart.
    """

    def __init__(
        self,
        task: Task,
        environment: Environment = EMBEDDED,
        *,
        max_turns: int = MAX_TURNS,
        sample: int = 0,
        world: World | None = None,
    ) -> None:
        self.task, self.environment, self.sample = task, environment, sample
        self.world = world or fresh_world(task)
        self.messages = opening(task)
        if stated := user.told_at_once(task):
            self.world.events.append(UserEvent("", task.instruction, stated))
        self.end: End | None = None
        self.error: str | None = None
        self.n_turns = self.n_tool_calls = self.n_questions = 0
        self._max_turns = max_turns

    def step(self, turn: Turn) -> Sequence[Message]:
        """As `astep`, in an environment that waits for nothing."""
        return at_once(self.astep(turn))

    async def astep(self, turn: Turn) -> Sequence[Message]:
        """Take one turn; return the messages that answer it (none once the episode has ended)."""
        if self.end is not None:
            raise ValueError(f"the episode has ended: {self.end}")
        self.n_turns += 1
        self.messages.append(message_of(turn, self.n_turns))
        start = len(self.messages)
        if turn.answer is not None:
            self.world.events.append(AnswerEvent(turn.answer))
            self.end = "answer"
            return []
        for number, asked in enumerate(turn.asked):
            self.n_tool_calls += isinstance(asked, ToolCall)
            self.n_questions += isinstance(asked, Question)
            try:
                response = await self.environment.answer(self, asked)
            except BadReplyError as fault:
                self.fail(fault.reason)
                return []
            self.messages.append(self._observed(response, turn, number))
        if self.error:
            self.end = "error"
        elif self.n_turns >= self._max_turns:
            self.end = "turn_limit"
        return [] if self.end else self.messages[start:]

    def stop(self, end: Literal["token_limit", "error"], unfinished: str = "") -> None:
        """End the episode from outside, keeping what the policy had begun to write."""
        if unfinished:
            # An answer in a turn that was never completed is none; cut, it is none either when it is run again.
            self.messages.append({"role": "assistant", "content": unfinished.partition("</answer>")[0]})
        self.end = end

    def fail(self, reason: str) -> None:
        """End the episode because of something that is not the policy's doing; the record says what."""
        self.error, self.end = reason, "error"

    def trajectory(self, policy: str, prompt_tokens: int = 0, completion_tokens: int = 0) -> Trajectory:
        """The record of the episode."""
        return Trajectory(
            id=f"{self.task.id}.{policy}.{self.sample}",
            task_id=self.task.id,
            policy=policy,
            sample=self.sample,
            messages=tuple(self.messages),
            n_turns=self.n_turns,
            n_tool_calls=self.n_tool_calls,
            n_questions=self.n_questions,
            end=self.end or "error",
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            error=self.error,
        )

    def _observed(self, response: Response, turn: Turn, number: int) -> Message:
        """What the policy sees of a response to what call or question `number` of its turn asked."""
        if isinstance(response, ToolEvent):
            call_id = f"call_{self.n_turns}_{number}"
            # `<` is escaped so that no value of a row can look like markup of the chat template.
            content = json_text(response.result).replace("<", "\\u003c")
            return {"role": "tool", "tool_call_id": call_id, "content": content}
        told = user.told(self.task.facts, response)
        self.world.events.append(UserEvent(turn.text, response, told))
        return {"role": "user", "content": response}


Script = Callable[[Episode], Iterator[Turn]]  # a policy made of code


def play(episode: Episode, turns: Iterator[Turn]) -> Episode:
    """As `aplay`, in an environment that waits for nothing."""
    return at_once(aplay(episode, turns))


async def aplay(episode: Episode, turns: Iterator[Turn]) -> Episode:
    """Run an episode on turns that are made as it goes: by a script, by a person, or out of a record."""
    for turn in turns:
        if episode.end:
            break
        await episode.astep(turn)
    return episode


def at_once(coroutine: Coroutine[Any, Any, R]) -> R:
    """The result of a coroutine that waits for nothing.

    Raises:
        RuntimeError: it waits: its environment, or its judge, is a model.
    """
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: R = done.value
        return result
    coroutine.close()
    raise RuntimeError("an answer has to be waited for: use an event loop")
