"""Prompts: untrusted text stays inside its fence, and a version follows the file's content."""

from __future__ import annotations

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
