"""Structured answers: whatever a model writes is a record of the shape asked for, or a bad reply."""

from __future__ import annotations

from contextlib import suppress

import pytest
from helpers.llm import PET, REX, Pet
from hypothesis import given
from hypothesis import strategies as st

from synthagent.errors import BadReplyError
from synthagent.llm.store import Reply
from synthagent.llm.structured import parse


@pytest.mark.parametrize(
    "text",
    [
        PET,
        f"```json\n{PET}\n```",
        f'<think>a {{thought}} and {{"more": 1}}</think> so {PET} it is',
        '{"name": "Rex", "age": NaN} ' + PET,
        '{"name": "' + "x" * 50 + '", "age": 3} ' + PET,
        "{" * 10 + PET,
    ],
)
def test_the_first_object_that_fits_is_taken(text: str) -> None:
    assert parse(Reply(text=text), Pet) == REX


@given(st.text(alphabet='{}[]":,\\ud800aeN1x', max_size=60))
def test_whatever_a_model_writes_is_a_record_or_a_bad_reply(text: str) -> None:
    with suppress(BadReplyError):
        assert parse(Reply(text=text), Pet).model_dump_json().encode()


def test_escapes_do_not_bring_in_what_files_cannot_hold() -> None:
    pet = parse(Reply(text='{"name": "\\ud800 \\u0000 \\ud83d\\ude00", "age": 1}'), Pet)
    assert pet.name == "\ufffd \ufffd \U0001f600"
