"""Finds out how a tokenizer's chat template takes messages and writes turns: tokenizer -> `Probed`, or a refusal.

Nothing is looked up by a model's name: a small conversation is written with the template, each way of handing it over
is tried, and what reads it back is the way. A template that TRL knows a training template for may be replaced by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, get_args

from jinja2 import TemplateError

from synthagent.episodes.turn import Turn
from synthagent.errors import InputError
from synthagent.params import Thinking
from synthagent.records import Message
from synthagent.student.calls import Dialect, described_dialect, own_dialects
from synthagent.student.known import response_template, training_template
from synthagent.student.template import LOOK, OPENING, SAID, TOOL, Template, ThoughtsIn, assistant, refusal

_THOUGHT = "Hm."


@dataclass(frozen=True, slots=True)
class Probed:
    """A template that suits a student, and the dialect in which it writes calls."""

    template: Template
    dialect: Dialect


def probe(tokenizer: Any, thinking: Thinking) -> Probed:
    """How a tokenizer's template is used.

    Raises:
        InputError: it does not suit a student.
    """
    if not tokenizer.chat_template:
        raise refusal(tokenizer, "is missing", "give the tokenizer one")
    try:
        return _probe(tokenizer, None, thinking)
    except InputError:
        training = training_template(tokenizer)
        if training is None:
            raise
        return _probe(tokenizer, training, thinking)


def conversation(template: Template) -> list[Message]:
    """What templates are tried on: calls, a question, and what they give; with thoughts where they have a place."""
    thought = _THOUGHT if template.thoughts_in and template.thinking == "keep" else ""
    return [
        *OPENING,
        assistant("", "call_1_0", thought=thought),
        {"role": "tool", "tool_call_id": "call_1_0", "content": '{"id": "K17"}'},
        assistant(SAID, thought=thought),
        {"role": "user", "content": "The first."},
        assistant("", "call_3_0"),
        {"role": "tool", "tool_call_id": "call_3_0", "content": '{"error": "no"}'},
    ]


def _probe(tokenizer: Any, source: str | None, thinking: Thinking) -> Probed:
    try:
        found = _reading_calls(Template(tokenizer, source, thinking))
        found = replace(found, template=_with_thoughts(found))
        _check_prefixes(found.template)
    except (TemplateError, TypeError) as error:
        rule = f"cannot write a system message, tools, calls and what they give: {error}"
        raise refusal(tokenizer, rule) from None
    return found


def _reading_calls(bare: Template) -> Probed:
    """The way of handing over calls that gives turns which are read back."""
    tokenizer = bare.tokenizer
    tail = bare.render([*OPENING, assistant(SAID)]).rpartition(SAID)[2]
    end = next(_added_tokens(tokenizer, tail), "")
    if not end or not tail.startswith(end):
        raise refusal(tokenizer, f"ends a turn of the assistant with {tail!r}, which begins with no special token")
    lead = _lead(bare)
    written: list[tuple[Template, str]] = []
    fault: Exception | None = None
    for as_text, short in product((True, False), (False, True)):
        template = replace(bare, arguments_as_text=as_text, short_ids=short)
        try:
            prompt = template.render(OPENING, more=True, tools=[TOOL])
            text = template.render([*OPENING, assistant("", "call_1_0")], tools=[TOOL])
        except (TemplateError, TypeError) as error:
            fault = fault or error
            continue  # it wants an object, or other ids
        template.check_prefix(prompt, text)
        turn = text[len(prompt) :]
        call_end = [end, *_added_tokens(tokenizer, turn)][-1]
        template = replace(template, ends=tuple(dict.fromkeys((end, call_end))))
        written.append((template, turn.rpartition(call_end)[0] if call_end in turn else turn))
    if fault and not written:
        raise fault
    for dialect in _dialects(tokenizer, lead, written[0][0].ends):
        for template, turn in written:
            if _is_look(dialect.read(turn, [TOOL])):
                return Probed(template, dialect)
    turn = written[-1][1]
    raise refusal(tokenizer, f"writes a call as {turn!r}, which is read back in no form that is known here")


def _dialects(tokenizer: Any, lead: str, ends: tuple[str, ...]) -> Iterator[Dialect]:
    yield from own_dialects(lead)
    own = getattr(tokenizer, "response_template", None)
    if own is not None:
        yield described_dialect(tokenizer, own, lead, ends)
    known = response_template(tokenizer)
    if known is not None:
        yield described_dialect(tokenizer, known, lead, ends)


def _is_look(turn: Turn) -> bool:
    return (turn.text, turn.calls) == ("", (LOOK,))


def _with_thoughts(found: Probed) -> Template:
    """The template with the field in which both a thought before a call and one before a question are read back."""
    for field in get_args(ThoughtsIn):
        template = replace(found.template, thoughts_in=field, thinking="keep")
        turns = [assistant("", "call_1_0", thought=_THOUGHT), assistant(SAID, thought=_THOUGHT)]
        try:
            call, said = (_written(template, turn) for turn in turns)
        except (TemplateError, TypeError):
            continue
        calling, saying = found.dialect.read(call, [TOOL]), found.dialect.read(said, [TOOL])
        if _is_look(calling) and saying.text == SAID and calling.thought == saying.thought == _THOUGHT:
            return replace(template, thinking=found.template.thinking)
    return found.template


def _written(template: Template, turn: Message) -> str:
    """What the template writes of a turn, without the token that ends it."""
    text = template.up_to_end([*OPENING, turn], [TOOL])[len(template.render(OPENING, more=True, tools=[TOOL])) :]
    return next((text.removesuffix(end) for end in template.ends if text.endswith(end)), text)


def _check_prefixes(template: Template) -> None:
    """Refuse a template that writes a turn, or what comes between two, in another way when more follows."""
    messages, text = conversation(template), ""
    for number in (2, 4, 6, 8):  # where turns begin; after the last, one would
        prompt = template.render(messages[:number], more=True, tools=[TOOL])
        template.check_prefix(text, prompt)
        if text:
            between = template.observation_text(messages[number - 1 : number])
            template.check_prefix(text + between, prompt)
        if number < len(messages):
            text = template.up_to_end(messages[: number + 1], [TOOL])
            template.check_prefix(prompt, text)


def _lead(template: Template) -> str:
    """What the template writes between what was said and a turn."""
    before = template.render(OPENING)
    after = template.render(OPENING, more=True)
    return after.removeprefix(before) if after.startswith(before) else after


def _added_tokens(tokenizer: Any, text: str) -> Iterator[str]:
    """The texts of the added tokens in a text, in their order."""
    known = tokenizer.added_tokens_decoder
    for token in tokenizer(text, add_special_tokens=False)["input_ids"]:
        if token in known:
            yield known[token].content
