"""`synthagent play`, through the command."""

from __future__ import annotations

import shutil
from pathlib import Path

from helpers.projects import assert_one_message, synthagent
from helpers.tasks import first_demonstrated
from helpers.tasks import played as expert_episode

from synthagent.params_file import load_params
from synthagent.records import Persona, Task
from synthagent.stage import Paths
from synthagent.store import read_records, write_records


def as_a_person_would(task: Task) -> list[str]:
    """The expert's turns, as lines typed in a terminal, in turn in both forms of a call."""
    lines = []
    for number, message in enumerate(expert_episode(task).messages[2:]):
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
    world = task.world.model_copy(update={"tables": {}, "effects": {}})
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


def test_a_mistyped_tool_is_told_and_neither_costs_a_turn_nor_tells_a_fact(generated: Path) -> None:
    task = first_demonstrated(generated)
    name, slot = task.tools[0].name, task.facts[0].slot
    wrong = name[:-2] + name[-1] + name[-2]
    lines = [f"{wrong}({slot}=x)", wrong, f'{wrong} {{"{slot}": "x"}}', f"{wrong} {slot}=x", f"qqq({slot}=x)"]
    text = played(task, lines, generated)
    assert text.count(f"there is no tool {wrong}; did you mean {name}?") == 4
    assert "there is no tool qqq; the tools are" in text
    assert task.facts[0].value not in text.replace(str(lines), "")


def test_what_looks_like_a_call_can_still_be_said_to_the_user(generated: Path) -> None:
    task = first_demonstrated(generated)
    text = played(task, [f"say: qqq({task.facts[0].slot})", "say:"], generated)
    assert task.facts[0].value in text
    assert "no tool" not in text


def test_a_task_of_any_file_is_played(generated: Path, tmp_path: Path) -> None:
    task = first_demonstrated(generated)
    write_records(tmp_path / "mine.parquet", Task, [task.model_copy(update={"id": "mine-1"})])
    (tmp_path / "params.yaml").write_bytes((generated / "params.yaml").read_bytes())
    typed = "\n".join(as_a_person_would(task)) + "\n"
    finished = synthagent("play", "mine-1", "--tasks", "mine.parquet", cwd=tmp_path, stdin=typed)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "reward 1.000" in finished.stdout
