"""A policy behind an endpoint: what its replies become, and how its episodes end."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_openai import Answer, FakeServer, serving
from helpers.simulated import native, params_for, response, role_asked, simulated_task
from helpers.tasks import played, task_of_level
from helpers.turns import render_turn

from synthagent.episodes.endpoint import EndpointPolicy, turn_of_reply
from synthagent.episodes.environment import ModelEnvironment
from synthagent.episodes.episode import opening
from synthagent.episodes.mapping import Mappings
from synthagent.episodes.policy import Setting, Start
from synthagent.episodes.rerun import rerun
from synthagent.episodes.turn import Turn
from synthagent.episodes.world import ToolEvent, UserEvent
from synthagent.errors import EndpointError, RecordError, SynthAgentError
from synthagent.llm.client import Llm
from synthagent.llm.store import Reply
from synthagent.records import Task, Trajectory

TASK = task_of_level(1)
SIMULATED = simulated_task()


def act(
    folder: Path, reply: Callable[[dict[str, Any]], Answer], task: Task = TASK, *roles: str, **settings: Any
) -> tuple[Trajectory, FakeServer]:
    """One episode of a policy that answers `reply`; settings with `__` are params, others are the policy's."""
    folder.mkdir(exist_ok=True)
    changes = {name: value for name, value in settings.items() if "__" in name}
    others = {name: value for name, value in settings.items() if "__" not in name}

    async def whole(base_url: str) -> Trajectory:
        params = params_for(folder, base_url, *(roles or ("policy",)), **changes)
        llm = Llm(params, folder / "llm")
        try:
            setting = Setting(ModelEnvironment(params, llm, Mappings()), params.episode.max_turns)
            start = Start(task, others.pop("sample", 0))
            return await EndpointPolicy(llm, params, setting, **others).act(start)
        finally:
            await llm.close()

    with serving(reply) as server:
        return asyncio.run(whole(server.base_url)), server


def following(task: Task, hermes: bool = False) -> Callable[[dict[str, Any]], Answer]:
    """A policy that does what the task's expert does, natively or as text."""
    turns = [message for message in played(task).messages if message["role"] == "assistant"]

    def reply(body: dict[str, Any]) -> Answer:
        turn = turns[sum(message["role"] == "assistant" for message in body["messages"])]
        if not turn.get("tool_calls"):
            return str(turn["content"])
        function = turn["tool_calls"][0]["function"]
        if hermes:
            call = json.dumps({"name": function["name"], "arguments": json.loads(function["arguments"])})
            return f"I look.\n<tool_call>\n{call}\n</tool_call>"
        return {"content": "I look.", "tool_calls": turn["tool_calls"]}

    return reply


@pytest.mark.parametrize("hermes", [False, True])
@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_model_that_follows_the_expert_does_what_it_does(tmp_path: Path, level: int, hermes: bool) -> None:
    task = task_of_level(level)
    trajectory, server = act(tmp_path, following(task, hermes), task)
    expert = played(task)
    assert (trajectory.end, trajectory.error, trajectory.id) == ("answer", None, f"{task.id}.policy.0")
    assert trajectory.n_turns == expert.n_turns == len(server.requests)
    assert rerun(task, trajectory.messages).world.events == expert.world.events
    assert (trajectory.prompt_tokens, trajectory.completion_tokens) == (10 * expert.n_turns, 5 * expert.n_turns)
    thoughts = {m["content"] for m in trajectory.messages if m.get("tool_calls")}
    assert thoughts == {"I look."}  # brief reasoning beside a call is kept


def test_the_model_is_told_the_protocol_and_the_record_is_not(tmp_path: Path) -> None:
    told = {"role": "teacher", "name": "expert", "extra": "Do it well."}
    trajectory, server = act(tmp_path, lambda body: "<answer>x</answer>", TASK, "teacher", **told)
    (body,) = server.requests
    system = body["messages"][0]["content"]
    assert all(text in system for text in ("<answer>", opening(TASK)[0]["content"], "Do it well."))
    assert body["messages"][1:] == opening(TASK)[1:]
    assert body["tools"] == [tool.schema_of_openai for tool in TASK.tools]
    assert list(trajectory.messages[:2]) == opening(TASK)
    assert (trajectory.policy, trajectory.id) == ("expert", f"{TASK.id}.expert.0")


