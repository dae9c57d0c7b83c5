"""Stage `rollouts` with models: a policy behind an endpoint, simulated worlds, the same bytes again, resumption."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_openai import Answer, FakeServer, serving
from helpers.projects import said_by
from helpers.simulated import native, params_for, response, role_asked, simulated_task
from helpers.tasks import accepted_tasks, rubric_of

from synthagent.episodes.episode import Episode
from synthagent.episodes.turn import ToolCall, Turn
from synthagent.episodes.world import ToolEvent
from synthagent.errors import BudgetError, ReplayError, StoreError
from synthagent.params import Params
from synthagent.records import MappingEntry, Rubric, Task, Trajectory
from synthagent.stage import Paths
from synthagent.stages import rollouts
from synthagent.store import read_records, write_records
from synthagent.teacher.acceptance import alone

TASKS = tuple(simulated_task(f"task-s{number}") for number in range(3))
ROLES = ("policy", "tools", "user")


def a_demo(task: Task, **response: Any) -> Trajectory:
    """A demonstration that looks at A1 and answers."""

    class Scripted:
        async def answer(self, episode: Episode, asked: Any) -> Any:
            event = ToolEvent(asked.name, asked.arguments, True, response)
            episode.world.events.append(event)
            return event

    episode = Episode(task, Scripted())
    episode.step(Turn(calls=(ToolCall("look", {"id": "A1"}),)))
    episode.step(Turn("<answer>looked</answer>"))
    return episode.trajectory("teacher")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with three simulated tasks, one of them demonstrated; the working directory."""
    monkeypatch.chdir(tmp_path)
    write_records(Paths.tasks, Task, TASKS)
    write_records(Paths.rubrics, Rubric, [Rubric(task_id=t.id, criteria=(), coverage=1.0) for t in TASKS])
    write_records(Paths.demos, Trajectory, [a_demo(TASKS[0], status="known <b>")])
    return tmp_path


def world_and_policy(body: dict[str, Any]) -> Answer:
    """A policy whose way depends on its seed, in a world whose answers depend on who is first."""
    text = body["messages"][1]["content"]
    match role_asked(body):
        case "tools":
            return response(status=f"said {len(text)}")
        case "user":
            return json.dumps({"reply": "It is A17."})
        case _:
            turn = sum(message["role"] == "assistant" for message in body["messages"])
            ways = (("look", "look", "move", "look"), ("move", "look"), ("look", "?"))
            way = ways[body["seed"] % 3]
            if turn == len(way):
                return "<answer>done</answer>"
            if way[turn] == "?":
                return "Which order is it?"
            more = {"day": "Mon"} if way[turn] == "move" else {}
            return native(way[turn], "Next.", id=f"A{1 + (turn + body['seed']) % 2}", **more)


def run(folder: Path, server: FakeServer, *roles: str, **changes: Any) -> dict[str, Any]:
    """Run the stage; all that it says of its run."""
    limits = {"rollouts__samples": 6, "rollouts__tasks": 3, "llm__max_concurrency": 8}
    return said_by(rollouts.run(params_for(folder, server.base_url, *(roles or ROLES), **(limits | changes))))


def outs() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in (Paths.rollouts, Paths.mappings)}


def test_the_policy_acts_in_all_samples_and_what_the_tools_said_is_kept(folder: Path) -> None:
    with serving(world_and_policy) as server:
        written = run(folder, server)
        asked = Counter(map(role_asked, server.requests))
    trajectories = list(read_records(Paths.rollouts, Trajectory))
    assert [t.id for t in trajectories] == sorted(f"{t.id}.policy.{n}" for t in TASKS for n in range(6))
    assert {(t.end, t.error) for t in trajectories} == {("answer", None)}
    entries = list(read_records(Paths.mappings, MappingEntry))
    known = [e for e in entries if e.response["status"] == "known <b>"]
    assert [(e.task_id, e.tool, e.args, e.source) for e in known] == [("task-s0", "look", {"id": "A1"}, "model")]
    # The three tasks are one world by another name, and one of them knew an answer already.
    assert asked["tools"] == len({(e.tool, str(e.args), e.state) for e in entries if e.task_id != "task-s0"})
    calls = sum(t.n_tool_calls for t in trajectories)
    assert (written["mapping"]["calls"], written["trajectories"], written["answered"]) == (calls, 18, 1.0)
    assert (
        written["mapping"]["hits"] == calls - (len(entries) - len(known)) == sum(t.mapping_hits for t in trajectories)
    )
    assert written["mapping"]["hit_rate"] == round(written["mapping"]["hits"] / calls, 4)
    assert written["mapping"]["contradiction_rate"] == 0.0
    assert written["user_faults"] == {"replies": 6, "unasked": 0, "invented": 0, "early_end": 0, "episodes": 0}
    assert set(written["llm"]) == set(ROLES)
    assert (written["errors"], written["errors_by_reason"]) == (0, {})


