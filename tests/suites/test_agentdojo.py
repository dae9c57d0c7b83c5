"""AgentDojo's tasks: its own answers are right, silence only where it is paid, and a model can do no more than act."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_openai import Answer, params_of, serving
from helpers.projects import ROOT
from helpers.simulated import native
from helpers.suites import Says, calls, text

from synthagent.isolation import unavailable
from synthagent.params import SuiteParams
from synthagent.params_file import load_params
from synthagent.suites.agentdojo import AGENTDOJO
from synthagent.suites.evaluate import Evaluated, evaluate_suite
from synthagent.suites.run import FOLDER, Result, Wanted, run
from synthagent.suites.worker import Worker

_there = ROOT / AGENTDOJO.environment.folder
pytestmark = pytest.mark.skipif(
    not _there.is_dir() or bool(unavailable()),
    reason=unavailable() or f"no {_there.name} here: `make bench-suites` makes it",
)
# Three ask for nothing that is checked, or for nothing at all; in two the account already is as its check wants it.
PAID_FOR_NOTHING = {f"banking/user_task_{number}" for number in (5, 6, 8, 9, 10)}
DAY = {"workspace": ["workspace/user_task_0"]}


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / AGENTDOJO.environment.folder).symlink_to(_there.resolve())


def evaluated(count: int | None, style: str) -> Evaluated:
    chosen = SuiteParams(name="agentdojo", count=count, style=style)
    return evaluate_suite(load_params(ROOT / "params.yaml"), chosen, ["gold"])


def played(policy: Says, ids: Mapping[str, list[str]], style: str = "native") -> list[Result]:
    """What a policy comes to in these tasks, in the working directory."""
    return run(
        AGENTDOJO, policy, Worker(AGENTDOJO, FOLDER / "worker.log"), ids, Wanted(tuple(ids), None, style, 0), None
    )


def rewarded(found: Evaluated, policy: str) -> set[str]:
    return {row.task_id for row in found.rows if row.policy == policy and row.reward == 1}


@pytest.mark.parametrize("style", ["native", "prompt"])
def test_the_packages_own_answers_are_right_and_silence_only_where_it_is_paid(style: str) -> None:
    found = evaluated(3, style)
    assert len(rewarded(found, "gold")) == 3 * len(AGENTDOJO.categories)
    assert rewarded(found, "noop") <= PAID_FOR_NOTHING
    assert not any(figure.failed for figure in found.figures)


@pytest.mark.slow
@pytest.mark.parametrize("style", ["native", "prompt"])
def test_all_of_the_packages_own_answers_are_right(style: str) -> None:
    found = evaluated(None, style)
    assert len(rewarded(found, "gold")) == 97
    assert rewarded(found, "noop") == PAID_FOR_NOTHING


def test_an_endpoint_sees_the_packages_prompt_and_tools_and_what_its_calls_came_to() -> None:
    def reply(body: dict[str, Any]) -> Answer:
        if len(body["messages"]) == 2:
            return native("get_current_day")
        return f"It is {body['messages'][-1]['content']}."

    with serving(reply) as server:
        chosen = SuiteParams(name="agentdojo", categories=("workspace",), count=2)
        found = evaluate_suite(params_of(server.base_url, role="policy"), chosen, ["endpoint"])
    first, second = server.requests[0], server.requests[-1]
    assert "The user's name is Emma Johnson" in first["messages"][0]["content"]
    assert len(first["tools"]) == 24
    assert {"name", "description", "parameters"} <= first["tools"][0]["function"].keys()
    assert second["messages"][-1] == {**second["messages"][-1], "role": "tool", "content": "2024-05-15"}
    (figure,) = (figure for figure in found.figures if figure.policy == "endpoint")
    assert (figure.called, figure.failed) == (1.0, {})


def test_by_prompt_calls_are_read_from_text_and_answered_in_text() -> None:
    seen: list[str] = []

    def says(situation) -> dict[str, Any]:  # type: ignore[no-untyped-def]
        seen.append(situation.messages[-1]["content"])
        return text("<function-call>[get_current_day()]</function-call>" if situation.steps == 0 else "Done.")

    (result,) = played(Says(says), DAY, "prompt")
    assert (result.called, result.steps, result.failed) == (True, 2, None)
    assert seen[-1] == "<function-call>get_current_day()</function-call><function-result>2024-05-15</function-result>"


def test_a_text_whose_calls_cannot_be_read_is_asked_for_again_twice() -> None:
    told: list[str] = []

    def says(situation) -> dict[str, Any]:  # type: ignore[no-untyped-def]
        told.append(situation.messages[-1]["content"])
        return text("<function-call>[open('/etc/passwd').read()]</function-call>")

    (result,) = played(Says(says), DAY, "prompt")
    assert (result.steps, result.called, result.score, result.failed) == (3, False, 0.0, None)
    assert [line.startswith("Invalid function calling output: ") for line in told] == [False, True, True]


def test_a_model_that_calls_for_ever_is_stopped_by_the_packages_own_limit() -> None:
    (result,) = played(Says(lambda _: calls(("get_current_day", "{}"))), DAY)
    assert (result.score, result.steps, result.failed) == (0.0, 16, None)
    assert "stopped after 15 rounds" in result.detail


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    ("message", "failed"),
    [
        (calls(*[("no_such_tool", "{}")] * 500), None),
        (calls(("search_emails", json.dumps({"query": "a" * 2_000_000}))), "a message of 2,0"),
        (calls(("search_emails", f'{{"query": {DEEP}}}')), None),
        (calls(("search_emails", json.dumps({"query": DEEP}))), None),
        (calls(("search_emails", '{"query": ')), None),
        (calls(("search_emails", "[1]"), ("search_emails", "null")), None),
        (text(f"<function-call>[search_emails(query={DEEP})]</function-call>"), None),
        ({"role": "assistant"}, None),
    ],
    ids=["no-such-tool", "two-megabytes", "deep", "deep-in-text", "cut", "no-object", "deep-prompt", "empty"],
)
def test_whatever_a_model_says_costs_its_problem_at_most(message: dict[str, Any], failed: str | None) -> None:
    def says(situation) -> dict[str, Any]:  # type: ignore[no-untyped-def]
        return message if situation.steps < 3 else text("Done.")

    style = "native" if "tool_calls" in message else "prompt"
    results = played(Says(says), {"workspace": [*DAY["workspace"], "workspace/user_task_1"]}, style)
    assert [result.score for result in results] == [0.0, 0.0]
    for result in results:
        assert failed is None or (result.failed or "").startswith(failed), result