def test_samples_are_told_apart_and_a_turn_has_its_limit(tmp_path: Path) -> None:
    bodies = [act(tmp_path, lambda body: "<answer>x</answer>", sample=n)[1].requests[0] for n in (0, 1)]
    assert bodies[0]["seed"] != bodies[1]["seed"]
    assert {body["max_tokens"] for body in bodies} == {200}


@pytest.mark.parametrize("arguments", ["", "{", "null", "[1]", '{"a": ', "[" * 5_000, "9" * 5_000, '{"x": NaN}'])
def test_arguments_that_are_no_object_are_an_observation_and_cost_a_turn(tmp_path: Path, arguments: str) -> None:
    def reply(body: dict[str, Any]) -> Answer:
        if len(body["messages"]) > 2:
            return "<answer>x</answer>"
        message = native(str(TASK.tools[0].name))
        message["tool_calls"][0]["function"]["arguments"] = arguments
        return message

    trajectory, server = act(tmp_path, reply)
    assert (trajectory.end, trajectory.n_turns, trajectory.n_tool_calls) == ("answer", 2, 1)
    sent = server.requests[1]["messages"][2]["tool_calls"][0]["function"]
    assert isinstance(json.loads(sent["arguments"]), dict)  # else a server would refuse the episode from here on
    (observed,) = [m["content"] for m in trajectory.messages if m["role"] == "tool"]
    assert set(json.loads(observed)) == {"error"}
    assert rerun(TASK, trajectory.messages).end == "answer"


@pytest.mark.parametrize("name", ["", "a b", "x" * 200, "<|im_end|>", "日本"])
def test_a_name_that_no_server_would_take_is_kept_in_the_record_only(tmp_path: Path, name: str) -> None:
    trajectory, server = act(tmp_path, lambda body: "<answer>x</answer>" if len(body["messages"]) > 2 else native(name))
    (sent,) = server.requests[1]["messages"][2]["tool_calls"]
    assert re.fullmatch("[a-zA-Z0-9_-]{1,64}", sent["function"]["name"])
    assert trajectory.messages[2]["tool_calls"][0]["function"]["name"] == name
    assert json.loads(trajectory.messages[3]["content"]) == {"error": "no such tool"}


