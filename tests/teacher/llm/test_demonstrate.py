"""Demonstrations by a language model: they become rubrics, or a row that says why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from helpers import dinner
from helpers.dinner import TASKS, make_project, teacher
from helpers.fake_openai import serving
from helpers.projects import assert_one_message, figures_in, files_under, synthagent, write_params
from helpers.tasks import accepted_tasks, played

from synthagent.episodes.world import fresh_world
from synthagent.records import Rejected, Rubric, Task, Trajectory
from synthagent.stage import Paths
from synthagent.store import read_records, write_records


def test_the_teacher_demonstrates_and_its_demonstrations_become_rubrics(tmp_path: Path) -> None:
    with serving(teacher) as server:
        project = make_project(tmp_path, server.base_url, TASKS)
        finished = synthagent("rubrics", cwd=project)
        assert finished.returncode == 0, finished.stderr
        prompts = [body["messages"][0]["content"] for body in server.requests if body.get("tools")]
    assert all("1. Ask for the date" in prompt and "You show how this request" in prompt for prompt in prompts)
    assert not any(dinner.DATE in prompt for prompt in prompts)
    rubrics = list(read_records(project / Paths.rubrics, Rubric))
    assert [rubric.task_id for rubric in rubrics] == ["task-1", "task-2"]
    for rubric in rubrics:
        assert [(c.id, c.check is not None) for c in rubric.criteria] == [
            ("c1", True),
            ("c2", False),
            ("s1", True),
            ("s2", False),
            ("i1", True),
        ]
    demos = list(read_records(project / Paths.demos, Trajectory))
    assert [demo.id for demo in demos] == ["task-1.teacher.0", "task-1.teacher.1"]
    assert {demo.end for demo in demos} == {"answer"}
    assert [message["role"] for message in demos[0].messages[:2]] == ["system", "user"]
    assert "1. Ask for the date" not in demos[0].messages[0]["content"]
    dropped = {row.id: row.reason for row in read_records(project / Paths.dropped, Rejected)}
    assert dropped == {"task-3": "coverage", "task-4": "no_json"}
    metrics = figures_in(project, "rubrics")
    assert (metrics["demonstrated"], metrics["demo_errors"], metrics["demo_answers"]) == (8, 0, 8)
    assert (metrics["criteria_per_task"], metrics["decidable_share"], metrics["dropped"]) == (5, 0.6, 2)
    assert metrics["dropped_by_reason"] == {"coverage": 1, "no_json": 1}
    assert metrics["llm"]["teacher"]["m"]["calls"] == len(server.requests)
    used = metrics["llm"]["teacher"]["m"]
    assert metrics["tokens_per_rubric"] == round((used["prompt_tokens"] + used["completion_tokens"]) / 2) > 0


def test_the_same_bytes_come_from_the_store_with_no_server(tmp_path: Path) -> None:
    with serving(teacher) as server:
        project = make_project(tmp_path, server.base_url, TASKS)
        assert synthagent("rubrics", cwd=project).returncode == 0
    before = {path: data for path, data in files_under(project / "data").items() if path.suffix == ".parquet"}
    make_project(tmp_path, server.base_url, TASKS, **{"llm.replay": "only"})
    finished = synthagent("rubrics", cwd=project)
    assert finished.returncode == 0, finished.stderr
    assert {path: path.read_bytes() for path in before} == before


def test_a_teacher_that_refuses_leaves_a_row_that_says_so(tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> Any:
        return {"refusal": "No."} if "hopeless" in json.dumps(body["messages"]) else teacher(body)

    with serving(reply) as server:
        project = make_project(tmp_path, server.base_url, TASKS[:3])
        assert synthagent("rubrics", cwd=project).returncode == 0
    (row,) = read_records(project / Paths.dropped, Rejected)
    assert (row.id, row.reason) == ("task-3", "no_demonstration")
    assert "refusal" in row.detail


def test_an_executable_task_keeps_the_criteria_that_its_proofs_were_run_with(tmp_path: Path) -> None:
    from synthagent.judging.criteria import extract

    task = next(task for task in accepted_tasks() if task.split == "train")
    expert = played(task).messages
    turns = tuple(message for message in expert if message["role"] == "assistant")

    def reply(body: dict[str, Any]) -> Any:
        turn = turns[sum(message["role"] == "assistant" for message in body["messages"])]
        return {key: turn[key] for key in ("content", "tool_calls") if key in turn}

    with serving(reply) as server:
        project = make_project(tmp_path, server.base_url, [task])
        finished = synthagent("rubrics", cwd=project)
        assert finished.returncode == 0, finished.stderr
    (rubric,) = read_records(project / Paths.rubrics, Rubric)
    assert rubric.criteria == extract(task, fresh_world(task)).criteria
    assert rubric.coverage == 1


def test_the_embedded_teacher_says_that_it_cannot_demonstrate_simulated_worlds(tmp_path: Path) -> None:
    write_params(tmp_path, {})
    write_records(tmp_path / Paths.tasks, Task, TASKS)
    assert_one_message(synthagent("rubrics", cwd=tmp_path), "task-1", "roles.teacher.backend")
