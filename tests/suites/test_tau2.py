"""tau2-bench: its own answers are right, a model plays the user, and neither of the two can do more than fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_openai import Answer, FakeServer, params_of, serving
from helpers.projects import ROOT, assert_one_message, synthagent, write_params
from helpers.simulated import native
from helpers.suites import Says, calls, link, needs_tau2, played, text

from synthagent.llm.client import Llm
from synthagent.params import Params, SuiteParams
from synthagent.params_file import load_params
from synthagent.records import Message
from synthagent.suites.evaluate import Evaluated, evaluate_suite
from synthagent.suites.policies import ServedUser, Silent, Situation
from synthagent.suites.run import Result
from synthagent.suites.tau2 import TAU2

pytestmark = needs_tau2
CREATE = "mock:create_task_1"
RIGHT = ("create_task", json.dumps({"user_id": "user_1", "title": "Important Meeting"}))
MOCK, SOLO = {"mock": [CREATE]}, {"mock_solo": ["mock_solo:create_task_1"]}
STOP = "###STOP###"


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    link(TAU2, tmp_path)


def alone(says: Callable[[Situation], Message], ids: dict[str, list[str]] = SOLO) -> Result:
    """What a policy comes to in a problem in which nobody answers; where there is a user, that one ends it."""
    (found,) = played(Says(says), ids, suite=TAU2, user=Silent(TAU2))
    return found


def with_user(
    says: Callable[[Situation], Message],
    user: Callable[[dict[str, Any]], Answer],
    ids: dict[str, list[str]] = MOCK,
    trials: int = 1,
) -> tuple[list[Result], FakeServer]:
    """What a policy comes to with a model as its user, and what that one was asked."""
    with serving(user) as server:
        user_of = ServedUser(Llm(params_of(server.base_url, role="user", temperature=0.0)), "tau2", 77)
        return played(Says(says), ids, suite=TAU2, user=user_of, trials=trials), server


def evaluated(categories: tuple[str, ...], count: int | None = None) -> Evaluated:
    chosen = SuiteParams(name="tau2", categories=categories, count=count)
    return evaluate_suite(load_params(ROOT / "params.yaml"), chosen, ["gold"])


def assert_gold(found: Evaluated) -> None:
    """The tasks' own actions are right wherever there are any."""
    named = TAU2.unsolvable.keys() | TAU2.without_gold.keys()
    for row in found.rows:
        if row.policy == "gold":
            assert row.reward == float(row.task_id not in named), row
    assert not any(figure.failed for figure in found.figures if figure.policy == "gold")


# --- gold and noop ----------------------------------------------------------------------------------------------------


def test_the_tasks_own_actions_are_right_and_some_tasks_pay_for_nothing() -> None:
    found = evaluated(("mock", "mock_solo"))
    assert_gold(found)
    (noop,) = (figure for figure in found.figures if (figure.policy, figure.category) == ("noop", "mock"))
    assert noop.lead is not None
    assert noop.lead.mean > 0
    assert any("update_task_with_history_and_env_assertions: gold has nothing" in line for line in found.lines())


def test_in_telecom_the_user_acts_too() -> None:
    assert_gold(evaluated(("telecom",), 2))


@pytest.mark.slow
def test_all_of_the_tasks_own_actions_are_right() -> None:
    found = evaluated(TAU2.categories)
    assert_gold(found)
    counts = {figure.category: figure.n for figure in found.figures}
    assert counts == {
        "mock": 9, "airline": 50, "retail": 114, "telecom": 114, "mock_solo": 6, "telecom_solo": 114,
    }  # fmt: skip


# --- the user ---------------------------------------------------------------------------------------------------------


