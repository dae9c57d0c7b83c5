"""`synthagent validate` proves a file again and believes nothing that stands in it."""

from __future__ import annotations

import gc
import subprocess
from pathlib import Path
from typing import Any

import pytest
from helpers.projects import assert_one_message, synthagent
from helpers.tasks import accepted_tasks, task_of_level

from synthagent.judging.proofs import prove
from synthagent.judging.validate import validate_file
from synthagent.records import Task
from synthagent.stage import Paths
from synthagent.store import write_records
from synthagent.teacher.acceptance import alone
from synthagent.worlds import Ask, Call, Tool, WorldSpec

TASK = alone(task_of_level(1))
ONE, TWO = accepted_tasks()[:2]
OTHER = accepted_tasks()[2]


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


def test_like_tasks_are_told_in_file_order(tmp_path: Path) -> None:
    a, b = broken(id="a"), broken(id="b")
    assert lines_of(tmp_path, b, a)[0] == "!b: unique: nearly the same as a"


def test_an_id_that_occurs_twice_is_told(tmp_path: Path) -> None:
    other = alone(task_of_level(2)).model_copy(update={"id": "task-0000012"})
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
    line, summary = lines_of(tmp_path, bad, alone(task_of_level(2)).model_copy(update={"id": "b"}))
    assert line.startswith("!a: solvable: ")
    assert summary.endswith("1 of 2 tasks hold all proofs")


def test_of_a_simulated_task_only_leaks_and_likeness_are_known(tmp_path: Path) -> None:
    simulated: dict[str, Any] = {"world_kind": "simulated", "reference": (), "constraints": (), "workflow": ("x",)}
    (summary,) = lines_of(tmp_path, broken(**simulated))
    assert "1 of 1 tasks hold all proofs; 1 of them simulated" in summary
    leaky = broken(**simulated, instruction=TASK.facts[0].value)
    other = broken(**simulated)
    lines = lines_of(tmp_path, leaky, other.model_copy(update={"id": "b"}), other.model_copy(update={"id": "c"}))
    assert [line.partition(":")[0] for line in lines[:-1]] == ["!c", "!task-0000012"]
    assert "no_leak" in lines[1]


# --- twins ----------------------------------------------------------------------------------------------------------


def renamed(task: Task, name: str, twin: str | None, **changes: Any) -> Task:
    return task.model_copy(update={"id": name, "twin_of": twin, **changes})


def faults_of(tmp_path: Path, *tasks: Task) -> dict[str, str]:
    """What is told of each task that fails."""
    *lines, summary = lines_of(tmp_path, *tasks)
    faults = dict(line.removeprefix("!").split(": ", 1) for line in lines)
    assert summary.endswith(f": {len(tasks) - len(faults)} of {len(tasks)} tasks hold all proofs")
    return faults


def test_twins_are_proved_together_whatever_is_stored_of_it(tmp_path: Path) -> None:
    stored = {"decisive": False}
    assert faults_of(tmp_path, ONE.model_copy(update=stored), TWO.model_copy(update={"decisive": None})) == {}
    same = renamed(ONE, "b", "a", decisive=True)
    told = f"decisive: a and b both end {'done' if ONE.workflow[-1].startswith('Report') else 'refused'}"
    assert faults_of(tmp_path, renamed(ONE, "a", "b", decisive=True), same) == {"a": told, "b": told}


def test_a_twin_that_is_not_there_is_told_at_the_task_with_the_remedy(tmp_path: Path) -> None:
    told = f"decisive: its twin {ONE.twin_of} is not in the file: add it, or set twin_of to null"
    assert faults_of(tmp_path, ONE, OTHER.model_copy(update={"twin_of": None})) == {ONE.id: told}


def test_twins_in_two_splits_are_told_and_in_which(tmp_path: Path) -> None:
    first, second = renamed(ONE, "a", "b", split="train"), renamed(TWO, "b", "a", split="heldout")
    told = "decisive: a is in train and b in heldout: twins share a split"
    assert faults_of(tmp_path, first, second) == {"a": told, "b": told}


def test_twins_that_do_not_look_the_same_are_told_and_where_they_differ(tmp_path: Path) -> None:
    first, second = renamed(ONE, "a", "b"), renamed(TWO, "b", "a", instruction=f"{TWO.instruction} Be quick.")
    told = "decisive: a and b differ in instruction"
    assert faults_of(tmp_path, first, second) == {"a": told, "b": told}


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("b", "c", "b"), {"a": "its twin b names c as its own twin"}),
        (("c", "c", "b"), {"a": "its twin c names b as its own twin"}),
        (("b", "a", "a"), {"c": "its twin a names b as its own twin"}),
        (("b", "c", "a"), {n: f"its twin {t} names {u} as its own twin" for n, t, u in ("abc", "bca", "cab")}),
        (("b", None, None), {"a": "its twin b names no twin"}),
        ((None, "a", None), {"b": "its twin a names no twin"}),
        (("a", None, None), {"a": "it names itself as its twin: set twin_of to null"}),
        (("b", "b", None), {"a": "its twin b names b as its own twin", "b": "it names itself as its twin: set twin"}),
    ],
)
def test_a_task_whose_twin_names_another_is_told_whom(
    tmp_path: Path, names: tuple[str | None, ...], told: dict[str, str]
) -> None:
    # Where b and c are twins they have to be decisive; only `a` may stand alone.
    those = (OTHER, ONE, TWO) if names[1:] == ("c", "b") else (ONE, TWO, OTHER)
    tasks = [renamed(task, name, twin) for task, name, twin in zip(those, "abc", names, strict=True)]
    found = faults_of(tmp_path, *tasks)
    decisive = {name: told for name, fault in found.items() for told in fault.split("; ") if "decisive" in told}
    assert decisive.keys() == told.keys()
    assert all(decisive[name].startswith(f"decisive: {fault}") for name, fault in told.items())


