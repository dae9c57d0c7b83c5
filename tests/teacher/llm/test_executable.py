"""Worlds that the teacher writes: executable if they hold their proofs; else the task stays simulated."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from helpers.scripted_teacher import Form, answers_of, having, run, sources
from helpers.tasks import outcome_of

from synthagent.judging.validate import validate_file
from synthagent.records import Task
from synthagent.stage import Paths
from synthagent.teacher.llm.executable import executable
from synthagent.teacher.llm.shapes import WorldForm
from synthagent.teacher.llm.twin import proved_pair
from synthagent.worlds import WorldSpec


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_world_that_holds_its_proofs_makes_the_task_executable() -> None:
    tasks, rejected, metrics = run(12, tasks__world="executable")
    assert rejected == []
    assert {task.world_kind for task in tasks} == {"executable"}
    for task, source in zip(tasks[::2], sources()[::2], strict=False):
        assert (task.solvable, task.needs_user, task.constraint_live, task.no_leak) == (True, True, True, True)
        assert task.workflow == source.workflow
        assert task.reference == source.reference
        assert task.world.effects == source.world.effects
        assert task.provenance["tokens"] == 75
    assert metrics["worlds"] == {"executable": 12}
    assert [line.failed for line in validate_file(Paths.tasks)] == [False]


# --- twins ----------------------------------------------------------------------------------------------------------


def test_an_executable_task_gets_a_twin_for_which_no_model_is_asked() -> None:
    tasks, _, metrics = run(24, tasks__world="executable")
    assert [task.id for task in tasks] == [f"task-{n:07d}" for n in range(24)]
    fields = set(Task.model_fields) - {"id", "twin_of", "workflow", "provenance"}
    turned = Counter[str]()
    for task, twin in zip(tasks[::2], tasks[1::2], strict=True):
        assert (task.twin_of, twin.twin_of, task.decisive, twin.decisive) == (twin.id, task.id, True, True)
        assert (task.solvable, twin.solvable, task.unique, twin.unique) == (True, True, True, True)
        (turns_on,) = {name for name in fields if getattr(task, name) != getattr(twin, name)}
        by_word = task.world.rules["live"].told is not None
        assert turns_on == ("facts" if by_word else "world")
        assert (outcome_of(task), outcome_of(twin)) == ("done", "kept" if by_word else "refused")
        assert twin.workflow != task.workflow
        assert (task.provenance["tokens"], twin.provenance["tokens"]) == (75, 0)
        turned[turns_on] += 1
    assert min(turned["facts"], turned["world"]) >= 2
    assert metrics["llm"]["teacher"]["m"]["calls"] == 12 * 5
    assert metrics["tokens"] == dict.fromkeys(("toolset", "tool_check", "fuzzy", "constraint", "world"), 12 * 15)


def test_in_an_odd_count_the_last_task_has_no_twin() -> None:
    tasks, _, metrics = run(5, tasks__world="executable")
    assert [task.twin_of and task.twin_of[-1] for task in tasks] == ["1", "0", "3", "2", None]
    assert (tasks[4].world_kind, tasks[4].decisive) == ("executable", None)
    assert metrics["llm"]["teacher"]["m"]["calls"] == 3 * 5


def _without_guard(form: Form) -> Form:
    return form | {"reference": [step for step in form["reference"] if step["kind"] != "guard"]}


def test_where_no_change_is_decisive_there_is_no_twin_and_the_model_is_asked_again() -> None:
    # Without a guard the reference acts whatever it sees: forbidden in the twin, or not what its user wants.
    changes = {(n, "WorldForm"): _without_guard for n in (0, 2, 4, 6, 8)}
    assert {source.world.rules["live"].told is None for source in sources()[:10:2]} == {True, False}
    tasks, rejected, metrics = run(10, changes, tasks__world="executable")
    assert rejected == []
    assert {task.world_kind for task in tasks[::2]} == {"executable"}
    assert [(task.twin_of, task.decisive) for task in tasks] == [(None, None)] * 10
    for task, source in zip(tasks, sources(), strict=False):
        assert task.facts == source.facts
    assert metrics["llm"]["teacher"]["m"]["calls"] == 10 * 5
    assert [line.failed for line in validate_file(Paths.tasks)] == [False]


def test_a_simulated_task_has_no_twin() -> None:
    tasks, _, metrics = run(4)
    assert [(task.world_kind, task.twin_of, task.decisive) for task in tasks] == [("simulated", None, None)] * 4
    assert metrics["llm"]["teacher"]["m"]["calls"] == 4 * 4


def test_a_world_that_breaks_under_a_change_has_no_twin_by_it() -> None:
    source = sources()[0]
    *steps, end = source.reference
    broken = (*steps, end.model_copy(update={"values": ("unheard_of",)}))
    assert proved_pair(source, "twin") is not None
    assert proved_pair(source.model_copy(update={"reference": broken}), "twin") is None


# --- worlds that fail -----------------------------------------------------------------------------------------------


def _known_beforehand(task: Task) -> Any:
    """The guesses are right, so that nobody has to ask."""
    known = {fact.slot: fact.value for fact in task.facts}
    return lambda form: (
        form | {"reference": [s | {"guess": known[s["slot"]]} if s["kind"] == "ask" else s for s in form["reference"]]}
    )


def _without_temptation(task: Task) -> Any:
    """The reference does not use the forbidden tool, so that nobody breaks the rule."""
    tool = task.world.rules["live"].tool
    return lambda form: form | {"reference": [*(s for s in form["reference"][:-1] if s.get("tool") != tool), THE_END]}


THE_END: Form = {"kind": "answer", "outcome": "done", "values": [], "milestone": "The end"}
NO_GUARD: Form = {
    "kind": "guard",
    "conditions": [{"field": "unheard_of", "op": "eq", "value": 1}],
    "otherwise": THE_END,
}
NOT_EXECUTABLE: dict[str, Any] = {
    "no_json": "I would rather not.",
    "refusal": {"content": None, "refusal": "no"},
    "wrong_shape": '{"tables": []}',
    "unknown_table": lambda form: form | {"effects": [e | {"table": "nowhere"} for e in form["effects"]]},
    "tool_without_effect": lambda form: form | {"effects": form["effects"][:1]},
    "unknown_tool": lambda form: form | {"effects": [form["effects"][0] | {"tool": "magic"}, *form["effects"]]},
    "unknown_argument": lambda form: (
        form | {"effects": [e | {"key": "oops"} if e["key"] else e for e in form["effects"]]}
    ),
    "unknown_column": lambda form: (
        form | {"effects": [e | {"returns": [r | {"column": "no"} for r in e["returns"]]} for e in form["effects"]]}
    ),
    "unknown_output": lambda form: (
        form | {"effects": [e | {"returns": [r | {"output": "no"} for r in e["returns"]]} for e in form["effects"]]}
    ),
    "bad_table": lambda form: form | {"tables": [t | {"columns": ["id"]} for t in form["tables"]]},
    "unknown_fact": lambda form: (
        form | {"reference": [s | {"slot": "x"} if "slot" in s else s for s in form["reference"]]}
    ),
    "call_fails": lambda form: form | {"tables": [t | {"rows": []} for t in form["tables"]]},
    "solvable": lambda form: form | {"reference": [s for s in form["reference"] if s["kind"] == "ask"] * 2},
    "needs_user": lambda form: form | {"reference": [NO_GUARD, THE_END]},
    "constraint_live": None,
    "right_guess": None,
    "world_error": lambda form: (
        form | {"reference": [form["reference"][0], form["reference"][-1] | {"values": ["unheard_of"]}]}
    ),
}  # fmt: skip


def test_a_world_that_fails_leaves_the_task_simulated_and_the_funnel_says_why() -> None:
    changes = {(n, "WorldForm"): change for n, change in enumerate(NOT_EXECUTABLE.values())}
    known, live = (list(NOT_EXECUTABLE).index(name) for name in ("right_guess", "constraint_live"))
    changes[known, "WorldForm"] = _known_beforehand(sources()[known])
    changes[live, "WorldForm"] = _without_temptation(sources()[live])
    count = len(changes)
    tasks, rejected, metrics = run(count + 1, changes, tasks__world="executable")
    assert rejected == []
    reasons = [task.provenance.get("not_executable") for task in tasks]
    assert dict(zip(NOT_EXECUTABLE, reasons[:-1], strict=True)) == {name: name for name in NOT_EXECUTABLE}
    assert Counter(task.world_kind for task in tasks) == {"simulated": count, "executable": 1}
    assert all(not task.world.tables and task.world.background for task in tasks[:-1])
    assert metrics["funnel"]["not_executable"] == dict.fromkeys(sorted(NOT_EXECUTABLE), 1)


def test_no_world_is_asked_for_where_the_constraint_has_no_rule() -> None:
    tasks, _, metrics = run(1, {(0, "ConstraintForm"): having(licence="none")}, tasks__world="executable")
    assert (tasks[0].world_kind, tasks[0].world.rules) == ("simulated", {})
    assert metrics["funnel"]["not_executable"] == {"no_rule": 1}
    assert "world" not in metrics["tokens"]


def test_only_the_outputs_that_effects_give_are_promised() -> None:
    source = sources()[0]
    form = answers_of(source)["WorldForm"]
    for effect in form["effects"]:
        effect["returns"] = [] if effect["tool"] in source.distractors else effect["returns"]
    made = executable(_as_simulated(source), WorldForm.model_validate(form))
    promised = {tool.name: tool.outputs for tool in made.tools}
    assert {str(promised[name]) for name in source.distractors} == {"{'result': {'type': 'string'}}"}


def _as_simulated(task: Task) -> Task:
    rules = {"live": task.world.rules["live"]}
    lines = tuple(constraint for constraint in task.constraints if constraint.id == "live")
    return task.model_copy(update={"world": WorldSpec(tables={}, effects={}, rules=rules), "constraints": lines})
