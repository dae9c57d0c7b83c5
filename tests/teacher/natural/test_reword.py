"""A model may word natural tasks anew, over real HTTP; whatever it breaks, the procedural words stay."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_openai import Answer, serving
from helpers.projects import default_params, said_by
from helpers.scripted_teacher import project_with_teacher

from synthagent.errors import ParamsError
from synthagent.judging.validate import validate_file
from synthagent.records import Task
from synthagent.stage import Paths
from synthagent.stages import tasks as stage
from synthagent.stages.personas import built_in
from synthagent.store import read_records
from synthagent.teacher.natural.library import load_domains
from synthagent.teacher.natural.reword import Reworded, fault_of
from synthagent.teacher.natural.sample import fresh_tasks
from synthagent.teacher.natural.spoken import surfaces_of

COUNT = 48
DOMAINS = {domain.name: domain for domain in load_domains()}
Model = Callable[[str, list[list[str]]], Answer]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def asked(body: dict[str, Any]) -> tuple[str, list[list[str]]]:
    """The request that a model is asked to reword, and the answers with their values."""
    said = next(message["content"] for message in body["messages"] if message["role"] == "user")
    _, request, answers = (block for _, block in re.findall(r"<<<(\w+)\n(.*?)\n?\1>>>", said, re.DOTALL))
    return request, [json.loads(line) for line in answers.splitlines()]


def kind(request: str, answers: list[list[str]]) -> Answer:
    """A model that is of use."""
    phrases = [f"oh, sorry, {value} of course" for value, _ in answers]
    return json.dumps({"instruction": f"Hello again, my friend. {request}", "phrases": phrases})


def run(model: Model, **changes: Any) -> tuple[list[Task], dict[str, Any], int]:
    """Tasks and figures of a run of the stage, and how often the model was asked."""
    with serving(lambda body: model(*asked(body))) as server:
        params = project_with_teacher(
            Path(),
            server.base_url,
            COUNT,
            **{"tasks__language": "natural", "tasks__natural__reword": True, "compute__processes": 1} | changes,
        )
        figures = stage.run(params)
        return list(read_records(Paths.tasks, Task)), said_by(figures), len(server.requests)


def test_tasks_in_a_models_words_hold_all_proofs_and_are_otherwise_the_same() -> None:
    tasks, figures, calls = run(kind)
    assert not [line for line in validate_file(Paths.tasks) if line.failed]
    done = [task for task in tasks if task.provenance["reword"] == "done"]
    assert figures["tasks_reworded"] == figures["reword"]["done"] == len(done) > COUNT / 2
    assert figures["tokens"]["reword"] == 15 * calls
    assert all(task.instruction.startswith("Hello again, my friend. ") for task in done)
    assert all(task.provenance["model"] == "m" for task in done)
    assert any("oh, sorry" in fact.phrase for task in done for fact in task.facts)
    assert {task.provenance["reword"] for task in tasks if task.provenance["pattern"] == "cannot"} <= {"not watched"}
    pairs = {task.id: task.instruction for task in tasks}
    assert all(pairs[task.twin_of] == task.instruction for task in tasks if task.twin_of)
    plain, _, nobody = run(kind, tasks__natural__reword=False, roles__teacher={"backend": "embedded"})
    assert nobody == 0
    words = {"instruction", "facts", "provenance"}
    assert [task.model_dump(exclude=words) for task in tasks] == [task.model_dump(exclude=words) for task in plain]


def test_a_second_run_asks_nobody_and_gives_the_same() -> None:
    first, _, _ = run(kind)
    second, _, calls = run(kind)
    assert calls == 0
    assert first == second


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (lambda request, answers: "I would rather not say.", "no_json"),
        (lambda request, answers: '{"instruction": 7}', "wrong_shape"),
        (lambda request, answers: {"content": None, "refusal": "I cannot help with that."}, "refusal"),
    ],
)
def test_a_model_that_is_of_no_use_leaves_every_task_as_it_was(model: Model, why: str) -> None:
    tasks, figures, _ = run(model)
    assert set(figures["reword"]) <= {why, "not watched"}
    assert figures["tasks_reworded"] == 0
    plain, _, _ = run(kind, tasks__natural__reword=False, roles__teacher={"backend": "embedded"})
    dropped = {"provenance"}
    assert [task.model_dump(exclude=dropped) for task in tasks] == [task.model_dump(exclude=dropped) for task in plain]


@cache
def fresh() -> list[Task]:
    groups = fresh_tasks(60, 5, None, list(built_in()), default_params().tasks).groups
    return [group[0] for group in groups]


def fault(task: Task, instruction: str, *phrases: str) -> str:
    surfaces = surfaces_of(task, DOMAINS[task.domain])
    assert surfaces is not None
    return fault_of(task, Reworded(instruction=instruction, phrases=phrases), surfaces, DOMAINS[task.domain])


def some(where: Callable[[Task], bool]) -> list[Task]:
    found = [t for t in fresh() if surfaces_of(t, DOMAINS[t.domain]) and where(t)]
    assert found
    return found


def test_words_that_lose_a_value_are_refused_for_every_value() -> None:
    for task in some(lambda task: not task.facts):
        assert fault(task, f"Good evening! {task.instruction}") == ""
        for surface in surfaces_of(task, DOMAINS[task.domain]) or []:
            lost = task.instruction.replace(surface.words, "something", 1)
            assert lost != task.instruction, surface
            assert fault(task, lost), (task.instruction, surface)


def test_words_that_give_away_what_only_the_user_knows_are_refused() -> None:
    for task in some(lambda task: bool(task.world.canonical)):
        (hidden,) = [fact for fact in task.facts if fact.slot in task.world.canonical]
        good, said = f"Hi! {task.instruction}", f"that is {hidden.value}"
        assert fault(task, good, said) == ""
        assert fault(task, f"{good} It is {hidden.value}.", said) != ""
        assert fault(task, good, "I do not remember") == "answer without its value"
        assert fault(task, good) == fault(task, good, said, said) == "answer without its value"


def test_words_that_ask_for_something_else_or_make_numbers_up_are_refused() -> None:
    reasons = Counter[str]()
    for task in some(lambda task: not task.facts and len(DOMAINS[task.domain].actions) > 1):
        verbs = [action.verb for action in DOMAINS[task.domain].actions]
        reasons.update(fault(task, f"{task.instruction} And then {verb} it.") for verb in verbs)
        assert fault(task, f"{task.instruction} My number is 987123.") == "number made up"
        assert fault(task, f"{task.instruction} {'so ' * 240}"[:1200]) == "too long" or len(task.instruction) > 400
    assert reasons["other request"] > reasons[""]


@pytest.mark.parametrize(
    "changes",
    [{"roles__teacher": {"backend": "embedded"}}, {"tasks__language": "plain"}],
)
def test_rewording_without_a_model_or_of_plain_tasks_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ParamsError, match=r"tasks\.natural\.reword: a model rewords natural tasks only; set"):
        run(kind, **changes)
