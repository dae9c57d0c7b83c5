"""One run of a policy in a task's world: turns in, observations out, OpenAI chat messages as the record.

Both sides of the policy meet here: whatever acts hands over a `Turn`; the episode validates it, lets the world or the
user answer, and says when it is over. A policy's text is untrusted: it can neither speak as another role nor end up
inside an observation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from synthagent.episodes import user as embedded_user
from synthagent.episodes.world import AnswerEvent, ToolEvent, UserEvent, World
from synthagent.errors import BadReplyError
from synthagent.records import End, Task, Trajectory

PROTOCOL = "Answer Done, Refused or Kept, then the value or reason."
SIMULATED_PROTOCOL = (
    "Call one tool at a time. Write to the user to ask for what you do not know. "
    "When all is done, or cannot be, answer in <answer></answer>."
)
_TOOL_CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)

Message = dict[str, Any]
AnswerQuestion = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call as the policy wrote it. `arguments` is None where they are not JSON; the world then refuses it."""

    name: str
    arguments: Any


@dataclass(frozen=True, slots=True)
class Question:
    """Text to the user."""

    text: str


Asked = ToolCall | Question
Response = ToolEvent | str


@dataclass(frozen=True, slots=True)
class Turn:
    """One assistant message: a tool call, or text to the user, or the answer."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()

    @property
    def answer(self) -> str | None:
        """The text inside `<answer>`; a turn that calls a tool answers nothing."""
        match = None if self.calls else _ANSWER.search(self.text)
        return match.group(1).strip() if match else None


def parse_turn(text: str) -> Turn:
    """Read the Hermes format: `<tool_call>{"name": .., "arguments": {..}}</tool_call>` blocks and free text."""
    blocks = _TOOL_CALL.findall(text)
    return Turn(_TOOL_CALL.sub("", text).strip(), tuple(map(_parse_call, blocks)))


def parse_arguments(text: str) -> Any:
    """The arguments of a native call, from their JSON text; None where they are not JSON, or too deep for any tool."""
    try:
        arguments = json.loads(text)
        return arguments if _is_shallow(arguments) else None
    except (ValueError, RecursionError):
        return None


def _parse_call(block: str) -> ToolCall:
    try:
        call = json.loads(block)
        return ToolCall(str(call["name"]), call["arguments"] if _is_shallow(call["arguments"]) else None)
    except (ValueError, TypeError, KeyError, RecursionError):
        return ToolCall("malformed", None)


def _is_shallow(value: Any, levels: int = 50) -> bool:
    """Whether a JSON value can be validated, written and read again without exhausting any stack."""
    if not isinstance(value, dict | list):
        return True
    inside = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_shallow(part, levels - 1) for part in inside)


def render_turn(turn: Turn) -> str:
    """The inverse of `parse_turn` for well-formed turns."""
    calls = [
        f'<tool_call>\n{{"name": {json.dumps(call.name)}, "arguments": {json.dumps(call.arguments)}}}\n</tool_call>'
        for call in turn.calls
    ]
    return "\n".join(([turn.text] if turn.text else []) + calls)


def opening(task: Task) -> list[Message]:
    """The messages an episode starts with: the policy lines and the instruction."""
    protocol = SIMULATED_PROTOCOL if task.world_kind == "simulated" else PROTOCOL
    lines = [*(constraint.text for constraint in task.constraints), protocol]
    return [{"role": "system", "content": "\n".join(lines)}, {"role": "user", "content": task.instruction}]


class Episode:
    """A policy's run in `world`. Feed `step` until `end` is set.

    Where the world or the user answer later, feed `take` and then `give` what they answered; where they answer
    elsewhere, `answer` stands for both of them. `sample` tells the episodes of a task apart.
    """

    def __init__(
        self,
        task: Task,
        world: World,
        ask_user: AnswerQuestion | None = None,
        max_turns: int = 16,
        answer: Callable[[Episode, Asked], Response] | None = None,
        sample: int = 0,
    ) -> None:
        self.task = task
        self.world = world
        self.sample = sample
        self.messages = opening(task)
        self.end: End | None = None
        self.error: str | None = None
        self.n_turns = self.n_tool_calls = self.n_questions = 0
        self._ask_user = ask_user or (lambda question: embedded_user.reply(task.facts, question))
        self._answer = answer
        self._max_turns = max_turns
        self._turn = Turn()

    def step(self, turn: Turn) -> Sequence[Message]:
        """Take one turn; return the messages that answer it (none once the episode has ended)."""
        asked = self.take(turn)
        if asked is not None and self._answer is not None:
            try:
                return self.give(self._answer(self, asked))
            except BadReplyError as fault:
                self.fail(fault.reason)
                return []
        match asked:
            case None:
                return []
            case ToolCall():
                return self.give(self.world.call(asked.name, asked.arguments))
            case Question():
                return self.give(self._ask_user(asked.text))

    def take(self, turn: Turn) -> ToolCall | Question | None:
        """Take one turn; return what has to be answered, by `give`: a tool call, a question, or nothing (an answer)."""
        if self.end is not None:
            raise ValueError(f"the episode has ended: {self.end}")
        self.n_turns += 1
        self.messages.append(_assistant_message(turn, self.n_turns))
        self._turn = turn
        if turn.answer is not None:
            self.world.events.append(AnswerEvent(turn.answer))
            self.end = "answer"
            return None
        if turn.calls:
            self.n_tool_calls += 1
            return turn.calls[0]
        self.n_questions += 1
        return Question(turn.text)

    def give(self, answered: ToolEvent | str) -> Sequence[Message]:
        """Take the tool's event (already in the world's log) or the user's reply; return what the policy sees of it."""
        if isinstance(answered, str):
            told = embedded_user.told(self.task.facts, answered)
            self.world.events.append(UserEvent(self._turn.text, answered, told))
            observations: list[Message] = [{"role": "user", "content": answered}]
        else:
            observations = self._observations(answered)
        self.messages += observations
        if self.error:
            self.end = "error"
        elif self.n_turns >= self._max_turns:
            self.end = "turn_limit"
        return [] if self.end else observations

    def stop(self, end: Literal["token_limit", "error"], unfinished: str = "") -> None:
        """End the episode from outside, keeping what the policy had begun to write."""
        if unfinished:
            # An answer in a turn that was never completed is none; cut, it is none on replay either.
            self.messages.append({"role": "assistant", "content": unfinished.partition("</answer>")[0]})
        self.end = end

    def fail(self, reason: str) -> None:
        """End the episode because of something that is not the policy's doing; the record says what."""
        self.error, self.end = reason, "error"

    def trajectory(self, policy: str, sample: int, prompt_tokens: int = 0, completion_tokens: int = 0) -> Trajectory:
        """The record of the episode."""
        return Trajectory(
            id=f"{self.task.id}.{policy}.{sample}",
            task_id=self.task.id,
            policy=policy,
            sample=sample,
            messages=tuple(self.messages),
            n_turns=self.n_turns,
            n_tool_calls=self.n_tool_calls,
            n_questions=self.n_questions,
            end=self.end or "error",
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            error=self.error,
        )

    def _observations(self, event: ToolEvent) -> list[Message]:
        further = self._turn.calls[1:]
        results = [event, *(ToolEvent(c.name, {}, False, {"error": "one call a turn"}, False) for c in further)]
        return [
            {"role": "tool", "tool_call_id": f"call_{self.n_turns}_{i}", "content": _observation(event)}
            for i, event in enumerate(results)
        ]