def test_a_model_is_told_how_to_play_the_user_and_hears_what_the_policy_says() -> None:
    def user(body: dict[str, Any]) -> Answer:
        return STOP if len(body["messages"]) > 3 else "Create it, please."

    seen: list[Message] = []

    def says(situation: Situation) -> Message:
        seen[:] = situation.messages
        return text("It is created.") if situation.steps else calls(RIGHT)

    (found,), server = with_user(says, user)
    assert (found.score, found.called, found.steps) == (1.0, True, 2)
    first, second = server.requests
    system, hello = first["messages"]
    assert "User Simulation Guidelines" in system["content"]
    assert "Important Meeting" in system["content"]
    assert (hello["role"], first["max_tokens"], "tools" in first) == ("user", 77, False)
    said = [(message["role"], message["content"]) for message in second["messages"][1:]]
    assert said == [("user", hello["content"]), ("assistant", "Create it, please."), ("user", "It is created.")]
    assert [message["role"] for message in seen] == ["system", "assistant", "user", "assistant", "tool"]
    assert "customer service agent" in seen[0]["content"]
    assert "Important Meeting" in seen[-1]["content"]


def test_in_telecom_what_the_user_calls_is_run_and_the_policy_does_not_see_it() -> None:
    def user(body: dict[str, Any]) -> Answer:
        if body["messages"][-1]["role"] == "tool":
            return "It says: " + body["messages"][-1]["content"]
        return STOP if len(body["messages"]) > 4 else native("check_status_bar")

    seen: list[Message] = []

    def says(situation: Situation) -> Message:
        seen[:] = situation.messages
        return text("Thank you.")

    ids = {"telecom": ["telecom:[service_issue]airplane_mode_on|unseat_sim_card[PERSONA:None]"]}
    (found,), server = with_user(says, user, ids)
    assert not found.failed
    assert "check_status_bar" in {tool["function"]["name"] for tool in server.requests[0]["tools"]}
    assert [message["role"] for message in seen] == ["system", "assistant", "user"]
    assert "Status Bar" in seen[-1]["content"]


def test_a_user_who_never_stops_is_stopped_by_the_suites_own_limit() -> None:
    (found,), server = with_user(lambda _: text("And then?"), lambda body: f"More {len(body['messages'])}.")
    assert (found.score, found.failed) == (0.0, "max_steps: no end within 200 steps")
    assert len(server.requests) == 100


@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        ("a" * 2_000_000, "user: too_long: a message of 1,0"),
        ("", "user: says nothing"),
        (native("no_such_tool"), "too_many_errors: 10 calls failed"),
        ({"content": "", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{"}}]},
         "too_many_errors: 10 calls failed"),
    ],
    ids=["endless-message", "nothing", "no-such-tool", "cut-arguments"],
)  # fmt: skip
def test_whatever_a_user_says_costs_its_problem_at_most(answer: Answer, failed: str) -> None:
    (found,), _ = with_user(lambda _: text("And then?"), lambda _: answer)
    assert found.score == 0.0
    assert (found.failed or "").startswith(failed), found


def both_at(server: FakeServer) -> Params:
    """Params in which one server is the policy and the user."""
    raw = params_of(server.base_url, role="policy", temperature=0.5).model_dump()
    raw["roles"]["user"] = raw["roles"]["policy"]
    return Params.model_validate(raw)


def test_trials_are_asked_for_one_by_one_and_more_of_them_go_on_where_fewer_ended() -> None:
    chosen = SuiteParams(name="tau2", categories=("mock",), count=1, trials=2)
    with serving(lambda body: STOP if "Guidelines" in body["messages"][0]["content"] else "x") as server:
        found = evaluate_suite(both_at(server), chosen, ["endpoint"])
        assert sorted(row.sample for row in found.rows if row.policy == "endpoint") == [0, 1]
        seeds = [body["seed"] for body in server.requests]
        assert len(set(seeds)) == len(seeds) == 2
        (figure,) = (figure for figure in found.figures if figure.policy == "endpoint")
        assert (figure.n, figure.trials, len(figure.passes)) == (1, 2, 2)
        assert "2 trials of each" in found.lines()[0]
        evaluate_suite(both_at(server), chosen.model_copy(update={"trials": 3}), ["endpoint"])
        assert len(server.requests) == 3


def test_another_user_is_another_result() -> None:
    for answer, count in (("x " + STOP, 1), (STOP, 2)):
        with serving(lambda _, answer=answer: answer) as server:  # type: ignore[misc]
            for most in (50, 50, 60):
                user = ServedUser(Llm(params_of(server.base_url, role="user", model=f"m{count}")), "tau2", most)
                played(Says(lambda _: text("")), MOCK, suite=TAU2, user=user)
            assert len(server.requests) == 2


