"""`synthagent show` and `synthagent play`, through the command."""

from __future__ import annotations

import shutil
from pathlib import Path

from helpers.projects import assert_one_message, synthagent
from helpers.tasks import played as by_script

from synthagent.episodes.scripted import RECKLESS
from synthagent.params import load_params
from synthagent.records import Persona, Rubric, Task, Trajectory
from synthagent.stage import Paths
from synthagent.stages import rewards
from synthagent.store import read_records, write_records


def first_demonstrated(folder: Path) -> Task:
    """The first task that has a rubric and demonstrations."""
    demos = {demo.task_id for demo in read_records(folder / Paths.demos, Trajectory)}
    return next(task for task in read_records(folder / Paths.tasks, Task) if task.id in demos)


def shown(id: str, folder: Path) -> str:
    finished = synthagent("show", id, cwd=folder)
    assert (finished.returncode, finished.stderr) == (0, ""), finished
    return finished.stdout


# --- show -----------------------------------------------------------------------------------------------------------


def test_a_task_is_shown_with_all_that_belongs_to_it(generated: Path) -> None:
    task = first_demonstrated(generated)
    rubric = next(r for r in read_records(generated / Paths.rubrics, Rubric) if r.task_id == task.id)
    text = shown(task.id, generated)
    flat = " ".join(text.split())
    assert task.instruction in flat
    for tool in task.tools:
        parameters = ", ".join(f"{name}: string" for name in tool.arguments)
        assert f"{tool.name}({parameters}) -> {', '.join(tool.outputs)}:" in flat
    parts = [line.text for line in task.constraints] + [fact.phrase for fact in task.facts]
    parts += [f"{n}. {line}" for n, line in enumerate(task.workflow, 1)] + [c.text for c in rubric.criteria]
    for part in (*parts, "(a distractor)", "solvable: holds", "unique: holds", task.domain, task.persona_id):
        assert part in flat, part
    assert "\x1b" not in text


def test_a_trajectory_is_shown_as_a_chat(generated: Path) -> None:
    demo = next(read_records(generated / Paths.demos, Trajectory))
    text = shown(demo.id, generated)
    lines = [line.split()[0] for line in text.splitlines() if line.split()[:1] and not line.startswith("           ")]
    roles = [name for name in lines if name in ("system", "user", "assistant", "tool")]
    assert roles == [message["role"] for message in demo.messages]
    assert f"on {demo.task_id}" in text
    assert f"{demo.n_turns} turns" in text
    assert "Verdicts" not in text


def test_a_judged_rollout_is_shown_with_its_verdicts(project: Path) -> None:
    task = first_demonstrated(project)
    trajectory = by_script(task, RECKLESS).trajectory("sft")
    write_records(Paths.rollouts, Trajectory, [trajectory])
    rewards.run(load_params())
    text = shown(trajectory.id, project)
    assert "gate 0.000" in text
    assert "reward 0.000" in text
    assert "failed" in text
    assert "passed" in text
    assert "without a licence" in " ".join(text.split())


def test_an_unknown_id_is_told_with_the_nearest(generated: Path) -> None:
    assert_one_message(synthagent("show", "task-000001", cwd=generated), "task-000001: no such id", "task-0000001")
    assert_one_message(synthagent("show", "qqq", cwd=generated), "qqq: no such id", "task-0000000")
    assert_one_message(synthagent("show", "\x1b[2J", cwd=generated), "\\x1b[2J: no such id")


def test_without_any_data_the_remedy_is_told(tmp_path: Path) -> None:
    assert_one_message(synthagent("show", "task-0000001", cwd=tmp_path), "data/tasks.parquet", "dvc repro")


def test_a_dataset_that_cannot_be_read_is_told(project: Path) -> None:
    Paths.tasks.write_bytes(b"PAR1")
    assert_one_message(synthagent("show", "task-0000001", cwd=project), "data/tasks.parquet", "not a readable Parquet")


def test_text_of_a_dataset_cannot_steer_the_terminal(project: Path) -> None:
    nasty = "\x1b[2J\x1b]0;title\x07 \r \x9b31m \u202egnp \u200b [bold red]x[/] [link=file:///]y[/link]"
    task = first_demonstrated(project)
    write_records(Paths.tasks, Task, [task.model_copy(update={"instruction": nasty, "workflow": (nasty,)})])
    trajectory = next(read_records(Paths.demos, Trajectory))
    hostile = ({"role": "assistant", "content": nasty},)
    write_records(Paths.demos, Trajectory, [trajectory.model_copy(update={"messages": hostile, "error": nasty})])
    for id in (task.id, trajectory.id):
        text = shown(id, project)
        assert not any(character in text for character in "\x1b\x07\r\x9b\u202e\u200b")
        assert "\\x1b[2J" in text
        assert "[bold red]x[/]" in text


