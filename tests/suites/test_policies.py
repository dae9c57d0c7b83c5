"""Who acts in a suite: a model at an endpoint, asked once for each message; a checkpoint, all that waits at once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_openai import Answer, FakeServer, params_of, serving
from helpers.projects import default_params
from helpers.simulated import native
from helpers.suites import link_bfcl, needs_bfcl
from helpers.tasks import accepted_tasks, played

from synthagent.errors import EndpointError
from synthagent.llm.usage import Usage
from synthagent.params import SuiteParams
from synthagent.suites.evaluate import Evaluated, evaluate_suite

pytestmark = needs_bfcl


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    link_bfcl(tmp_path)


def asked(
    reply: Callable[[dict[str, Any]], Answer],
    chosen: SuiteParams,
    refuses: Callable[[dict[str, Any]], bool] | None = None,
) -> tuple[Evaluated, FakeServer]:
    """What a model that answers `reply` comes to, and what it was asked."""
    with serving(reply) as server:
        if refuses:
            server.refuses = refuses
        params = params_of(server.base_url, role="policy")
        return evaluate_suite(params, chosen, ["endpoint"], Usage({})), server


SIMPLE = SuiteParams(name="bfcl", categories=("simple_python",), count=6, max_tokens=77)


def score(found: Evaluated, policy: str = "endpoint") -> float:
    (figure,) = (figure for figure in found.figures if figure.policy == policy)
    assert figure.lead is not None
    return figure.lead.mean


def test_an_endpoint_is_asked_greedily_with_the_suites_tools_and_only_once() -> None:
    found, server = asked(lambda body: native(body["tools"][0]["function"]["name"]), SIMPLE)
    assert len(server.requests) == 6
    for body in server.requests:
        assert (body["temperature"], body["max_tokens"]) == (0.0, 77)
        assert [message["role"] for message in body["messages"]] == ["user"]
        assert body["tools"][0]["function"]["parameters"]["type"] == "object"
    assert [row.decoding for row in found.rows if row.policy == "endpoint"] == ["greedy"] * 6
    (figure,) = (figure for figure in found.figures if figure.policy == "endpoint")
    assert (figure.called, score(found)) == (1.0, 0.0)
    with serving(lambda body: pytest.fail("asked again")) as other:
        for file in Path(".cache/suites/bfcl").glob("*.jsonl"):
            file.unlink()  # what is left are the endpoint's answers
        again = evaluate_suite(params_of(other.base_url, role="policy"), SIMPLE, ["endpoint"])
    assert other.requests == []
    assert again.rows == found.rows


def test_by_prompt_an_endpoint_sees_no_tools_but_the_suites_own_prompt_and_its_text_is_read_by_the_suite() -> None:
    def reply(body: dict[str, Any]) -> Answer:
        system, user = body["messages"]
        assert "tools" not in body
        assert "You are an expert in composing functions" in system["content"]
        return "[calculate_triangle_area(base=10, height=5, unit='units')]" if "triangle" in user["content"] else "No."

    chosen = SIMPLE.model_copy(update={"style": "prompt", "count": None})
    found, server = asked(reply, chosen)
    right = {row.task_id for row in found.rows if row.reward == 1}
    assert "simple_python_0" in right
    assert len(server.requests) == 400


def test_prompts_that_are_too_long_are_failures_that_are_counted_however_many() -> None:
    with serving(lambda body: "") as server:
        server.refuses = lambda body: True
        server.reason = "This model's maximum context length is 8192 tokens. However, you requested 9000."
        found = evaluate_suite(params_of(server.base_url, role="policy"), SIMPLE, ["endpoint"])
    (figure,) = (figure for figure in found.figures if figure.policy == "endpoint")
    assert figure.failed == {"policy: too_long": 6}
    assert score(found) == 0.0


def test_an_endpoint_that_refuses_everything_ends_the_run() -> None:
    chosen = SIMPLE.model_copy(update={"count": 20})
    with pytest.raises(EndpointError, match="bad_request"):
        asked(lambda body: "", chosen, refuses=lambda body: True)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A student that has learnt nothing, in a folder."""
    from helpers.student import PARAMS

    from synthagent.student.model import Student, build_model, save_student
    from synthagent.student.tokenizer import render_plain, train_tokenizer
    from synthagent.teacher.domains import load_vocabulary

    vocabulary = load_vocabulary()
    texts = [render_plain(played(task).messages) for task in accepted_tasks()[:40]]
    tokenizer = train_tokenizer(texts, (*vocabulary.lexicon, *vocabulary.names), PARAMS.vocab_size)
    save_student(Student(build_model(tokenizer, PARAMS, seed=0), tokenizer), tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def test_a_checkpoint_acts_greedily_and_a_prompt_that_it_cannot_hold_is_a_failure_that_is_counted(
    checkpoint: Path,
) -> None:
    categories = ("simple_python", "irrelevance", "multi_turn_base")
    chosen = SuiteParams(name="bfcl", categories=categories, count=5, max_tokens=16)
    first = evaluate_suite(default_params(), chosen, [str(checkpoint)])
    assert not any(figure.failed for figure in first.figures)
    settings = first.settings[str(checkpoint)]
    assert settings["decoding"] == "greedy"
    assert {"weights", "template", "max_tokens"} <= set(settings)
    shutil.rmtree(".cache")
    assert evaluate_suite(default_params(), chosen, [str(checkpoint)]).rows == first.rows
    more = chosen.model_copy(update={"max_tokens": 3_000})  # it holds 2,048
    figures = evaluate_suite(default_params(), more, [str(checkpoint)]).figures
    assert {str(figure.failed) for figure in figures if figure.policy != "noop"} == {"{'policy: too_long': 5}"}


def test_a_student_that_calls_is_read_in_its_own_way(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from synthagent.suites.local import LocalPolicy

    call = {"name": "calculate_triangle_area", "arguments": {"base": 10, "height": 5, "unit": "units"}}

    def written(self: LocalPolicy, prompts: list[list[int]]) -> list[list[int]]:
        ids: list[int] = self.student.tokenizer(f"<tool_call>{json.dumps(call)}</tool_call>")["input_ids"]
        return [ids for _ in prompts]

    monkeypatch.setattr(LocalPolicy, "_written", written)
    chosen = SuiteParams(name="bfcl", categories=("simple_python",), max_tokens=16)
    found = evaluate_suite(default_params(), chosen, [str(checkpoint)])
    rows = [row for row in found.rows if row.policy == str(checkpoint)]
    assert {row.task_id for row in rows if row.reward == 1} >= {"simple_python_0"}
