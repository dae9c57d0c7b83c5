"""`synthagent validate` proves a file again and believes nothing that stands in it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from helpers.projects import assert_one_message, synthagent
from helpers.tasks import accepted_tasks, task_of_level

from synthagent.judging.validate import validate_file
from synthagent.records import Ask, Call, Task, Tool, WorldSpec
from synthagent.stage import Paths
from synthagent.store import write_records

TASK = task_of_level(1)


def lines_of(tmp_path: Path, *tasks: Task) -> list[str]:
    """What validation says of these tasks, failures first marked with `!`."""
    path = tmp_path / "mine.parquet"
    write_records(path, Task, sorted(tasks, key=lambda task: task.id))
    return [f"{'!' if line.failed else ''}{line.text}" for line in validate_file(path)]


def broken(**changes: Any) -> Task:
    return TASK.model_copy(update={"id": "task-0000012", **changes})


def solved_by_guessing() -> tuple[Any, ...]:
    known = {fact.slot: fact.value for fact in TASK.facts}
    steps = (step for step in TASK.reference if not isinstance(step, Ask))
    return tuple(step.model_copy(update={"guess": known}) if isinstance(step, Call) else step for step in steps)


def test_sound_tasks_give_a_summary_only(tmp_path: Path) -> None:
    tasks = accepted_tasks()[:30]
    assert lines_of(tmp_path, *tasks) == [f"{tmp_path / 'mine.parquet'}: 30 of 30 tasks hold all proofs"]


def test_stored_verdicts_are_not_believed(tmp_path: Path) -> None:
    honest = broken(solvable=False, needs_user=None, unique=False)
    assert lines_of(tmp_path, honest) == [f"{tmp_path / 'mine.parquet'}: 1 of 1 tasks hold all proofs"]
    liar = broken(constraints=(), solvable=True, constraint_live=True)
    first, summary = lines_of(tmp_path, liar)
    assert first.startswith("!task-0000012: constraint_live: ")
    assert summary.endswith("0 of 1 tasks hold all proofs")


def test_each_failed_proof_is_told_with_its_figure(tmp_path: Path) -> None:
    reference = solved_by_guessing()
    line, _ = lines_of(tmp_path, broken(reference=reference, instruction=f"{TASK.instruction} {TASK.facts[0].value}"))
    assert line.startswith("!task-0000012: needs_user: without asking it earns 1.000; no_leak: values in plain sight: ")
    assert TASK.facts[0].slot in line


def test_a_workflow_that_is_not_the_references_fails(tmp_path: Path) -> None:
    line, _ = lines_of(tmp_path, broken(workflow=("Just do it",)))
    assert line == f"!task-0000012: workflow: the reference's is {' > '.join(TASK.workflow)}"


def test_twins_are_told_in_file_order(tmp_path: Path) -> None:
    a, b = broken(id="a"), broken(id="b")
    assert lines_of(tmp_path, b, a)[0] == "!b: unique: nearly the same as a"


def test_an_id_that_occurs_twice_is_told(tmp_path: Path) -> None:
    other = task_of_level(2).model_copy(update={"id": "task-0000012"})
    assert lines_of(tmp_path, broken(), other)[0] == "!task-0000012: unique: the id occurs more than once"


@pytest.mark.parametrize(
    "changes",
    [
        {"world": WorldSpec(tables={}, effects={})},
        {"world": TASK.world.model_copy(update={"tables": {}})},
        {"tools": ()},
        {"tools": (Tool(name="x", parameters={"type": "nonsense"}),)},
        {"reference": (TASK.reference[-1].model_copy(update={"values": ("unknown",)}),)},
    ],
    ids=["no effects", "no tables", "no tools", "bad schema", "unknown value"],
)
def test_a_task_broken_in_any_way_is_a_line_and_the_next_is_still_proved(tmp_path: Path, changes: Any) -> None:
    bad = broken(id="a", **changes)
    line, summary = lines_of(tmp_path, bad, task_of_level(2).model_copy(update={"id": "b"}))
    assert line.startswith("!a: solvable: ")
    assert summary.endswith("1 of 2 tasks hold all proofs")


def test_of_a_simulated_task_only_leaks_and_likeness_are_known(tmp_path: Path) -> None:
    simulated: dict[str, Any] = {"world_kind": "simulated", "reference": (), "constraints": (), "workflow": ("x",)}
    (summary,) = lines_of(tmp_path, broken(**simulated))
    assert "1 of 1 tasks hold all proofs; 1 of them simulated" in summary
    leaky = broken(**simulated, instruction=TASK.facts[0].value)
    twin = broken(**simulated)
    lines = lines_of(tmp_path, leaky, twin.model_copy(update={"id": "b"}), twin.model_copy(update={"id": "c"}))
    assert [line.partition(":")[0] for line in lines[:-1]] == ["!c", "!task-0000012"]
    assert "no_leak" in lines[1]


# --- through the command --------------------------------------------------------------------------------------------


def validate(path: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return synthagent("validate", str(path), cwd=cwd)


def test_the_teachers_own_file_passes(generated: Path) -> None:
    finished = validate(Paths.tasks, generated)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout == "data/tasks.parquet: 40 of 40 tasks hold all proofs\n"


def test_a_failing_task_means_exit_code_1(tmp_path: Path) -> None:
    write_records(tmp_path / "mine.parquet", Task, [broken(reference=solved_by_guessing())])
    finished = validate(Path("mine.parquet"), tmp_path)
    assert finished.returncode == 1
    assert finished.stdout.splitlines()[0].startswith("task-0000012: needs_user: without asking it earns 1.000")
    assert finished.stdout.splitlines()[-1] == "mine.parquet: 0 of 1 tasks hold all proofs"


def test_an_empty_file_fails_clearly(tmp_path: Path) -> None:
    write_records(tmp_path / "mine.parquet", Task, [])
    finished = validate(Path("mine.parquet"), tmp_path)
    assert finished.returncode == 1
    assert finished.stdout.startswith("mine.parquet: no task in it; ")


def test_a_file_that_is_not_there_or_not_tasks_is_one_message(generated: Path) -> None:
    assert_one_message(validate(Path("none.parquet"), generated), "none.parquet", "no such file")
    assert_one_message(validate(Path("params.yaml"), generated), "params.yaml", "not a readable Parquet file")
    assert_one_message(validate(Paths.personas, generated), "personas.parquet", "lacks columns")
