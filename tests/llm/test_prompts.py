"""Prompts: untrusted text stays inside its fence, and a version follows the file's content."""

from __future__ import annotations

import pytest
from jinja2 import UndefinedError

from synthagent.llm.prompts import fenced, render


def test_a_fence_cannot_be_closed_from_within() -> None:
    text = fenced("x")
    first, *_, last = fenced(text).splitlines()
    assert first[3:] == last[:-3]
    assert first[3:] not in text
    assert fenced("lone \ud800")


def test_a_prompt_is_versioned_by_its_content_and_inserts_values_as_they_are() -> None:
    prompt = render("policy", rules="{{ 7 * 7 }} {% x", extra="")
    assert "{{ 7 * 7 }} {% x" in prompt.messages[0]["content"]
    assert prompt.version == render("policy", rules="other", extra="").version
    assert prompt.version.startswith("policy@")


def test_a_value_that_is_forgotten_is_an_error_and_not_a_gap() -> None:
    with pytest.raises(UndefinedError, match="rules"):
        render("policy", extra="")


def test_texts_and_lists_are_filled_in_alike_and_an_equal_prompt_is_made_once() -> None:
    assert render("policy", rules="a", extra="") is render("policy", rules="a", extra="")
    given = {"instruction": "i", "background": "b", "tools": "t", "facts": "f", "constraint": "c", "rule": "r"}
    prompt = render("teacher_world", workflow=("look", "move"), **given)
    assert [message["role"] for message in prompt.messages] == ["system", "user"]
    assert "look" in prompt.messages[1]["content"]
