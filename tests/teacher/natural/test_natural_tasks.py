"""Natural tasks: proposed by number, proved, demonstrated; of every pattern what makes it that pattern."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

import jsonschema_rs
from helpers.natural import acted, calls_of, judged, proposed, score_of, tasks
from helpers.projects import default_params

from synthagent.episodes.episode import opening
from synthagent.episodes.scripted import ASKS_AGAIN, Style
from synthagent.episodes.world import BUSY, answered_by
from synthagent.records import Task
from synthagent.stages.rubrics import demonstrate
from synthagent.store import read_records, write_records
from synthagent.teacher.natural.compose import PATTERNS, TWINS
from synthagent.text import json_text
from synthagent.worlds import Answer, Ask, Call, Guard, Pick


def test_nineteen_of_twenty_proposals_pass_all_proofs_that_apply_to_them() -> None:
    assert len(tasks()) >= 0.95 * len(judged())
    assert {task.provenance["pattern"] for task in tasks()} == set(PATTERNS)
    for task in tasks():
        asks = any(isinstance(step, Ask) for step in task.reference)
        assert task.solvable
        assert task.no_leak
        assert task.unique
        assert task.needs_user is (True if asks else None)
        guarded = any(isinstance(step, Guard) for step in task.reference)
        assert task.constraint_live is (True if guarded else None)
        assert task.decisive is (True if task.twin_of else None)


def test_proposals_depend_on_nothing_but_their_numbers() -> None:
    assert proposed(40, 60) == [group for group in proposed(0, 80) if 40 <= int(group[0].id[-7:]) < 60]


def test_shares_of_patterns_are_those_of_the_params() -> None:
    found = Counter(group[0].provenance["pattern"] for group in proposed(0, 2000))
    total = found.total() + sum(found[pattern] for pattern in TWINS)  # a pair is two proposals
    shares = default_params().tasks.natural.patterns.model_dump()
    for pattern, share in shares.items():
        seen = found[pattern] * (2 if pattern in TWINS else 1) / total
        assert abs(seen - share) < 0.05, (pattern, seen)


def test_what_the_expert_passes_fits_the_schemas_and_is_typed() -> None:
    kinds: set[type] = set()
    for task in tasks():
        validators = {tool.name: jsonschema_rs.validator_for(tool.parameters) for tool in task.tools}
        for call in (call for turn in calls_of(acted(task)) for call in turn):
            arguments = json.loads(str(call["arguments"]))
            validators[str(call["name"])].validate(arguments)
            kinds |= {type(value) for value in arguments.values()}
    assert kinds >= {str, int, float, bool, list, dict}


def test_who_asks_what_the_request_has_said_earns_less() -> None:
    quiet = [task for task in tasks() if not any(isinstance(step, Ask) for step in task.reference)]
    assert quiet
    for task in quiet[:40]:
        assert score_of(task, acted(task)).reward == 1.0
        assert score_of(task, acted(task, ASKS_AGAIN)).reward < 1.0


def test_calls_that_do_not_wait_for_each_other_are_demonstrated_in_one_turn() -> None:
    for pattern in ("several", "parallel"):
        for task in (task for task in tasks(pattern) if not task.facts):
            whole = sum(isinstance(step, Call) for step in task.reference)
            turns = calls_of(acted(task, Style(parallel=True)))
            assert whole >= 2
            assert len(turns[0]) == whole
            assert len(calls_of(acted(task))[0]) == 1


def test_a_tool_that_fails_in_passing_is_called_again() -> None:
    busy = [task for task in tasks() if any(e.busy for spec in task.world.effects.values() for e in spec)]
    assert busy
    for task in busy:
        episode = acted(task)
        assert any(BUSY in str(m["content"]) for m in episode.messages)
        assert episode.end == "answer"


def test_where_no_tool_fits_nothing_is_called_and_other_tools_are_there() -> None:
    for task in tasks("cannot"):
        assert [step.outcome for step in task.reference if isinstance(step, Answer)] == ["cannot"]
        assert task.tools
        assert not calls_of(acted(task))


def test_the_agent_is_told_where_it_works_and_what_day_it_is_before_the_rules() -> None:
    for task in tasks("rule")[:10]:
        system = str(opening(task)[0]["content"]).split("\n")
        assert system[0] == task.world.opening
        assert system[1:-1] == [constraint.text for constraint in task.constraints]
        assert "Cannot" in system[-1]


def test_every_tool_is_answered_by_the_world() -> None:
    assert all(answered_by(task, tool.name) == "world" for task in tasks() for tool in task.tools)


def test_what_is_left_out_is_told_in_the_users_words_and_passed_as_the_schema_wants_it() -> None:
    for task in (task for task in tasks() if task.world.canonical):
        for fact in task.facts:
            assert fact.value in fact.phrase or fact.slot == "confirm"
        said = json.dumps(list(calls_of(acted(task))))
        chosen_by = {slot for step in task.reference if isinstance(step, Pick) for slot in step.known.values()}
        assert all(_passed(value, said) or slot in chosen_by for slot, value in task.world.canonical.items())


def _passed(value: object, said: str) -> bool:
    return json.dumps(json_text(value))[1:-1] in said


def test_natural_tasks_survive_being_stored(tmp_path: object) -> None:
    from pathlib import Path

    path = Path(str(tmp_path)) / "tasks.parquet"
    some: Sequence[Task] = tasks()[:50]
    write_records(path, Task, some)
    assert list(read_records(path, Task)) == list(some)


def test_a_natural_task_gets_a_rubric_and_demonstrations() -> None:
    params = default_params()
    kept = [demonstrate(task, params) for task in tasks() if task.split == "train"]
    assert sum(one.kept for one in kept) >= 0.9 * len(kept)
    assert all(len(one.demos) == params.rubrics.demos_per_task for one in kept)
