"""Tasks to read: a page that loads nothing and trusts no text; which tasks it shows depends on file and seed only."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers.projects import assert_one_message, default_params, synthagent, write_params
from helpers.tasks import accepted_tasks

from synthagent.errors import InputError
from synthagent.records import Persona, Task
from synthagent.showing.task_page import picked, shown_task, task_page
from synthagent.stages.personas import built_in
from synthagent.store import write_records
from synthagent.teacher.natural.library import load_domains
from synthagent.teacher.natural.sample import fresh_tasks

PEOPLE = list(built_in())
FRESH = fresh_tasks(40, 7, None, PEOPLE, default_params().tasks)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.parquet"
    write_records(path, Task, accepted_tasks()[:60])
    return path


def ids(groups: list[tuple[Task, ...]]) -> list[str]:
    return [group[0].id for group in groups]


def test_fresh_tasks_are_those_of_their_seed_and_hold_their_proofs() -> None:
    assert len(FRESH.groups) == 40
    again = fresh_tasks(10, 7, None, PEOPLE, default_params().tasks)
    assert again.groups == FRESH.groups[:10]
    assert ids(fresh_tasks(10, 8, None, PEOPLE, default_params().tasks).groups) != [] != again.groups
    assert {len(group) for group in FRESH.groups} == {1, 2}
    assert len({group[0].provenance["pattern"] for group in FRESH.groups}) > 3


@pytest.mark.parametrize("split", ["train", "unseen_domain"])
def test_fresh_tasks_of_one_domain_are_all_of_it(split: str) -> None:
    domain = next(one for one in load_domains() if one.split == split).name
    found = fresh_tasks(6, 0, domain, PEOPLE, default_params().tasks)
    assert {task.domain for group in found.groups for task in group} == {domain}


def test_a_domain_that_there_is_not_is_told_with_those_there_are() -> None:
    with pytest.raises(InputError, match="no domain 'zoo'; name one of airline, "):
        fresh_tasks(1, 0, "zoo", PEOPLE, default_params().tasks)


def test_tasks_of_a_file_are_drawn_by_the_seed_each_with_its_twin_and_no_pair_twice(file: Path) -> None:
    found = picked(file, 12, 3, None)
    assert len(found) == 12
    assert found == picked(file, 12, 3, None)
    assert ids(found) != ids(picked(file, 12, 4, None))
    for task, twin in found:
        assert task.twin_of == twin.id
    shown = {task.id for group in found for task in group}
    assert len(shown) == 24, "no pair twice"
    assert len(picked(file, 100, 3, None)) == 30


def test_a_file_without_such_tasks_is_told(file: Path) -> None:
    some = accepted_tasks()[0].domain
    assert {task.domain for group in picked(file, 99, 0, some) for task in group} == {some}
    with pytest.raises(InputError, match=f"no task of the domain zoo; there are .*{some}"):
        picked(file, 5, 0, "zoo")
    write_records(file, Task, [])
    with pytest.raises(InputError, match="no task in it"):
        picked(file, 5, 0, None)


def test_a_reader_sees_what_the_policy_sees_what_the_user_knows_what_is_right_and_how_the_twin_differs() -> None:
    pages = {len(group): shown_task(group, {}) for group in FRESH.groups}
    pair = next(group for group in FRESH.groups if len(group) == 2 and group[0].constraints)
    shown = shown_task(pair, {pair[0].persona_id: "a <b>baker</b>"})
    assert shown.persona == "a <b>baker</b>"
    assert shown.request == pair[0].instruction
    assert pair[0].world.opening in shown.system
    assert pair[0].constraints[0].text in shown.system
    assert {tool.name for tool in shown.tools if not tool.used} == set(pair[0].distractors)
    assert shown.episode[-1]["content"].startswith(f"<answer>{shown.outcome.capitalize()}")
    assert shown.twin[-1].startswith(f"so the twin, {pair[1].id}, ends ")
    assert not shown.twin[-1].endswith(shown.outcome)
    assert len(shown.twin) == 2, "one difference decides"
    assert pages[1].twin == ()
    told = next(shown_task(group, {}) for group in FRESH.groups if group[0].world.canonical)
    assert "When asked: " in told.known[0]


def test_a_task_whose_world_a_model_plays_is_shown_without_an_expert() -> None:
    task = accepted_tasks()[0].model_copy(update={"world_kind": "simulated", "reference": ()})
    shown = shown_task((task,), {})
    assert (shown.episode, shown.twin) == ((), ())
    assert "simulated" in shown.outcome


def test_the_page_loads_nothing_and_shows_no_text_as_markup() -> None:
    evil = "<script>alert(1)</script>\u202e\x1b[31m"
    task = accepted_tasks()[0].model_copy(update={"instruction": evil, "persona_id": evil, "domain": evil})
    html = task_page([(task,)], {}, evil)
    assert "<script" not in html
    assert "\u202e" not in html
    assert "\x1b" not in html
    assert html.count("&lt;script&gt;") >= 4
    assert not re.findall(r"(?:src|href)=|https?://|url\(", html)


def test_the_command_writes_a_page_and_says_of_what(tmp_path: Path, file: Path) -> None:
    write_params(tmp_path, {})
    done = synthagent("domain", "sample", "--count", "3", "--seed", "7", "--out", "page.html", cwd=tmp_path)
    assert done.stdout.startswith("page.html: 3 tasks to read; composed with seed 7"), done.stderr
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert FRESH.groups[0][0].instruction.split(",")[0] in html
    person = Persona(id=accepted_tasks()[0].persona_id, text="somebody we know", source="s")
    write_records(tmp_path / "personas.parquet", Persona, [person])
    done = synthagent("domain", "sample", "--tasks", file.name, "--count", "99", "-o", "all.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "somebody we know" in (tmp_path / "all.html").read_text(encoding="utf-8")
    assert_one_message(synthagent("domain", "sample", "-o", "page.pdf", cwd=tmp_path), "page.pdf", ".html")
