"""`synthagent show`, through the command."""

from __future__ import annotations

from pathlib import Path

from helpers.projects import assert_one_message, synthagent
from helpers.tasks import first_demonstrated, played

from synthagent.episodes.scripted import RECKLESS
from synthagent.params_file import load_params
from synthagent.records import Problem, Rejected, Rubric, Task, Trajectory
from synthagent.stage import Paths
from synthagent.stages import rewards
from synthagent.store import read_records, write_records


def shown(id: str, folder: Path) -> str:
    finished = synthagent("show", id, cwd=folder)
    assert (finished.returncode, finished.stderr) == (0, ""), finished
    return finished.stdout


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
    for part in (*parts, "(a distractor)", "solvable: holds", "decisive: holds", task.domain, task.persona_id):
        assert part in flat, part
    assert f"twin {task.twin_of}" in flat
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
    trajectory = played(task, RECKLESS).trajectory("sft")
    write_records(Paths.rollouts, Trajectory, [trajectory])
    rewards.run(load_params())
    text = shown(trajectory.id, project)
    assert "gate 0.000" in text
    assert "reward 0.000" in text
    assert "failed" in text
    assert "passed" in text
    assert "without a licence" in " ".join(text.split())


def test_a_problem_is_shown_with_its_answer_and_a_refused_one_with_the_reason(tmp_path: Path) -> None:
    problem = Problem(
        id="problem-0000003",
        persona_id="built-in-0007",
        kind="gcd",
        split="train",
        instruction="I am a \x1b[2Jbaker. The gcd of 6 and 9?",
        answer="3",
        source="reasoning-gym:gcd",
        tools=("python",),
        provenance={"answers": {"3": 3}},
    )
    row = Rejected(id="problem-0000004", stage="reasoning", reason="disagree", detail="'3' (2), '4' (1)", payload="")
    write_records(tmp_path / Paths.reasoning, Problem, [problem])
    write_records(tmp_path / Paths.reasoning_rejected, Rejected, [row])
    text = shown("problem-0000003", tmp_path)
    for part in ("The gcd of 6 and 9?", "reasoning-gym:gcd", "built-in-0007", "python", "3: 3"):
        assert part in text
    assert "\x1b" not in text
    for id in ("problem-0000004", "problem-0000004.teacher.0"):
        assert_one_message(synthagent("show", id, cwd=tmp_path), "refused by the stage reasoning: disagree: '3' (2)")


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


def with_left_out(name: str, stage: str, path: Path, detail: str) -> None:
    row = Rejected(id=name, stage=stage, reason="coverage", detail=detail, payload="{}")
    write_records(path, Rejected, [row])


def test_an_episode_whose_task_was_dropped_is_told_with_the_reason(project: Path) -> None:
    task = first_demonstrated(project)
    with_left_out(task.id, "rubrics", Paths.dropped, "the demonstrations executed 0.00 of the workflow")
    assert_one_message(
        synthagent("show", f"{task.id}.sft.0", cwd=project),
        f"{task.id}.sft.0: no such id; its task {task.id} was dropped by the stage rubrics: coverage: ",
        "the demonstrations executed 0.00 of the workflow (data/dropped.parquet)",
    )
    assert "Dropped by the stage rubrics coverage: the" in " ".join(shown(task.id, project).split())


def test_a_task_that_was_refused_is_told_with_the_reason(project: Path) -> None:
    with_left_out("task-9", "tasks", Paths.rejected, "values in\nplain sight: \x1b[2J")
    told = ("was refused by the stage tasks: coverage: values in plain sight: \\x1b[2J (data/rejected.parquet)",)
    assert_one_message(synthagent("show", "task-9", cwd=project), "task-9: no such id; it", *told)
    assert_one_message(synthagent("play", "task-9", cwd=project), "task-9: no such id; it", *told)
    assert_one_message(synthagent("show", "task-9.sft.0", cwd=project), "; its task task-9", *told)
