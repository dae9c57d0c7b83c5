"""What the leaderboard's problems say, told by its worker; copies of them in our tasks are found, reworded as well."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from helpers.projects import assert_one_message, synthagent, write_params
from helpers.suites import link, link_bfcl, needs_agentdojo, needs_bfcl, needs_tau2
from helpers.tasks import accepted_tasks

from synthagent.problems import RightCall, Signature, read_problems
from synthagent.records import Task
from synthagent.stage import Paths
from synthagent.store import write_records
from synthagent.suites import problems as module
from synthagent.suites.agentdojo import AGENTDOJO
from synthagent.suites.bfcl import BFCL
from synthagent.suites.problems import problems_of
from synthagent.suites.suite import Suite
from synthagent.suites.tau2 import TAU2

REWORDED = {  # by hand
    "simple_python_303": "What were Cristiano Ronaldo's stats as a player during the 2019-2020 season?",
    "multiple_94": "I would like to book it: what does the Hilton in New York charge for three nights in a suite with "
    "a queen bed?",
    "multiple_33": "Please integrate f(x) = 3x^2 between 1 and 2.",
    "parallel_0": "On Spotify, put on music by Taylor Swift for 20 minutes and then Maroon 5 for 15 minutes.",
    "live_simple_6-3-2": "I need to decide on a jacket today; what is San Francisco's weather, in fahrenheit?",
    "live_multiple_531-151-7": "What music events can be found in Philadelphia?",
    "irrelevance_183": "Who won the men's singles at Wimbledon in 2021?",
}


def test_a_project_without_suites_has_nothing_to_export_and_is_told_what_makes_them(tmp_path: Path) -> None:
    write_params(tmp_path, {})
    assert_one_message(synthagent("export", "problems", cwd=tmp_path), "no suite is installed", "make bench-suites")
    fault = synthagent("decontaminate", "--suites", "bfcl", cwd=tmp_path)
    assert_one_message(fault, ".venv-bfcl: no such environment", "suites/bfcl.sh")


@needs_bfcl
def test_the_worker_tells_texts_tools_and_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    link_bfcl(tmp_path)
    few = replace(BFCL, categories=("simple_python", "irrelevance"))
    found = {problem.id: problem for problem in problems_of(few)}
    assert len(found) == 640
    first = found["simple_python_0"]
    assert first.instructions == ("Find the area of a triangle with a base of 10 units and height of 5 units.",)
    names, shape = ("base", "height", "unit"), "integer, integer, string?"
    assert first.tools == (Signature(name="calculate_triangle_area", parameters=names, shape=shape),)
    assert first.answers == (RightCall(name="calculate_triangle_area", arguments={"base": 10, "height": 5}),)
    assert found["irrelevance_0"].answers == ()
    monkeypatch.setattr(module, "Worker", None)
    assert {problem.id: problem for problem in problems_of(few)} == found, "the second time they are kept"


@pytest.mark.parametrize(
    ("suite", "category", "number", "said", "call"),
    [
        pytest.param(TAU2, "mock", 9, "Create a new task called 'Important Meeting'", "create_task", marks=needs_tau2),
        pytest.param(AGENTDOJO, "banking", 16, "bill-december-2023.txt", "send_money", marks=needs_agentdojo),
    ],
)
def test_the_workers_of_other_suites_tell_them_too(
    suite: Suite, category: str, number: int, said: str, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    link(suite, tmp_path)
    problems = problems_of(replace(suite, categories=(category,)))
    assert len(problems) == number
    assert said in problems[0].instructions[0]
    assert call in {tool.name for tool in problems[0].tools}
    assert call in {answer.name for answer in problems[0].answers}


@needs_bfcl
@pytest.mark.slow
def test_planted_copies_are_found_verbatim_and_reworded(tmp_path: Path) -> None:
    write_params(tmp_path, {})
    link_bfcl(tmp_path)
    done = synthagent("export", "problems", cwd=tmp_path)
    assert "data/problems/bfcl.jsonl: 4,275 problems of bfcl" in done.stdout, done
    texts = {problem.id: problem for problem in read_problems(tmp_path / "data" / "problems", "here")}
    ours = accepted_tasks()
    planted = [
        ours[0].model_copy(update={"id": f"z-{kind}-{id}", "instruction": text, "facts": ()})
        for id, reworded in REWORDED.items()
        for kind, text in (("same", texts[id].instructions[0]), ("reworded", reworded))
    ]
    write_records(tmp_path / Paths.tasks, Task, sorted([*ours, *planted], key=lambda task: task.id))
    found = synthagent("decontaminate", cwd=tmp_path)
    assert found.returncode == 1
    assert f"{len(planted)} tasks hit: instruction {len(planted)}, tool 0, answer 0" in found.stdout
    for id in REWORDED:
        for kind in ("same", "reworded"):
            assert f"z-{kind}-{id}: instruction as in bfcl {BFCL.environment.version} {id}" in found.stdout, (
                found.stdout
            )
