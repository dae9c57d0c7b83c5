"""Who answers: per tool the world or a model, and code or a model as the user; loops for code that has none."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path

import pytest
from helpers.fake_openai import serving
from helpers.projects import default_params
from helpers.simulated import params_for, response
from helpers.tasks import played, task_of_level

from synthagent.episodes.environment import LoopThread, live_models, needs_models
from synthagent.episodes.episode import Episode
from synthagent.episodes.mapping import Mappings, entries_in
from synthagent.episodes.rerun import rerun
from synthagent.episodes.turn import ToolCall, Turn
from synthagent.episodes.world import ToolEvent, answered_by, is_simulated
from synthagent.worlds import Tool

TASK = task_of_level(1)
WEATHER = Tool(name="weather", parameters={"type": "object"}, outputs={"sky": {"type": "string"}})
MIXED = TASK.model_copy(update={"tools": (*TASK.tools, WEATHER)})


def test_a_tool_is_answered_by_the_world_if_it_has_an_effect_for_it_else_by_a_model() -> None:
    assert {answered_by(MIXED, tool.name) for tool in TASK.tools} == {"world"}
    assert answered_by(MIXED, "weather") == "model"
    assert answered_by(MIXED, "nothing") == "world"  # which says that there is no such tool
    assert (is_simulated(TASK), is_simulated(MIXED)) == (False, True)
    assert (needs_models(default_params(), [TASK]), needs_models(default_params(), [TASK, MIXED])) == (False, True)


def test_one_turn_may_call_tools_of_both_kinds_and_runs_again_from_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where answers are kept
    good = next(event for event in played(TASK).world.events if isinstance(event, ToolEvent) and event.ok)
    calls = (ToolCall(good.tool, dict(good.args)), ToolCall("weather", {}), ToolCall("nothing", {}))
    with serving(lambda body: response(sky="grey")) as server:
        params = params_for(tmp_path, server.base_url, "tools")
        with live_models(params, Mappings()) as models:
            episode = Episode(MIXED, models.environment)
            (observations,) = models.loop.gather([episode.astep(Turn(calls=calls))])
            models.loop.gather([episode.astep(Turn("<answer>Done</answer>"))])
        assert len(server.requests) == 1
    assert [json.loads(o["content"]) for o in observations] == [
        dict(good.result),
        {"sky": "grey"},
        {"error": "no such tool"},
    ]
    assert rerun(MIXED, episode.messages).world.events == episode.world.events
    (entry,) = entries_in(MIXED, episode.trajectory("me"))  # M holds what models said, not what the world says
    assert (entry.tool, entry.response) == ("weather", {"sky": "grey"})


async def double(number: int) -> int:
    await asyncio.sleep(0)
    if number < 0:
        raise ValueError(f"{number} is negative")
    return 2 * number


def test_a_loop_gives_results_in_order_and_the_first_error_once_all_have_ended() -> None:
    loop = LoopThread()
    assert loop.gather(map(double, [3, 1, 2])) == [6, 2, 4]
    assert loop.gather([]) == []
    with pytest.raises(ValueError, match="-1 is negative"):
        loop.gather(map(double, [1, -1, -2]))
    loop.close(partial(asyncio.sleep, 0))