def test_episodes_of_a_task_agree_on_every_call_in_every_state(folder: Path) -> None:
    with serving(world_and_policy) as server:
        run(folder, server)
    entries = Counter((e.task_id, e.tool, str(e.args), e.state) for e in read_records(Paths.mappings, MappingEntry))
    assert set(entries.values()) == {1}
    assert len({state for *_, state in entries}) > 2


def test_a_replay_without_an_endpoint_gives_the_same_bytes(folder: Path) -> None:
    with serving(world_and_policy) as server:
        said = run(folder, server)
        first, paid = outs(), said.pop("llm")
        requests = len(server.requests)
        said_again = run(folder, server, llm__replay="only", llm__max_concurrency=1)
        paid_again = said_again.pop("llm")
        assert len(server.requests) == requests
    assert outs() == first
    assert said_again == said
    assert {role: next(iter(m.values()))["calls"] for role, m in paid_again.items()} == dict.fromkeys(ROLES, 0)
    assert {role: next(iter(m.values()))["calls"] for role, m in paid.items()} != dict.fromkeys(ROLES, 0)


def test_a_replay_that_lacks_an_answer_says_so(folder: Path) -> None:
    with serving(world_and_policy) as server:
        run(folder, server)
        with pytest.raises(ReplayError, match=r"llm\.replay"):
            run(folder, server, llm__replay="only", rollouts__samples=7)


@pytest.mark.parametrize("after", [1, 7, 20])
def test_a_run_that_broke_off_makes_no_finished_call_twice(folder: Path, after: int) -> None:
    lock, answered = threading.Lock(), Counter[str]()

    def reply(body: dict[str, Any]) -> Answer:
        with lock:
            answered[json.dumps(_what_decides(body))] += 1
        return world_and_policy(body)

    with serving(reply) as server:
        with pytest.raises(BudgetError):
            run(folder, server, llm__max_tokens_total=15 * after)
        begun = sum(answered.values())
        assert not Paths.rollouts.exists()
        run(folder, server)
    assert 0 < begun < sum(answered.values())
    assert max(answered.values()) == 1
    assert len(list(read_records(Paths.rollouts, Trajectory))) == 18


def _what_decides(body: dict[str, Any]) -> Any:
    """A request without what grows by chance: the entries of M that a prompt of the tools shows."""
    if role_asked(body) != "tools":
        return [body["messages"], body["seed"]]
    text = body["messages"][1]["content"]
    changed = text.partition("has been changed so far")[2].partition("\n\n")[0]
    return ["tools", changed, text.partition("The call to respond to:")[2]]


def test_faulty_replies_of_the_user_are_marked_counted_and_end_nothing_else(folder: Path) -> None:
    def reply(body: dict[str, Any]) -> Answer:
        said = json.dumps({"reply": "It is B99, goodbye."})
        return said if role_asked(body) == "user" else world_and_policy(body)

    with serving(reply) as server:
        said = run(folder, server)
    marked = [t for t in read_records(Paths.rollouts, Trajectory) if t.error]
    assert {(t.end, t.error) for t in marked} == {("error", "user_fault")}
    assert len(marked) == 6
    assert (said["errors"], said["errors_by_reason"]) == (6, {"user_fault": 6})
    faults = said["user_faults"]
    assert (faults["invented"], faults["early_end"], faults["episodes"]) == (6, 6, 6)


def test_an_answer_of_the_tools_that_cannot_be_used_costs_its_episodes_only(folder: Path) -> None:
    def reply(body: dict[str, Any]) -> Answer:
        moved = role_asked(body) == "tools" and "\nmove {" in body["messages"][1]["content"]
        return "nonsense" if moved else world_and_policy(body)

    with serving(reply) as server:
        run(folder, server)
    errors = Counter(t.error for t in read_records(Paths.rollouts, Trajectory))
    assert errors == {None: 6, "tools: no_json": 12}