def test_several_native_calls_run_in_order_and_each_has_its_answer(tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> Answer:
        if len(body["messages"]) > 2:
            return "<answer>x</answer>"
        return {"tool_calls": native("nothing")["tool_calls"] * 3}

    trajectory, server = act(tmp_path, reply)
    results = [message for message in server.requests[1]["messages"] if message["role"] == "tool"]
    errors = [json.loads(message["content"])["error"] for message in results]
    assert errors == ["no such tool"] * 3
    calls = server.requests[1]["messages"][2]["tool_calls"]
    assert [call["id"] for call in calls] == [m["tool_call_id"] for m in results]
    assert trajectory.n_tool_calls == 3


# --- ends -----------------------------------------------------------------------------------------------------------


def test_a_reply_that_is_cut_off_ends_the_episode_and_is_no_answer(tmp_path: Path) -> None:
    cut = {"content": "<answer>done</answer> and", "finish_reason": "length"}
    trajectory, _ = act(tmp_path, lambda body: cut)
    assert (trajectory.end, trajectory.error, trajectory.n_turns) == ("token_limit", None, 0)
    assert rerun(TASK, trajectory.messages).end is None


def test_turns_and_tokens_have_limits(tmp_path: Path) -> None:
    trajectory, server = act(tmp_path / "a", lambda body: "What?", episode__max_turns=3)
    assert (trajectory.end, trajectory.n_turns, len(server.requests)) == ("turn_limit", 3, 3)
    trajectory, server = act(tmp_path / "b", lambda body: "What?", episode__max_tokens=12)
    assert (trajectory.end, trajectory.n_turns, len(server.requests)) == ("token_limit", 2, 3)


def test_a_refusal_ends_the_episode_with_an_error(tmp_path: Path) -> None:
    trajectory, _ = act(tmp_path, lambda body: {"content": None, "refusal": "I cannot."})
    assert (trajectory.end, trajectory.error) == ("error", "policy: refusal")


def test_what_fails_for_one_role_ends_the_episode_and_says_which(tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> Answer:
        return "nonsense" if role_asked(body) == "tools" else native("look", id="A1")

    trajectory, _ = act(tmp_path, reply, SIMULATED, "policy", "tools")
    assert (trajectory.end, trajectory.error) == ("error", "tools: no_json")
    assert trajectory.messages[-1]["role"] == "assistant"
    assert rerun(SIMULATED, trajectory.messages).world.events == []


def test_an_endpoint_that_fails_is_no_episode(tmp_path: Path) -> None:
    nowhere = {"backend": "openai", "base_url": "http://127.0.0.1:9/v1", "model": "m"}
    with pytest.raises(EndpointError, match=r"roles\.policy"):
        act(tmp_path, lambda body: "never asked", roles__policy=nowhere)


def test_a_simulated_world_needs_a_model_for_its_tools(tmp_path: Path) -> None:
    with pytest.raises(SynthAgentError, match=r"roles\.tools\.backend"):
        act(tmp_path, lambda body: native("look", id="A1"), SIMULATED)


# --- simulated worlds -----------------------------------------------------------------------------------------------


def test_an_episode_in_a_simulated_world_runs_again_without_a_model(tmp_path: Path) -> None:
    look, refused_look, move = native("look", id="A1"), native("look", id=1), native("move", id="A1", day="Mon")
    script = [look, refused_look, move, "Which day?", "<answer>Mon</answer>"]

    def reply(body: dict[str, Any]) -> Answer:
        if role_asked(body) == "tools":
            moved = "move {" in body["messages"][1]["content"]
            return response(error="not <here>") if moved else response(status="<b>")
        return script[sum(message["role"] == "assistant" for message in body["messages"])]

    trajectory, _ = act(tmp_path, reply, SIMULATED, "policy", "tools")
    assert trajectory.end == "answer"
    stored = json.loads(json.dumps(trajectory.messages))
    events = rerun(SIMULATED, stored).world.events
    outcomes = [(e.tool, e.ok, e.valid) for e in events if isinstance(e, ToolEvent)]
    assert outcomes == [("look", True, True), ("look", False, False), ("move", False, True)]
    assert [type(e).__name__ for e in events[3:]] == ["UserEvent", "AnswerEvent"]
    assert [e.told for e in events if isinstance(e, UserEvent)] == [{"day": "Friday"}]
    forged = [dict(message) for message in stored]
    place = next(n for n, m in enumerate(stored) if m["role"] == "tool")
    for content in ("[]", "not json", '"x"'):
        forged[place]["content"] = content
        with pytest.raises(RecordError, match="no result"):
            rerun(SIMULATED, forged)
    refused = [n for n, m in enumerate(stored) if m["role"] == "tool"][1]
    stored[refused]["content"] = '{"status": "open"}'
    with pytest.raises(RecordError, match="the world now answers"):
        rerun(SIMULATED, stored)


def test_a_turn_is_read_from_text_where_there_is_no_native_call() -> None:
    call = native("look", "I look.", id="A1")
    turn = turn_of_reply(Reply(text=" I look. ", tool_calls=tuple(call["tool_calls"])))
    assert turn_of_reply(Reply(text=render_turn(turn))) == turn
    assert turn_of_reply(Reply(text="<answer>x</answer>")) == Turn("<answer>x</answer>")
