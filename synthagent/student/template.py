"""A tokenizer's chat template and how it takes messages: recorded messages -> the text a student reads.

A student reads its own tokens again, and between two turns what the template writes there. So the template must write
every message the same whatever follows it; each text is checked for that, and a template that fails is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from jinja2 import TemplateError

from synthagent.episodes.turn import ToolCall, Turn, message_of
from synthagent.errors import InputError
from synthagent.params import Thinking
from synthagent.records import Message
from synthagent.student.calls import with_thought
from synthagent.worlds import Tool

ThoughtsIn = Literal["content", "reasoning_content", "thinking"]

# The conversation that a template is tried on.
OPENING: tuple[Message, ...] = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Move it."},
)
TOOL = Tool(name="look", parameters={"type": "object", "properties": {"id": {"type": "string"}}})
LOOK = ToolCall("look", {"id": "K17"})
SAID = "Which one?"

_TODAY = datetime(2024, 7, 26)  # for templates that tell the date: the same params give the same prompts on any day


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """A chat template, and how it takes what a record holds.

    `source`: the template, if it is not the tokenizer's own. `arguments_as_text`: it takes the arguments of a call as
    JSON text, as they are recorded; others want an object. `short_ids`: ids of calls have nine letters and digits.
    `thoughts_in`: the field in which it takes a thought; None if it has no place for one. `ends`: the tokens with
    which it ends a turn.
    """

    tokenizer: Any
    source: str | None
    thinking: Thinking
    arguments_as_text: bool = True
    short_ids: bool = False
    thoughts_in: ThoughtsIn | None = None
    ends: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The template itself."""
        own = self.source or self.tokenizer.chat_template
        return str(own if isinstance(own, str) else own.get("tool_use", own.get("default", "")))

    def render(self, messages: Sequence[Message], more: bool = False, tools: Sequence[Tool] = ()) -> str:
        """The text of messages; `more`: up to where the next turn begins."""
        text: str = self.apply(messages, tools, tokenize=False, add_generation_prompt=more)
        return text

    def up_to_end(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> str:
        """The text of messages up to the end of the last turn: what a student has before it once it has written it."""
        text = self.render(messages, tools=tools)
        places = [text.rfind(end) + len(end) for end in self.ends if end in text]
        if not places:
            raise refusal(self.tokenizer, f"ends a turn with none of {', '.join(self.ends)}: {text[-60:]!r}")
        return text[: max(places)]

    def observation_text(self, observations: Sequence[Message]) -> str:
        """What follows the end of a turn, up to where the next one begins."""
        before = _before(self, tuple(m.get("tool_call_id", "") for m in observations if m["role"] == "tool"))
        whole = self.render([*before.messages, *observations], more=True)
        self.check_prefix(before.text, whole)
        return whole[len(before.text) :]

    def check_prefix(self, before: str, after: str) -> None:
        """Refuse a template that does not go on as it began.

        Raises:
            InputError: with the two texts.
        """
        if after.startswith(before):
            return
        same = next((i for i, (one, other) in enumerate(zip(before, after, strict=False)) if one != other), len(after))
        first, then = (repr(text[max(0, same - 20) : same + 60]) for text in (before, after))
        rule = f"writes the same messages in two ways: {first} and, in a longer conversation, {then}"
        raise refusal(self.tokenizer, rule)

    def apply(self, messages: Sequence[Message], tools: Sequence[Tool], **options: Any) -> Any:
        """As transformers' `apply_chat_template`, of recorded messages."""
        if self.thinking == "drop":
            options["enable_thinking"] = False
        return self.tokenizer.apply_chat_template(
            [self._as_taken(message) for message in messages],
            tools=[tool.schema_of_openai for tool in tools],
            chat_template=self.source,
            strftime_now=_TODAY.strftime,
            **options,
        )

    def _as_taken(self, message: Message) -> Message:
        taken = {**message}
        if thought := taken.pop("reasoning_content", ""):
            taken |= self._thought(str(taken["content"]), thought)
        if calls := taken.get("tool_calls"):
            taken["tool_calls"] = [self._call(call) for call in calls]
        if self.short_ids and "tool_call_id" in taken:
            taken["tool_call_id"] = _short(taken["tool_call_id"])
        return taken

    def _thought(self, content: str, thought: str) -> Message:
        if self.thinking == "drop":
            return {}
        if self.thoughts_in is None:
            raise refusal(self.tokenizer, "has no place for a thought", "drop thoughts (`thinking`)")
        return {self.thoughts_in: with_thought(content, thought) if self.thoughts_in == "content" else thought}

    def _call(self, call: dict[str, Any]) -> dict[str, Any]:
        function, name = call["function"], call["id"]
        if not self.arguments_as_text:
            function = {**function, "arguments": json.loads(function["arguments"])}
        return {**call, "id": _short(name) if self.short_ids else name, "function": function}


def assistant(text: str, *call_ids: str, thought: str = "") -> Message:
    """A turn of the conversation that a template is tried on, with a call for each id."""
    message = message_of(Turn(text, (LOOK,) * len(call_ids), thought), 0)
    for call, name in zip(message.get("tool_calls", ()), call_ids, strict=True):
        call["id"] = name
    return message


def refusal(tokenizer: Any, rule: str, remedy: str = "give the tokenizer another `chat_template`") -> InputError:
    """What is said of a template that does not suit a student."""
    return InputError(f"{tokenizer.name_or_path or 'tokenizer'}: its chat template {rule}; {remedy}")


@dataclass(frozen=True, slots=True)
class _Before:
    """Messages that may stand before observations, and their text."""

    messages: list[Message]
    text: str


@lru_cache(maxsize=512)
def _before(template: Template, call_ids: tuple[str, ...]) -> _Before:
    """The student's turn has made as many calls as are answered; one, if the template refuses several."""
    try:
        messages = [*OPENING, assistant("" if call_ids else SAID, *call_ids)]
        return _Before(messages, template.up_to_end(messages))
    except TemplateError:
        if len(call_ids) < 2:
            raise
        return _before(template, call_ids[:1])


def _short(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "x", f"{name:0>9}")[-9:]
