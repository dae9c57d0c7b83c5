"""The ablation of M: what it measures can be told apart, and both arms meet the same policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_openai import serving
from helpers.simulated import params_for
from helpers.tasks import accepted_tasks, outcome_of

from benchmarks import mapping_ablation
from benchmarks.mapping_ablation import run_arm, simulated
from synthagent.episodes.environment import live_models
from synthagent.episodes.episode import Episode, aplay
from synthagent.episodes.mapping import Mappings
from synthagent.episodes.rerun import rerun
from synthagent.episodes.scripted import reference
from synthagent.records import Task

# Simulated, twins are the same task, unless they differ in what the user says.
TASKS = [task for task in accepted_tasks()[:60] if outcome_of(task) == "done"]


def a_world_of_chance(body: dict[str, Any]) -> str:
    """A tool that fails at the whim of its seed."""
    if body["seed"] // 7 % 2:
        return json.dumps({"equal_to": None, "ok": False, "response": {"error": "not found"}})
    schema = body["response_format"]["json_schema"]["schema"]["$defs"]["Response"]["properties"]
    values = {"string": "open", "integer": 3, "number": 3, "boolean": True}
    return json.dumps({"equal_to": None, "ok": True, "response": {n: values[p["type"]] for n, p in schema.items()}})


def test_with_m_a_policy_without_chance_earns_the_same_in_all_rollouts_and_without_it_does_not(tmp_path: Path) -> None:
    tasks = [simulated(task) for task in TASKS[:4]]
    with serving(a_world_of_chance) as server:
        params = params_for(tmp_path, server.base_url, "tools")
        on = run_arm(tasks, 8, 1.0, params, tmp_path / "llm", mapping=True)
        asked = len(server.requests)
        off = run_arm(tasks, 8, 1.0, params, tmp_path / "llm", mapping=False)
    assert (on.tasks, off.tasks, on.lost, off.lost) == (4, 4, 0, 0)
    assert (on.variance, on.contradictions) == (0.0, 0.0)
    assert off.variance > 0.01
    assert off.contradictions is not None
    assert off.contradictions > 0.5
    assert on.calls > 4 * on.model_calls == 4 * asked
    assert off.calls == off.model_calls


def test_a_task_made_simulated_keeps_its_face_and_hides_its_rows() -> None:
    for task in TASKS:
        other = simulated(task)
        assert Task.model_validate(other.model_dump()).world_kind == "simulated"
        assert [tool.schema_of_openai for tool in other.tools] == [tool.schema_of_openai for tool in task.tools]
        changing = {tool.name for tool in other.tools if tool.changes_state}
        writes = {n for n, effects in task.world.effects.items() if {e.op for e in effects} - {"get", "find"}}
        assert changing == writes
        for name, table in task.world.tables.items():
            assert name in other.world.background
            assert all(str(row[table.key]) in other.world.background for row in table.rows)


def test_an_episode_in_such_a_world_can_be_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    task = simulated(TASKS[0])
    with serving(a_world_of_chance) as server:
        params = params_for(tmp_path, server.base_url, "tools")
        with live_models(params, Mappings()) as models:
            episode = Episode(task, models.environment)
            models.loop.gather([aplay(episode, reference(episode))])
    assert server.requests
    assert rerun(task, episode.messages).world.events == episode.world.events


def test_the_command_prints_a_table_and_says_what_to_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(a_world_of_chance) as server:
        for roles, code in (((), 1), (("tools",), 0)):
            params_for(tmp_path, server.base_url, *roles)
            given = ["--params", str(tmp_path / "params.yaml"), "--store", str(tmp_path / "llm")]
            assert mapping_ablation.main([*given, "--tasks", "2", "--rollouts", "3"]) == code
    told = capsys.readouterr()
    assert "roles.tools.backend" in told.err
    assert told.out.count(" on ") == told.out.count(" off ") == 2