def replay(task: Task, world: World, messages: Sequence[Message], max_turns: int = 16) -> Episode:
    """Run a stored trajectory again, without its policy: same turns, the stored user replies, live tools.

    The tools of a simulated world are not live: what they answered is taken from the record.

    Raises:
        ValueError: a tool answers differently than recorded: the record does not belong to this world.
    """
    replies: list[str] = []
    results: list[str] = []

    def recorded(episode: Episode, asked: ToolCall | Question) -> ToolEvent | str:
        return replies.pop(0) if isinstance(asked, Question) else _recorded_event(episode.world, asked, results)

    simulated = recorded if task.world_kind == "simulated" else None
    episode = Episode(task, world, lambda _: replies.pop(0), max_turns, simulated)
    start = len(episode.messages)
    for position, message in enumerate(messages[start:], start):
        if message["role"] != "assistant" or episode.end:
            continue
        following = messages[position + 1 : position + 2]
        replies[:] = [m["content"] for m in following if m["role"] == "user"] or [""]
        results[:] = [m["content"] for m in following if m["role"] == "tool"]
        turn = _turn_of(message)
        if position == len(messages) - 1 and turn.answer is None:
            break  # cut off while it was being written
        episode.step(turn)
        for place, observed in enumerate(episode.messages[position + 1 :], position + 1):
            stood = messages[place]["content"] if place < len(messages) else None
            if observed["role"] == "tool" and observed["content"] != stood:
                raise ValueError(f"message {place}: the world answers {observed['content']} on replay")
    return episode


def _recorded_event(world: World, asked: ToolCall, results: Sequence[str]) -> ToolEvent:
    event = world.refusal(asked.name, asked.arguments)
    if event is None:
        result = json.loads(results[0]) if results else None
        if not isinstance(result, dict):
            raise ValueError(f"the record has no result of {asked.name}")
        event = ToolEvent(asked.name, asked.arguments, "error" not in result, result)
    world.events.append(event)
    return event


def _assistant_message(turn: Turn, number: int) -> Message:
    message: Message = {"role": "assistant", "content": turn.text}
    if turn.calls:
        message["tool_calls"] = [
            {
                "id": f"call_{number}_{i}",
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
            }
            for i, call in enumerate(turn.calls)
        ]
    return message


def _turn_of(message: Message) -> Turn:
    try:
        calls = [call["function"] for call in message.get("tool_calls") or ()]
        made = tuple(ToolCall(str(call["name"]), json.loads(call["arguments"])) for call in calls)
        return Turn(str(message["content"] or ""), made)
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"not a message of an assistant: {error!r}") from None


def _observation(event: ToolEvent) -> str:
    # `<` is escaped so that no value of a row can look like markup of the chat template.
    return json.dumps(event.result).replace("<", "\\u003c")