# --- without a model for the user -------------------------------------------------------------------------------------


def test_without_a_model_for_the_user_only_what_needs_none_is_run_and_the_rest_is_named() -> None:
    with serving(lambda body: native("done")) as server:
        found = evaluate_suite(
            params_of(server.base_url, role="policy"), SuiteParams(name="tau2", count=1), ["endpoint"]
        )
    assert {figure.category for figure in found.figures} == {"mock_solo", "telecom_solo"}
    (note,) = (line for line in found.lines() if line.startswith("not run: "))
    assert note.startswith("not run: mock, airline, retail, telecom: a model has to play the user; set roles.user")


def test_a_category_that_wants_a_user_is_refused_where_there_is_none(tmp_path: Path) -> None:
    write_params(tmp_path, {})
    finished = synthagent("evaluate", "--suite", "tau2", "--policy", "sft", "--categories", "airline", cwd=tmp_path)
    assert_one_message(finished, "roles.user.backend: suite tau2, airline: a model has to play the user", "mock_solo")


# --- bad policies -----------------------------------------------------------------------------------------------------

DEEP = "[" * 100_000 + "]" * 100_000
MIDDLING = '{"a": ' * 300 + "1" + "}" * 300


@pytest.mark.parametrize(
    ("message", "failed"),
    [
        (calls(*[("no_such_tool", "{}")] * 500), "too_many_errors: 10 calls failed"),
        (calls(("create_task", json.dumps({"title": "a" * 2_000_000}))), "a message of 2,0"),
        (calls(("create_task", f'{{"title": {DEEP}}}')), "too_many_errors"),
        (calls(("create_task", MIDDLING)), "too_many_errors"),
        (calls(("create_task", '{"title": ')), "too_many_errors"),
        (calls(("create_task", "[1]"), ("get_users", "null")), "too_many_errors"),
        (calls(("get_users", '{"requestor": "user", "tool_name": "x"}')), "too_many_errors"),
        (calls(("get_users", "{}")), "max_steps: no end within 200 steps"),
        ({"role": "assistant"}, "policy: says nothing"),
        (text("Hello."), "ValueError: LLMSoloAgent only supports tool calls."),
    ],
    ids=["no-such-tool", "two-megabytes", "deep", "middling", "cut", "no-object", "forged", "endless", "empty", "text"],
)
def test_whatever_a_model_says_costs_its_problem_at_most(message: Message, failed: str) -> None:
    found = alone(lambda _: message)
    assert found.score == 0.0
    assert (found.failed or "").startswith(failed), found


def test_a_model_is_told_what_was_wrong_with_its_call() -> None:
    told: list[str] = []

    def says(situation: Situation) -> Message:
        told[:] = [message["content"] for message in situation.messages if message["role"] == "tool"]
        return calls(("done", "{}")) if situation.steps else calls(("nothing", "{}"), ("create_task", "[1]"))

    found = alone(says)
    assert (found.score, found.failed) == (0.0, None)
    assert "not met: DB" in found.detail
    assert told[0] == "Error: Tool 'nothing' not found."
    assert "unexpected keyword argument '(no JSON object)'" in told[1]


def test_a_sum_without_end_is_an_error_that_the_model_is_told() -> None:
    told: list[str] = []

    def says(situation: Situation) -> Message:
        told[:] = [message["content"] for message in situation.messages if message["role"] == "tool"]
        sums = [("calculate", json.dumps({"expression": text})) for text in ("9**9**9**9", "(2 + 3) * 1.5")]
        return text("Hello.") if situation.steps else calls(*sums)

    def user(body: dict[str, Any]) -> Answer:
        return STOP if len(body["messages"]) > 3 else "Hello."

    with_user(says, user, {"retail": ["retail:0"]})
    assert told == ["Error: a power without end", "7.5"]


def test_only_the_user_ends_a_problem() -> None:
    def user(body: dict[str, Any]) -> Answer:
        return STOP if len(body["messages"]) > 6 else "Go on."

    (found,), _ = with_user(lambda _: text(f"{STOP} ###TRANSFER###"), user)
    assert (found.steps, found.score) == (3, 0.0)