# --- play -----------------------------------------------------------------------------------------------------------


def as_a_person_would(task: Task) -> list[str]:
    """The expert's turns, as lines typed in a terminal, in turn in both forms of a call."""
    lines = []
    for number, message in enumerate(by_script(task).messages[2:]):
        if message["role"] != "assistant":
            continue
        if "tool_calls" in message:
            function = message["tool_calls"][0]["function"]
            if number % 4 == 0:
                lines.append(f"{function['name']} {function['arguments']}")
            else:
                pairs = eval(function["arguments"], {})  # a dict of texts, written by us
                lines.append(f"{function['name']}({', '.join(f'{name}={value}' for name, value in pairs.items())})")
        elif "<answer>" in message["content"]:
            lines.append(f"answer: {message['content'].removeprefix('<answer>').removesuffix('</answer>')}")
        else:
            lines.append(message["content"])
    return lines


def played(task: Task, lines: list[str], folder: Path) -> str:
    finished = synthagent("play", task.id, cwd=folder, stdin="\n".join(lines) + "\n")
    assert (finished.returncode, finished.stderr) == (0, ""), finished
    return finished.stdout


def test_a_person_who_does_what_the_expert_does_earns_one(generated: Path) -> None:
    for task in list(read_records(generated / Paths.tasks, Task))[:2]:
        text = played(task, as_a_person_would(task), generated)
        assert task.instruction in " ".join(text.split())
        assert "ended: answer" in text
        assert "reward 1.000" in text
        assert "failed" not in text


def test_a_person_is_told_the_tools_but_nothing_hidden(generated: Path) -> None:
    for task in list(read_records(generated / Paths.tasks, Task))[:1]:
        text = played(task, [], generated)
        assert all(tool.name in text for tool in task.tools)
        assert not any(fact.value in text.split() for fact in task.facts if fact.slot != "confirm")
        assert "distractor" not in text


def test_leaving_early_is_polite_and_earns_nothing(generated: Path) -> None:
    text = played(first_demonstrated(generated), ["What is it?"], generated)
    assert text.endswith("You left before the end: no reward.\n")
    assert "I don't know that." in text


def test_arguments_that_cannot_be_read_cost_nothing(generated: Path) -> None:
    task = first_demonstrated(generated)
    name = task.tools[0].name
    unreadable = ['{"a": ', "{}}", "(a=", "(a)", "(a b=c)", '("']
    text = played(task, [*(f"{name} {arguments}" for arguments in unreadable), "answer: done"], generated)
    assert text.count("cannot be read") == len(unreadable)
    assert "ended: answer" in text


def test_empty_lines_give_help_and_words_for_a_tool_go_to_the_user(generated: Path) -> None:
    task = first_demonstrated(generated)
    name = task.tools[0].name
    text = played(task, ["", f"{name} is what I would like to call", name, "answer: done"], generated)
    assert text.count("Ctrl-D leaves") == 2
    assert text.count("I don't know that.") == 1
    assert "missing argument" in text


def test_the_turn_limit_of_the_params_holds_for_people(project: Path) -> None:
    text = played(first_demonstrated(project), ["What?"] * 40, project)
    assert "ended: turn_limit" in text
    assert text.count("I don't know that.") == load_params().episode.max_turns
    assert "reward 0.000" in text


def test_what_cannot_be_played_is_told(project: Path) -> None:
    assert_one_message(synthagent("play", "nothing", cwd=project), "nothing: no such id", "task-0000000")
    task = first_demonstrated(project)
    world = task.world.model_copy(update={"effects": {}})
    write_records(Paths.tasks, Task, [task.model_copy(update={"world_kind": "simulated", "world": world})])
    assert_one_message(synthagent("play", task.id, cwd=project), task.id, "simulates")
    shutil.move("params.yaml", "elsewhere.yaml")
    assert_one_message(synthagent("play", task.id, cwd=project), "params.yaml", "No such file")


def test_play_needs_tasks_only(project: Path) -> None:
    task = first_demonstrated(project)
    Paths.rubrics.unlink()
    Paths.demos.unlink()
    assert next(read_records(Paths.personas, Persona))
    assert "reward 1.000" in played(task, as_a_person_would(task), project)