def test_one_that_names_another_as_its_twin_is_no_less_its_like(tmp_path: Path) -> None:
    faults = faults_of(tmp_path, renamed(ONE, "a", "b"), renamed(TWO, "b", "a"), renamed(ONE, "c", "b"))
    assert faults == {"c": "unique: nearly the same as a; decisive: its twin b names a as its own twin"}


def test_a_twin_that_cannot_be_run_proves_nothing_of_the_other(tmp_path: Path) -> None:
    bad = renamed(TWO, "b", "a", reference=(), tools=(Tool(name="x", parameters={"type": "nonsense"}),))
    faults = faults_of(tmp_path, renamed(ONE, "a", "b"), bad)
    assert faults["a"] == "decisive: b cannot be run"
    assert faults["b"].startswith("solvable: it cannot be run: ")


def test_a_simulated_task_has_no_twin(tmp_path: Path) -> None:
    simulated = {"world_kind": "simulated", "reference": (), "constraints": (), "workflow": ("x",)}
    for names in ("ab", "ba"):
        first, second = renamed(ONE, names[0], names[1], **simulated), renamed(TWO, names[1], names[0])
        *lines, _ = lines_of(tmp_path, first, second)
        assert sorted(lines) == sorted(
            [
                f"!{names[0]}: decisive: a simulated task has no twin, but it names {names[1]}: set twin_of to null",
                f"!{names[1]}: decisive: its twin {names[0]} is a simulated task, which has no twin",
            ]
        )


def test_lines_stand_in_file_order_even_where_a_twin_comes_much_later(tmp_path: Path) -> None:
    middle = [renamed(task, f"m{n}", None, workflow=("?",)) for n, task in enumerate(accepted_tasks()[2:12:2])]
    last = renamed(TWO, "z", "a", split="unseen_domain")
    lines = lines_of(tmp_path, renamed(ONE, "a", "z"), *middle, last)
    assert [line.partition(":")[0] for line in lines[:-1]] == ["!a", "!m0", "!m1", "!m2", "!m3", "!m4", "!z"]


def test_only_tasks_that_wait_for_their_twin_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive = []

    def counted(task: Task) -> Any:
        gc.collect()
        alive.append(sum(isinstance(thing, Task) and thing.id.startswith("mine-") for thing in gc.get_objects()))
        return prove(task)

    monkeypatch.setattr("synthagent.judging.validate.prove", counted)
    pairs = zip(accepted_tasks()[:24:2], accepted_tasks()[1:24:2], strict=True)
    path = tmp_path / "mine.parquet"
    rows = [
        renamed(task, f"mine-b{n:02d}{side}", f"mine-b{n:02d}{'yx'[side == 'y']}")
        for n, pair in enumerate(pairs)
        for side, task in zip("xy", pair, strict=True)
    ]
    write_records(path, Task, [renamed(OTHER, "mine-a", "mine-zz"), *rows])
    del rows
    gc.collect()
    gc.freeze()  # what was there before is not looked at, 25 times
    try:
        list(validate_file(path))
    finally:
        gc.unfreeze()
    assert len(alive) == 25
    assert max(alive) <= 3


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


def test_a_twin_left_out_means_exit_code_1_and_no_error(tmp_path: Path) -> None:
    write_records(tmp_path / "mine.parquet", Task, [ONE])
    finished = validate(Path("mine.parquet"), tmp_path)
    assert (finished.returncode, finished.stderr) == (1, "")
    assert finished.stdout.startswith(f"{ONE.id}: decisive: its twin {ONE.twin_of} is not in the file")


def test_an_empty_file_fails_clearly(tmp_path: Path) -> None:
    write_records(tmp_path / "mine.parquet", Task, [])
    finished = validate(Path("mine.parquet"), tmp_path)
    assert finished.returncode == 1
    assert finished.stdout.startswith("mine.parquet: no task in it; ")


def test_a_file_that_is_not_there_or_not_tasks_is_one_message(generated: Path) -> None:
    assert_one_message(validate(Path("none.parquet"), generated), "none.parquet", "no such file")
    assert_one_message(validate(Path("params.yaml"), generated), "params.yaml", "not a readable Parquet file")
    assert_one_message(validate(Paths.personas, generated), "personas.parquet", "lacks columns")
