"""Dialects: what a student writes is read, whatever it is, in one pass and without an exception."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from helpers.families import FAMILIES
from hypothesis import given
from hypothesis import strategies as st

from synthagent.episodes.turn import MALFORMED, ToolCall, Turn, message_of, turn_of
from synthagent.student.calls import Dialect, described_dialect, own_dialects, with_thought
from synthagent.student.format import ChatFormat

DIALECTS = {dialect.name: dialect for dialect in own_dialects("<|assistant|>")}
LOOK = ToolCall("look", {"id": "K17"})
JSON = '{"name": "look", "arguments": {"id": "K17"}}'
BARE = '{"name": "look", "parameters": {"id": "K17"}}'


def read(dialect: str, text: str) -> Turn:
    return DIALECTS[dialect].read(text, ())


@pytest.mark.parametrize(
    ("dialect", "text", "turn"),
    [
        ("Hermes", f"I look.\n<tool_call>\n{JSON}\n</tool_call>", Turn("I look.", (LOOK,))),
        ("Hermes", f"<think>\nHm.\n</think>\n\n<tool_call>{JSON}</tool_call>", Turn("", (LOOK,), "Hm.")),
        ("Llama", BARE, Turn("", (LOOK,))),
        ("Llama", f" \n{JSON}", Turn("", (LOOK,))),
        ("Llama", f"<|python_tag|>{BARE}", Turn("", (LOOK,))),
        ("Llama", f"I look.<|python_tag|>{BARE}; {BARE}", Turn("I look.", (LOOK, LOOK))),
        ("Llama", f"I look. {BARE}", Turn("I look.", (LOOK,))),
        ("Llama", f"<think>{BARE}</think>Which one?", Turn("Which one?", (), BARE)),
        ("Llama", 'Is {"name": right?', Turn('Is {"name": right?')),
        ("Llama", '{"id": "K17"}', Turn('{"id": "K17"}')),
        ("Llama", '{"name": "look", "parameters": {', Turn("", (MALFORMED,))),
        ("Llama", '{"name": "look"}', Turn("", (MALFORMED,))),
        ("Llama", '<|python_tag|>search.call(query="K17")', Turn("", (MALFORMED,))),
        ("Mistral", f"[TOOL_CALLS] [{JSON}]", Turn("", (LOOK,))),
        ("Mistral", f"I look.[TOOL_CALLS][{JSON}, {JSON}]", Turn("I look.", (LOOK, LOOK))),
        ("Mistral", '[TOOL_CALLS]look[ARGS]{"id": "K17"}', Turn("", (LOOK,))),
        ("Mistral", '[TOOL_CALLS]look[CALL_ID]a1b2[ARGS]{"id": "K17"}', Turn("", (LOOK,))),
        ("Mistral", '[TOOL_CALLS]look{"id": "K17"}[TOOL_CALLS]look {"id": "K17"}', Turn("", (LOOK, LOOK))),
        ("Mistral", "[TOOL_CALLS]", Turn("", (MALFORMED,))),
        ("Mistral", "[TOOL_CALLS]look[ARGS]{", Turn("", (MALFORMED,))),
        ("Mistral", "[TOOL_CALLS] [1]", Turn("", (MALFORMED,))),
        ("Mistral", " Which one?", Turn("Which one?")),
        ("Hermes", "<think>I ask.", Turn("", (), "I ask.")),
    ],
)
def test_a_turn_is_read_in_its_familys_dialect(dialect: str, text: str, turn: Turn) -> None:
    assert read(dialect, text) == turn


def test_a_turn_whose_thought_the_prompt_began_is_read_from_inside_it() -> None:
    for dialect in own_dialects("<|assistant|>\n<think>\n"):
        assert dialect.read("Hm.</think>Which one?", ()) == Turn("Which one?", (), "Hm.")
    for dialect in own_dialects("<|assistant|>\n<think>\n\n</think>\n\n"):
        assert dialect.read("Which one?", ()) == Turn("Which one?")


def test_a_thought_survives_the_record() -> None:
    turn = Turn("Which one?", (), "Hm.")
    assert turn_of(message_of(turn, 1)) == turn
    assert read("Hermes", with_thought(turn.text, turn.thought)) == turn


PARTS = (
    "<think>", "</think>", "<tool_call>", "</tool_call>", "<|python_tag|>", "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]",
    "look", "<|tool_call_start|>", "<|tool_call_end|>", "[look(id='K17')]", "<function=look>", "</function>",
    "<parameter=id>",
    "</parameter>", "<|im_end|>", "<answer>", "</answer>", JSON, BARE, '{"name": ', "{", "}", "[", "]", '"', "'",
    ";", ",", "\n", " ", "\\", "1e999", "-", "NaN", "null", "9" * 5000, "[" * 2000, '{"a":' * 2000, "\ud800", "\x00",
)  # fmt: skip
TEXTS = st.lists(st.one_of(st.sampled_from(PARTS), st.text(max_size=8)), max_size=12).map("".join)


@pytest.fixture(scope="module", params=["Qwen3.5", "LFM2", "Hermes", "Llama", "Mistral"])
def dialect(request: pytest.FixtureRequest) -> Dialect:
    if request.param in DIALECTS:
        return DIALECTS[request.param]
    family = next(family for family in FAMILIES if family.name == request.param)
    return ChatFormat.of(family.tokenizer(["look"])).dialect


@given(text=TEXTS)
def test_no_text_is_too_strange(dialect: Dialect, text: str) -> None:
    turn = dialect.read(text, ())
    assert isinstance(turn.text, str)
    assert turn.answer is None or isinstance(turn.answer, str)
    message = message_of(turn, 1)
    assert json.loads(json.dumps(message)) == message
    assert turn_of(message).text == turn.text


@pytest.mark.parametrize(
    "part", [*PARTS, " <tool_call>", "<think> ", "[look(", "[look(a=[", '[look(a="', "<parameter=a>", "((", "\n\n"]
)
def test_reading_takes_no_longer_than_the_text_is_long(dialect: Dialect, part: str) -> None:
    start = time.process_time()
    for frame in ("", "<tool_call>", "<|tool_call_start|>[look(a=", "[TOOL_CALLS]", "<|python_tag|>"):
        dialect.read(frame + (part * 4000)[:8000], ())
    assert time.process_time() - start < 5


class Raising:
    """A tokenizer whose response template fails on what it reads."""

    def parse_response(self, *_: Any, **__: Any) -> dict[str, Any]:
        raise AttributeError("no such group")


def test_a_response_template_that_fails_makes_a_call_that_is_refused() -> None:
    dialect = described_dialect(Raising(), {}, "", ["<|end|>"])
    assert dialect.read("look", ()) == Turn(calls=(MALFORMED,))
    assert dialect.read("look" * 9999, ()) == Turn("look" * 9999)
