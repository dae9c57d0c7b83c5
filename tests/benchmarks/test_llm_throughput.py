"""The throughput benchmark makes the same calls on every side: those of one of our episodes."""

from __future__ import annotations

import json

from benchmarks.llm_server import TURNS
from benchmarks.llm_throughput import bodies, ours, serving


def test_the_bodies_that_every_side_posts_are_those_of_one_episode() -> None:
    with serving(0.0) as base_url:
        sent = [json.loads(body) for body in bodies(base_url)]
        assert ours(base_url, 2, 2) > 0
    assert len(sent) == TURNS
    assert [len(body["messages"]) for body in sent] == sorted({len(body["messages"]) for body in sent})
    assert all(body["tools"][0]["function"]["name"] == "lookup" for body in sent)
