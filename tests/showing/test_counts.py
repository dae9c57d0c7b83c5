"""What the report counts, and which tasks and rubrics it keeps while it reads them once."""

from __future__ import annotations

from helpers.tasks import accepted_tasks, rubric_of

from synthagent.showing.counts import count_rubrics, count_tasks


def test_tasks_are_counted_once_each_and_only_the_wanted_are_kept() -> None:
    tasks = accepted_tasks()
    counts = count_tasks(iter(tasks), {tasks[3].id, "nothing"})
    assert counts.total == len(tasks)
    assert counts.kept == {tasks[3].id: tasks[3]}
    for counter in (counts.domains, counts.splits, counts.levels, counts.sizes):
        assert sum(counter.values()) == len(tasks)
    assert sum(counts.tools.values()) == sum(len(task.tools) for task in tasks)


def test_criteria_are_counted_with_those_that_a_check_decides() -> None:
    first, second = (rubric_of(task) for task in accepted_tasks()[:2])
    undecided = tuple(criterion.model_copy(update={"check": None}) for criterion in second.criteria)
    rubrics = (first, second.model_copy(update={"criteria": undecided}))
    counts = count_rubrics(iter(rubrics), {second.task_id})
    assert (counts.total, counts.criteria) == (2, len(first.criteria) + len(undecided))
    assert counts.decidable == len(first.criteria)
    assert list(counts.kept) == [second.task_id]


def test_nothing_to_count_is_no_fault() -> None:
    assert count_tasks([], ()).total == 0
    assert count_rubrics([], ()).criteria == 0