def test_without_a_mapping_answers_differ_and_are_counted(folder: Path) -> None:
    def reply(body: dict[str, Any]) -> Answer:
        said = response(status=f"said {body['seed']}")
        return said if role_asked(body) == "tools" else world_and_policy(body)

    with serving(reply) as server:
        run(folder, server, episode__mapping=False)
        first = outs()
        mapping = run(folder, server, episode__mapping=False, llm__replay="only")["mapping"]
    assert outs() == first
    assert (mapping["hits"], mapping["hit_rate"]) == (0, 0.0)
    assert mapping["contradiction_rate"] > 0.5
    assert {t.mapping_hits for t in read_records(Paths.rollouts, Trajectory)} == {0}


def test_a_demonstration_of_another_world_is_named(folder: Path) -> None:
    demo = a_demo(TASKS[0], status="open")
    broken = [m if m["role"] != "tool" else {**m, "content": "[]"} for m in demo.messages]
    write_records(Paths.demos, Trajectory, [demo.model_copy(update={"messages": tuple(broken)})])
    with serving(world_and_policy) as server, pytest.raises(StoreError, match=f"{demo.id}: cannot be run again"):
        run(folder, server)


def test_pairs_are_rolled_out_whole_in_the_order_of_their_ids() -> None:
    tasks = [*accepted_tasks()[:40], alone(accepted_tasks()[40])]
    for count, seed in product((1, 2, 5, 16, 40), range(3)):
        chosen = rollouts.choose_tasks(tasks, count, seed)
        assert chosen == sorted(chosen, key=lambda task: task.id)
        assert all(task.twin_of in {other.id for other in chosen} for task in chosen if task.twin_of)
        assert max(1, count - 1) <= len(chosen) <= max(2, count)
    assert rollouts.choose_tasks(tasks, 99, 0) == tasks
    first, again, other = (rollouts.choose_tasks(tasks, 10, seed) for seed in (0, 0, 1))
    assert first == again != other


# --- executable worlds, and the student -----------------------------------------------------------------------------


def executable(folder: Path) -> Iterator[Task]:
    tasks = [task for task in accepted_tasks() if task.split == "train"][:3]
    write_records(Paths.tasks, Task, tasks)
    write_records(Paths.rubrics, Rubric, [rubric_of(task) for task in tasks])
    write_records(Paths.demos, Trajectory, [])
    return iter(tasks)


def test_in_executable_worlds_no_model_answers_and_the_mapping_is_empty(folder: Path) -> None:
    list(executable(folder))
    with serving(lambda body: "What is the id?" if len(body["messages"]) < 4 else "<answer>Done</answer>") as server:
        said = run(folder, server, "policy")
        assert {role_asked(body) for body in server.requests} == {"policy"}
    assert list(read_records(Paths.mappings, MappingEntry)) == []
    assert {t.end for t in read_records(Paths.rollouts, Trajectory)} == {"answer"}
    assert said["mapping"]["calls"] == 0


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained student, which calls and asks at random."""
    from synthagent.student.model import Student, build_model, save_student
    from synthagent.student.tokenizer import train_tokenizer

    params = Params.model_validate(_params())
    texts = [task.instruction for task in accepted_tasks()[:50]] + ["look move A1 A2 Mon Tue id day <answer> done"]
    tokenizer = train_tokenizer(texts, ("look", "move", "A1"), 500)
    path = tmp_path_factory.mktemp("student") / "sft"
    save_student(Student(build_model(tokenizer, params.student.tiny, 0), tokenizer), path)
    return path


def _params() -> Any:
    from helpers.projects import default_params

    raw = default_params().model_dump()
    raw["student"]["tiny"] |= {"hidden_size": 16, "layers": 1, "heads": 2, "vocab_size": 500}
    return raw


@pytest.mark.parametrize("roles", [("tools", "user"), ("user",)])
def test_the_student_acts_among_models_in_one_process_and_the_same_again(
    folder: Path, student: Path, roles: tuple[str, ...]
) -> None:
    (folder / "data" / "models").mkdir(parents=True)
    (folder / Paths.sft).symlink_to(student)
    if "tools" not in roles:
        list(executable(folder))
    said = json.dumps({"reply": "I don't know that."})
    small = {"episode__max_tokens": 60, "episode__max_turn_tokens": 6, "rollouts__samples": 3}
    with serving(lambda body: said if role_asked(body) == "user" else response(status="open")) as server:
        run(folder, server, *roles, **small)
        first, requests = outs(), len(server.requests)
        run(folder, server, *roles, **small, llm__replay="only")
        assert len(server.requests) == requests
    assert outs() == first
    assert len(list(read_records(Paths.rollouts, Trajectory))) == 9
