"""The rubrics stage: demonstrations are imperfect and varied, and say how much of a workflow they executed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.projects import default_params, figures_in, said_by, write_params
from helpers.tasks import accepted_tasks, rubric_of, task_of_level

from synthagent.episodes.rerun import rerun
from synthagent.judging.reward import score_world, verdicts_by_check
from synthagent.params import Params
from synthagent.params_file import load_params
from synthagent.records import Rejected, Rubric, Task, Trajectory
from synthagent.stage import Paths
from synthagent.stages import rubrics as stage
from synthagent.stages.rubrics import Demonstrated, both_or_neither, demonstrate, write
from synthagent.store import read_records

PARAMS = default_params()


def params_with(**changes: float) -> Params:
    return PARAMS.model_copy(update={"rubrics": PARAMS.rubrics.model_copy(update=changes)})


def is_train(task: Task) -> bool:
    return task.split == "train"


TASK = task_of_level(1, is_train)


def test_a_rubric_has_the_criteria_of_the_reference() -> None:
    assert demonstrate(TASK, PARAMS).rubric.criteria == rubric_of(TASK).criteria


def test_demonstrations_of_full_skill_are_perfect_and_cover_everything() -> None:
    for task in accepted_tasks()[:50]:
        done = demonstrate(task, params_with(skill=1.0, min_coverage=1.0))
        assert done.kept
        assert done.rubric.coverage == 1
        for demo in done.demos:
            world = rerun(task, demo.messages).world
            assert score_world(done.rubric, world).perfect


def test_demonstrations_of_less_skill_are_worse_and_vary() -> None:
    tasks = [task for task in accepted_tasks()[:60] if is_train(task)]
    scores, texts = [], set()
    for task in tasks:
        for demo in demonstrate(task, params_with(skill=0.5, demos_per_task=2)).demos:
            scores.append(score_world(rubric_of(task), rerun(task, demo.messages).world).reward)
            texts.add(json.dumps(demo.messages))
    assert 0 < sum(scores) / len(scores) < 0.9
    assert len(texts) > len(tasks) * 1.3


def test_coverage_is_the_share_of_the_workflow_that_any_demonstration_executed() -> None:
    for task in [task for task in accepted_tasks()[:60] if is_train(task)]:
        done = demonstrate(task, params_with(skill=0.5))
        reached = set()
        for demo in done.demos:
            world = rerun(task, demo.messages).world
            reached |= {v.criterion for v in verdicts_by_check(done.rubric, world) if v.passed}
        work = {c.id for c in done.rubric.criteria if c.kind != "constraint"}
        assert done.rubric.coverage == len(reached & work) / len(work)
        assert done.kept == (done.rubric.coverage >= PARAMS.rubrics.min_coverage)


def test_a_rubric_from_demonstrations_asks_what_some_of_them_reached_and_more_of_them_reach_more() -> None:
    sizes = []
    for task in [task for task in accepted_tasks()[:60] if is_train(task)]:
        rubrics = [demonstrate(task, params_with(skill=0.5, demos_per_task=4, from_demos=n)) for n in (1, 2, 4)]
        asked = [[c.id for c in done.rubric.criteria] for done in rubrics]
        assert set(asked[0]) <= set(asked[1]) <= set(asked[2]) <= {c.id for c in rubric_of(task).criteria}
        assert rubrics[0].demos == rubrics[2].demos
        assert rubrics[0].rubric.coverage == rubrics[2].rubric.coverage
        first = rerun(task, rubrics[0].demos[0].messages).world
        assert all(v.passed for v in verdicts_by_check(rubrics[0].rubric, first) if v.criterion[0] in "is")
        assert sum(c.kind == "constraint" for c in rubrics[0].rubric.criteria) == len(task.constraints)
        sizes.append([len(names) for names in asked])
    fewest, some, most = (sum(column) for column in zip(*sizes, strict=True))
    assert fewest < some < most


def test_a_task_outside_training_is_not_demonstrated_and_keeps_its_rubric() -> None:
    task = task_of_level(1, lambda t: t.split == "heldout")
    done = demonstrate(task, params_with(skill=0.0, min_coverage=1.0))
    assert (done.demos, done.kept, done.rubric.coverage) == ((), True, 1.0)


def test_demonstrations_depend_on_the_seed_and_nothing_else() -> None:
    params = params_with(demos_per_task=8, skill=0.5)
    first, again, other = (demonstrate(TASK, params.model_copy(update={"seed": seed})) for seed in (0, 0, 1))
    assert first == again
    assert [d.messages for d in first.demos] != [d.messages for d in other.demos]


def test_a_dropped_task_leaves_neither_rubric_nor_demonstrations_but_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kept = demonstrate(TASK, params_with(skill=1.0))
    lost = demonstrate(TASK, params_with(skill=0.0, min_coverage=1.0))
    written = write([kept, lost], {})
    assert list(read_records(Paths.rubrics, Rubric)) == [kept.rubric]
    assert list(read_records(Paths.demos, Trajectory)) == list(kept.demos)
    assert (written.rubrics, written.demos, written.dropped) == (1, len(kept.demos), {"coverage": 1})


# --- pairs ----------------------------------------------------------------------------------------------------------


def dropped(name: str) -> Rejected:
    return Rejected(id=name, stage="rubrics", reason="coverage", detail="", payload="")


def kept(name: str) -> Demonstrated:
    return Demonstrated(Rubric(task_id=name, criteria=(), coverage=1.0), (), kept=True)


def named(row: Demonstrated | Rejected) -> str:
    return f"{row.id}:{row.reason}" if isinstance(row, Rejected) else row.rubric.task_id


def twins_of(*pairs: str) -> dict[str, str]:
    return {one: other for a, b in pairs for one, other in ((a, b), (b, a))}


def test_where_one_of_two_twins_is_dropped_both_are_in_their_order_with_the_reason_of_each() -> None:
    rows = [kept("a"), dropped("b"), kept("c"), kept("d"), dropped("e"), dropped("f"), dropped("g"), kept("h")]
    found = list(both_or_neither(rows, twins_of("ab", "cd", "ef", "gh")))
    assert list(map(named, found)) == [
        *("a:twin", "b:coverage", "c", "d"),
        *("e:coverage", "f:coverage", "g:coverage", "h:twin"),
    ]
    first = found[0]
    assert isinstance(first, Rejected)
    assert (first.stage, first.detail) == ("rubrics", "its twin b was dropped")
    assert Rubric.model_validate_json(first.payload) == Rubric(task_id="a", criteria=(), coverage=1.0)


def test_a_task_without_a_twin_or_whose_twin_never_comes_is_dropped_for_itself_only() -> None:
    rows = [kept("a"), dropped("b"), kept("c")]
    assert list(map(named, both_or_neither(rows, {}))) == ["a", "b:coverage", "c"]
    assert list(map(named, both_or_neither(rows, {"a": "gone"}))) == ["a", "b:coverage", "c"]
    assert list(both_or_neither([], {})) == []


def test_twins_that_stand_apart_are_found_and_the_order_stays() -> None:
    rows = [kept(name) for name in "abcdef"] + [dropped("g")]
    found = list(map(named, both_or_neither(rows, twins_of("ag", "cf"))))
    assert found == ["a:twin", "b", "c", "d", "e", "f", "g:coverage"]


def test_no_more_is_read_ahead_than_up_to_the_twin() -> None:
    read = list[str]()

    def rows() -> Iterator[Demonstrated]:
        for name in "abcdefgh":
            read.append(name)
            yield kept(name)

    ahead = []
    for row in both_or_neither(rows(), twins_of("ab", "df")):
        ahead.append(f"{named(row)} after {read[-1]}")
    assert ahead[:3] == ["a after b", "b after b", "c after c"]
    assert ahead[3:] == ["d after f", "e after f", "f after f", "g after g", "h after h"]


def test_the_stage_drops_pairs_whole_and_counts_them_by_reason(project: Path) -> None:
    twins = {task.id: task.twin_of for task in read_records(Paths.tasks, Task)}
    figures = stage.run(load_params(write_params(project, {"rubrics.min_coverage": 0.9, "rubrics.skill": 0.4})))
    rubrics = {rubric.task_id for rubric in read_records(Paths.rubrics, Rubric)}
    rows = list(read_records(Paths.dropped, Rejected))
    assert rubrics
    assert {twins[name] for name in rubrics} == rubrics
    assert {twins[row.id] for row in rows} == {row.id for row in rows} == twins.keys() - rubrics
    reasons = {row.id: row.reason for row in rows}
    for row in rows:
        if row.reason == "twin":
            assert row.detail == f"its twin {twins[row.id]} was dropped"
            assert reasons[str(twins[row.id])] == "coverage"
    counted = Counter(reasons.values())
    assert set(counted) == {"coverage", "twin"}
    assert said_by(figures)["dropped_by_reason"] == counted
    assert figures.metrics["dropped"] == len(rows)
    assert {demo.task_id for demo in read_records(Paths.demos, Trajectory)} <= rubrics


def test_the_stage_writes_what_it_counts(project: Path) -> None:
    tasks = {task.id: task for task in read_records(Paths.tasks, Task)}
    rubrics, demos = list(read_records(Paths.rubrics, Rubric)), list(read_records(Paths.demos, Trajectory))
    metrics = figures_in(project, "rubrics")
    assert metrics["rubrics"] == len(rubrics)
    assert metrics["demos"] == len(demos)
    assert metrics["rubrics"] + metrics["dropped"] == len(tasks)
    assert metrics["decidable_share"] == 1
    assert {demo.task_id for demo in demos} <= {rubric.task_id for rubric in rubrics}
    assert {tasks[demo.task_id].split for demo in demos} == {"train"}
    assert {demo.policy for demo in demos} == {"teacher"}


def test_more_than_ten_demonstrations_a_task_are_written_in_order(project: Path) -> None:
    stage.run(load_params(write_params(project, {"rubrics.demos_per_task": 12})))
    ids = [demo.id for demo in read_records(Paths.demos, Trajectory)]
    assert ids == sorted(ids)
    assert len(ids) == 12 * len({id.rpartition(".")[0] for id in ids})


def test_a_demonstration_ends_at_the_turn_limit_of_params() -> None:
    limits = PARAMS.episode.model_copy(update={"max_turns": 2})
    short = demonstrate(TASK, PARAMS.model_copy(update={"episode": limits}))
    assert {(demo.n_turns, demo.end) for demo in short.demos} <= {(2, "turn_limit"), (1, "answer"), (2, "answer")}
    assert any(demo.end == "turn_limit" for demo in short.demos)
