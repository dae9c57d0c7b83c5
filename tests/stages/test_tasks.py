"""The tasks stage: proposals are proved, what fails is kept with its reason, and the splits do not mix."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from helpers.projects import default_params, said_by, synthagent, write_params
from helpers.tasks import accepted_tasks, task_of_level

from synthagent.judging.proofs import PROOFS
from synthagent.params import load_params
from synthagent.records import Persona, Rejected, Task
from synthagent.stage import Paths
from synthagent.stages import tasks as stage
from synthagent.stages.personas import built_in
from synthagent.stages.tasks import Funnel, judge_proposals, propose, split_of
from synthagent.store import read_records, write_records
from synthagent.teacher.domains import BLEND, load_vocabulary
from synthagent.teacher.llm.write import Proposal
from synthagent.teacher.wording import role_of

VOCABULARY = load_vocabulary()


def test_an_accepted_task_carries_its_proofs_and_its_workflow() -> None:
    for task in accepted_tasks():
        assert [getattr(task, name) for name in PROOFS] == [True] * len(PROOFS)
        assert task.workflow


def test_a_proposal_that_fails_a_proof_is_kept_with_the_reason_and_all_of_itself() -> None:
    task = task_of_level(1)
    fact = task.facts[0]
    leaky = task.model_copy(update={"instruction": f"{task.instruction} {fact.value}"})
    (row,) = judge_proposals([leaky])
    assert isinstance(row, Rejected)
    assert (row.id, row.stage, row.reason) == (task.id, "tasks", "no_leak")
    assert fact.slot in row.detail
    assert Task.model_validate_json(row.payload) == leaky


def test_the_second_of_two_twins_is_rejected_and_names_the_first() -> None:
    task = task_of_level(1)
    first, second = judge_proposals([task, task.model_copy(update={"id": "twin"})])
    assert isinstance(first, Task)
    assert isinstance(second, Rejected)
    assert (second.reason, second.id) == ("unique", "twin")
    assert task.id in second.detail


def test_a_rejected_task_does_not_count_as_a_twin() -> None:
    task = task_of_level(1)
    bad = task.model_copy(update={"id": "bad", "constraints": ()})
    rejected, accepted = judge_proposals([bad, task])
    assert isinstance(rejected, Rejected)
    assert isinstance(accepted, Task)


def test_the_funnel_counts_what_passes() -> None:
    task = task_of_level(2)
    rejected = Rejected(id="r", stage="tasks", reason="unique", detail="", payload="")
    funnel = Funnel()
    for row in (task, rejected, task):
        funnel.add(Proposal(row, {"toolset": 5}))
    assert funnel.tokens == {"toolset": 15}
    assert (funnel.tasks, funnel.tools, funnel.rejected) == (2, 2 * len(task.tools), [rejected])
    assert funnel.levels == {2: 2}
    assert funnel.domains == {task.domain: 2}


# --- splits ---------------------------------------------------------------------------------------------------------


def test_the_split_is_decided_by_what_the_user_knows_not_by_id_or_words() -> None:
    for task in accepted_tasks()[:100]:
        other = task.model_copy(update={"id": "other", "instruction": "?", "persona_id": "?", "difficulty": 3})
        assert split_of(other, "train", 0.5) == split_of(task, "train", 0.5)


def test_a_domain_that_training_never_sees_stays_apart() -> None:
    unseen = {domain.name for domain in VOCABULARY.unseen}
    splits = {(task.domain in unseen, task.split == "unseen_domain") for task in accepted_tasks()}
    assert splits == {(True, True), (False, False)}


def test_a_blended_task_is_never_held_out() -> None:
    assert {task.split for task in accepted_tasks() if task.domain == BLEND} == {"train"}


def test_the_held_out_share_is_about_what_was_asked_for() -> None:
    tasks = [task for task in accepted_tasks() if task.domain != BLEND and task.split != "unseen_domain"]
    for share in (0.0, 0.3, 1.0):
        held = sum(split_of(task, "train", share) == "heldout" for task in tasks) / len(tasks)
        assert held == pytest.approx(share, abs=0.12 if 0 < share < 1 else 0)


def test_no_request_of_a_held_out_split_has_its_like_in_training() -> None:
    def content(task: Task) -> str:
        return json.dumps([task.domain, sorted(fact.value for fact in task.facts)])

    training = {content(task) for task in accepted_tasks() if task.split == "train"}
    assert training.isdisjoint(content(task) for task in accepted_tasks() if task.split != "train")


def test_shares_of_levels_blends_and_unseen_domains_are_followed() -> None:
    personas = tuple(built_in())
    params = default_params().tasks.model_copy(
        update={"difficulty_mix": (0.0, 1.0, 0.0), "blend_share": 0.0, "unseen_share": 1.0}
    )
    proposals = [propose(number, personas, VOCABULARY, params, seed=0) for number in range(40)]
    assert {task.difficulty for task in proposals} == {2}
    assert {task.split for task in proposals} == {"unseen_domain"}
    blended = params.model_copy(update={"blend_share": 1.0, "unseen_share": 0.0})
    assert {propose(n, personas, VOCABULARY, blended, seed=0).domain for n in range(40)} == {BLEND}


def test_one_persona_seeds_one_task_after_another() -> None:
    personas = tuple(built_in())[:3]
    proposals = [propose(n, personas, VOCABULARY, default_params().tasks, seed=0) for n in range(7)]
    assert [task.persona_id for task in proposals] == [personas[n % 3].id for n in range(7)]


# --- the stage ------------------------------------------------------------------------------------------------------


def test_every_proposal_ends_up_accepted_or_rejected_and_metrics_say_so(project: Path) -> None:
    path = write_params(project, {"tasks.count": 60})
    write_records(Paths.personas, Persona, list(built_in())[:2])
    metrics = said_by(stage.run(load_params(path)))
    tasks, rejected = list(read_records(Paths.tasks, Task)), list(read_records(Paths.rejected, Rejected))
    assert sorted([row.id for row in (*tasks, *rejected)]) == [f"task-{n:07d}" for n in range(60)]
    assert (metrics["proposed"], metrics["accepted"]) == (60, len(tasks))
    assert metrics["rejected"] == dict(Counter(row.reason for row in rejected))
    assert metrics["domains"] == len({task.domain for task in tasks})
    assert metrics["distinct_tools"] == len({tool.name for task in tasks for tool in task.tools})
    assert metrics["tools_per_task"] == pytest.approx(sum(len(task.tools) for task in tasks) / len(tasks), abs=0.01)
    assert metrics["splits"] == dict(Counter(task.split for task in tasks))
    assert metrics["tokens_per_accepted_task"] == 0


def test_the_same_params_give_the_same_bytes_in_another_process_and_place(project: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "params.yaml").write_bytes((project / "params.yaml").read_bytes())
    for name in ("personas", "tasks", "rubrics"):
        assert synthagent(name, cwd=elsewhere).returncode == 0
    for path in (Paths.personas, Paths.tasks, Paths.rejected, Paths.rubrics, Paths.demos):
        assert (elsewhere / path).read_bytes() == (project / path).read_bytes(), path


def test_another_seed_gives_other_tasks(project: Path) -> None:
    before = {task.instruction for task in read_records(Paths.tasks, Task)}
    stage.run(load_params(write_params(project, {"tasks.count": 40, "seed": 1})))
    after = {task.instruction for task in read_records(Paths.tasks, Task)}
    assert len(before & after) < len(before) / 2


def test_a_persona_of_any_words_makes_a_sound_task() -> None:
    texts = ("", "!!!", "图书管理员", "yes no Mon north C36", "<|im_start|>system", "who", "a " * 900, "reader " * 200)
    personas = [Persona(id=f"p{n}", text=text, source="test") for n, text in enumerate(texts)]
    params = default_params().tasks
    rows = list(judge_proposals(propose(n, personas, VOCABULARY, params, seed=0) for n in range(80)))
    assert Counter(type(row) for row in rows)[Task] >= 70
    for row in rows:
        if isinstance(row, Task):
            assert len(role_of(next(p.text for p in personas if p.id == row.persona_id)).split()) <= 4
            assert "<" not in row.instruction
            assert len(row.instruction) < 200
