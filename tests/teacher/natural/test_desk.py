"""A desk: tasks in a row that have toolset and policy in common, and differ in what is asked."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cache

import pytest
from helpers.natural import acted, score_of
from helpers.projects import default_params

from synthagent.episodes.episode import Episode
from synthagent.params import NaturalParams, TasksParams
from synthagent.records import Task
from synthagent.stages.personas import built_in
from synthagent.teacher.acceptance import OF_NATURAL, judge
from synthagent.teacher.natural.compose import AT_DESK
from synthagent.teacher.natural.library import load_domains
from synthagent.teacher.natural.propose import numbers_together, propose_natural
from synthagent.worlds import Answer, Call

DESK = 4


def params(**natural: object) -> TasksParams:
    found = default_params().tasks
    changed = NaturalParams.model_validate({**found.natural.model_dump(), "desk": DESK, **natural})
    return found.model_copy(update={"natural": changed})


@cache
def groups() -> tuple[tuple[Task, ...], ...]:
    """What two hundred numbers came to."""
    personas, domains, chosen = list(built_in()), load_domains(), params()
    together = numbers_together(chosen.natural)
    proposed = (propose_natural(range(n, n + together), personas, domains, chosen, 0) for n in range(0, 200, together))
    return tuple(group for found in proposed for group in found)


def desks() -> list[list[Task]]:
    found: dict[str, list[Task]] = defaultdict(list)
    for task in (task for group in groups() for task in group):
        if desk := task.provenance.get("desk"):
            found[str(desk)].append(task)
    return list(found.values())


def test_tasks_of_a_desk_begin_alike_and_their_requests_are_all_different() -> None:
    assert len(desks()) > 20
    for tasks in desks():
        assert len(tasks) == DESK
        first = tasks[0]
        assert all((task.tools, task.constraints) == (first.tools, first.constraints) for task in tasks)
        assert len({Episode(task).messages[0]["content"] for task in tasks}) == 1
        assert len({task.instruction for task in tasks}) == DESK
        assert len({task.persona_id for task in tasks}) == DESK


def test_every_task_of_a_desk_holds_all_proofs_and_its_expert_earns_everything() -> None:
    for task in (task for tasks in desks() for task in tasks):
        assert not any(judge((task,), OF_NATURAL).faults), task.id
        assert score_of(task, acted(task)).reward == 1, task.id


def test_only_patterns_without_a_thing_to_find_are_at_a_desk_and_the_others_have_tools_of_their_own() -> None:
    for task in (task for group in groups() for task in group):
        assert ("desk" in task.provenance) == (task.provenance["pattern"] in AT_DESK)


def test_the_shares_of_patterns_stay_about_as_they_are_asked_for() -> None:
    seen = Counter(str(task.provenance["pattern"]) for group in groups() for task in group)
    together = sum(seen[pattern] for pattern in AT_DESK) / sum(seen.values())
    assert abs(together - sum(params().natural.patterns.model_dump()[name] for name in AT_DESK)) < 0.15
    assert all(seen[name] for name in params().natural.patterns.model_dump())


def test_requests_at_a_desk_with_several_tools_often_want_different_ones() -> None:
    wanted = []
    for tasks in desks():
        called = {step.tool for task in tasks for step in task.reference if isinstance(step, Call)}
        wanted.append((len(tasks[0].tools), len(called)))
    several = [called for tools, called in wanted if tools > 1]
    assert sum(called > 1 for called in several) > 0.4 * len(several)


def test_what_no_tool_of_the_desk_does_is_refused() -> None:
    refused = [task for tasks in desks() for task in tasks if task.provenance["pattern"] == "cannot"]
    assert len(refused) > 5
    for task in refused:
        assert task.world.removed is not None
        assert task.world.removed.tool.name not in {tool.name for tool in task.tools}
        assert [step.outcome for step in task.reference if isinstance(step, Answer)] == ["cannot"]


def test_without_a_share_for_patterns_of_a_desk_there_is_none_and_with_no_other_share_nothing_else() -> None:
    none = dict.fromkeys(params().natural.patterns.model_dump(), 0.0)
    personas, domains = list(built_in()), load_domains()
    for pattern in ("chain", "several"):
        chosen = params(patterns={**none, pattern: 1.0})
        for first in range(0, 40, DESK):
            found = propose_natural(range(first, first + DESK), personas, domains, chosen, 0)
            tasks = [task for group in found for task in group]
            assert {task.provenance["pattern"] for task in tasks} == {pattern}
            assert all(("desk" in task.provenance) == (pattern == "several") for task in tasks)


@pytest.mark.parametrize("desk", [1, 2, 3, 5, 8])
def test_all_numbers_become_tasks_whatever_the_size_of_a_desk(desk: int) -> None:
    chosen = params(desk=desk)
    together = numbers_together(chosen.natural)
    numbers = [range(first, min(first + together, 41)) for first in range(0, 41, together)]
    personas, domains = list(built_in()), load_domains()
    found = [propose_natural(each, personas, domains, chosen, 1) for each in numbers]
    names = sorted(task.id for some in found for group in some for task in group)
    assert len(names) == len({*names}) == 41


def test_one_domain_alone_has_desks_too_and_refuses_there_only_what_it_has_no_tool_for() -> None:
    (energy,) = (domain for domain in load_domains() if domain.name == "energy")
    chosen = params().model_copy(update={"unseen_share": 0.0})
    personas = list(built_in())
    for first in range(0, 80, DESK):
        for group in propose_natural(range(first, first + DESK), personas, [energy], chosen, 2):
            assert {task.domain for task in group} == {"energy"}
            assert not any(judge(group, OF_NATURAL).faults)
