"""The tasks stage: proposals are proved, what fails is kept with its reason, and the splits do not mix."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from helpers.projects import assert_one_message, default_params, said_by, synthagent, write_params
from helpers.tasks import accepted_tasks, outcome_of, task_of_level

from synthagent.episodes.user import CONFIRM
from synthagent.judging.proofs import PROOFS
from synthagent.params_file import load_params
from synthagent.personas import role_of
from synthagent.problems import KnownProblem
from synthagent.records import Persona, Rejected, Task
from synthagent.stage import Paths
from synthagent.stages import tasks as stage
from synthagent.stages.personas import built_in
from synthagent.stages.tasks import accept, alone, judge, judge_proposals, propose, settle, split_of
from synthagent.store import read_records, write_records
from synthagent.teacher.decontaminate import Decontamination
from synthagent.teacher.domains import BLEND, load_vocabulary
from synthagent.teacher.funnel import Funnel
from synthagent.teacher.llm.write import Proposal
from synthagent.text import words_of

VOCABULARY = load_vocabulary()
PAIR = accepted_tasks()[:2]


def test_an_accepted_task_carries_its_proofs_and_its_workflow() -> None:
    for task in accepted_tasks():
        assert [getattr(task, name) for name in PROOFS] == [True] * len(PROOFS)
        assert task.workflow


def test_a_proposal_that_fails_a_proof_is_kept_with_the_reason_and_all_of_itself() -> None:
    task = alone(task_of_level(1))
    fact = task.facts[0]
    leaky = task.model_copy(update={"instruction": f"{task.instruction} {fact.value}"})
    (row,) = judge_proposals([[leaky]])
    assert isinstance(row, Rejected)
    assert (row.id, row.stage, row.reason) == (task.id, "tasks", "no_leak")
    assert fact.slot in row.detail
    assert Task.model_validate_json(row.payload) == leaky


def test_the_second_of_two_like_tasks_is_rejected_and_names_the_first() -> None:
    task = alone(task_of_level(1))
    first, second = judge_proposals([[task], [task.model_copy(update={"id": "again"})]])
    assert isinstance(first, Task)
    assert isinstance(second, Rejected)
    assert (second.reason, second.id) == ("unique", "again")
    assert task.id in second.detail


def test_what_is_rejected_does_not_count_as_a_likeness() -> None:
    task = alone(task_of_level(1))
    bad = task.model_copy(update={"id": "bad", "constraints": ()})
    rejected, accepted = judge_proposals([[bad], [task]])
    assert isinstance(rejected, Rejected)
    assert isinstance(accepted, Task)
    spoilt = PAIR[1].model_copy(update={"constraints": ()})
    rows = list(judge_proposals([[PAIR[0], spoilt], PAIR]))
    assert [type(row) for row in rows] == [Rejected, Rejected, Task, Task]


# --- pairs ----------------------------------------------------------------------------------------------------------


def test_a_proposal_is_a_pair_of_twins_that_share_all_but_what_the_outcome_turns_on() -> None:
    personas, params = tuple(built_in()), default_params().tasks
    shared = set(Task.model_fields) - {"id", "twin_of", "facts", "world"}
    permitted = []
    for number in range(60):
        one, two = propose(number, personas, VOCABULARY, params, seed=7)
        assert (one.id, two.id) == (f"task-{2 * number:07d}", f"task-{2 * number + 1:07d}")
        assert (one.twin_of, two.twin_of) == (two.id, one.id)
        assert all(getattr(one, name) == getattr(two, name) for name in shared)
        assert (one.facts == two.facts) != (one.world == two.world)
        permitted.append(outcome_of(one) == "done")
        assert permitted[-1] != (outcome_of(two) == "done")
    assert 15 < sum(permitted) < 45, "the number does not tell which of the two may be done"


def test_twins_are_accepted_together_and_carry_that_proof_while_one_alone_does_not() -> None:
    one, two = judge_proposals([PAIR])
    assert isinstance(one, Task)
    assert isinstance(two, Task)
    assert (one.decisive, two.decisive, one.unique, two.unique) == (True, True, True, True)
    (single,) = judge_proposals([[alone(PAIR[0])]])
    assert isinstance(single, Task)
    assert (single.twin_of, single.decisive, single.unique) == (None, None, True)


@pytest.mark.parametrize("which", [0, 1])
def test_of_a_pair_of_which_one_fails_a_proof_both_are_rejected(which: int) -> None:
    pair = list(PAIR)
    pair[which] = pair[which].model_copy(update={"constraints": ()})
    rows = list(judge_proposals([pair]))
    assert all(isinstance(row, Rejected) for row in rows)
    bad, other = rows[which], rows[1 - which]
    assert isinstance(bad, Rejected)
    assert isinstance(other, Rejected)
    assert (bad.id, bad.reason) == (PAIR[which].id, "constraint_live")
    assert (other.reason, other.detail) == ("twin", f"its twin {bad.id} was rejected")
    assert Task.model_validate_json(other.payload) == PAIR[1 - which]


def test_a_pair_that_is_not_decisive_or_not_unique_is_rejected_whole() -> None:
    same = PAIR[0].model_copy(update={"id": PAIR[1].id, "twin_of": PAIR[0].id})
    again = [task.model_copy(update={"id": f"x{n}", "twin_of": f"x{1 - n}"}) for n, task in enumerate(PAIR)]
    rows = list(judge_proposals([(PAIR[0], same), PAIR, again]))
    reasons = [row.reason if isinstance(row, Rejected) else None for row in rows]
    assert reasons == ["decisive", "decisive", None, None, "unique", "unique"]


def proposals(*tasks: Task | Rejected) -> list[Proposal]:
    return [Proposal(task, {"world": 3}, "no_rule") for task in tasks]


def settled(*together: list[Proposal]) -> list[Proposal]:
    return list(settle(together, default_params().tasks.model_copy(update={"heldout_share": 0.5})))


def test_a_models_twins_share_their_split_and_are_found_unlike_each_other() -> None:
    pairs = [list(pair) for pair in zip(accepted_tasks()[:60:2], accepted_tasks()[1:60:2], strict=True)]
    blank = [[task.model_copy(update={"unique": None, "split": "train"}) for task in pair] for pair in pairs]
    rows = [proposal.row for proposal in settled(*(proposals(*pair) for pair in blank))]
    tasks = [row for row in rows if isinstance(row, Task)]
    assert len(tasks) == 60
    assert all(task.unique for task in tasks)
    assert all(one.split == two.split for one, two in zip(tasks[::2], tasks[1::2], strict=True))
    assert {task.split for task in tasks} >= {"train", "heldout"}


@pytest.mark.parametrize("which", [0, 1])
def test_where_one_of_a_models_twins_is_like_an_earlier_task_both_are_rejected(which: int) -> None:
    # They need not look the same here: `write_two` has proved that.
    earlier, other = (alone(task) for task in (PAIR[0], accepted_tasks()[10]))
    twins = [
        earlier.model_copy(update={"id": "a", "twin_of": "b"}),
        other.model_copy(update={"id": "b", "twin_of": "a"}),
    ]
    first, *both = settled(proposals(earlier), proposals(*(twins if which == 0 else twins[::-1])))
    assert isinstance(first.row, Task)
    like, its_twin = (both[which].row, both[1 - which].row)
    assert isinstance(like, Rejected)
    assert isinstance(its_twin, Rejected)
    assert (like.id, like.reason, like.detail) == ("a", "unique", f"nearly the same as {earlier.id}")
    assert (its_twin.id, its_twin.reason, its_twin.detail) == ("b", "twin", "its twin a was rejected")
    assert [proposal.tokens for proposal in both] == [{"world": 3}] * 2, "what they cost is still counted"


def test_two_that_a_model_made_together_without_being_twins_are_judged_each_by_itself() -> None:
    one, two = (alone(task) for task in (accepted_tasks()[0], accepted_tasks()[10]))
    failed = Rejected(id="r", stage="tasks", reason="no_json", detail="", payload="")
    rows = [p.row for p in settled(proposals(one, one.model_copy(update={"id": "again"})), proposals(failed, two))]
    assert [row.reason if isinstance(row, Rejected) else "" for row in rows] == ["", "unique", "no_json", ""]


def test_a_task_that_is_like_a_problem_is_rejected_with_what_it_matches_and_so_is_its_twin() -> None:
    problem = KnownProblem(id="p1", source="theirs", instructions=(PAIR[0].instruction,))
    rows = list(accept([judge(PAIR), judge([alone(accepted_tasks()[10])])], Decontamination([problem])))
    assert [getattr(row, "reason", None) for row in rows] == ["contaminated", "contaminated", None]
    assert isinstance(rows[0], Rejected)
    assert rows[0].detail == f"instruction as in theirs p1: {' '.join(words_of(PAIR[0].instruction))!r}"
    written = proposals(*(task.model_copy(update={"unique": None}) for task in PAIR))
    settings = default_params().tasks
    found = [proposal.row for proposal in settle([written], settings, Decontamination([problem]))]
    assert [getattr(row, "reason", None) for row in found] == ["contaminated", "contaminated"]


def test_the_stage_rejects_what_is_in_a_file_of_the_users_and_is_otherwise_as_it_was(tmp_path: Path) -> None:
    counts = {"tasks.count": 40, "compute.processes": 1}
    write_params(tmp_path, counts)
    assert synthagent("personas", cwd=tmp_path).returncode == 0
    assert synthagent("tasks", cwd=tmp_path).returncode == 0
    before = list(read_records(tmp_path / Paths.tasks, Task))
    assert "decontamination" not in json.loads((tmp_path / Paths.details("tasks")).read_text())
    copied = before[3].instruction
    (tmp_path / "mine.txt").write_text(f"{copied}\n\nWrite a letter to the mayor about the noise of trains at night\n")
    write_params(tmp_path, counts | {"tasks.decontaminate": {"path": "mine.txt", "embeddings": None}})
    done = synthagent("tasks", cwd=tmp_path)
    assert "tasks are compared with 2 problems of mine.txt" in done.stdout
    hit = {task.id for task in before if task.instruction == copied}
    rejected = list(read_records(tmp_path / Paths.rejected, Rejected))
    assert {row.id for row in rejected if row.reason == "contaminated"} >= hit
    assert list(read_records(tmp_path / Paths.tasks, Task)) == [
        task for task in before if task.id not in {row.id for row in rejected}
    ]
    details = json.loads((tmp_path / Paths.details("tasks")).read_text())
    assert details["decontamination"]["sources"] == {"mine.txt": {"": 2}}
    assert details["decontamination"]["tasks_hit"] == details["rejected"]["contaminated"] >= len(hit)
    again = synthagent("decontaminate", "--suites", "none", "--files", "mine.txt", cwd=tmp_path)
    assert (again.returncode, "0 tasks hit" in again.stdout) == (0, True), again
    (tmp_path / "all.txt").write_text(before[0].instruction)
    found = synthagent("decontaminate", "--suites", "none", "--files", "all.txt", cwd=tmp_path)
    assert found.returncode == (0 if before[0].id in hit else 1)
    write_params(tmp_path, counts | {"tasks.decontaminate.path": "gone.jsonl"})
    assert_one_message(synthagent("tasks", cwd=tmp_path), "tasks.decontaminate.path: gone.jsonl: No such file")
    assert_one_message(synthagent("decontaminate", "--suites", "none", cwd=tmp_path), "nothing to compare with")


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


def test_a_task_rejected_for_its_twins_sake_was_parsed_and_checked_but_is_not_among_the_proved() -> None:
    funnel = Funnel()
    for reason in ("no_leak", "twin", "decisive", "decisive", "unique", "no_json"):
        funnel.add(Proposal(Rejected(id="r", stage="tasks", reason=reason, detail="", payload=""), {}))
    funnel.add(Proposal(task_of_level(1), {}))
    details = funnel.details(proposed=7)
    assert details["rejected"] == {"no_leak": 1, "twin": 1, "decisive": 2, "unique": 1, "no_json": 1}
    found = [details["funnel"][name] for name in ("proposed", "parsed", "checked", "proved", "accepted")]
    assert found == [7, 6, 6, 2, 1]


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
        return json.dumps([task.domain, sorted(fact.value for fact in task.facts if fact.slot != CONFIRM)])

    training = {content(task) for task in accepted_tasks() if task.split == "train"}
    assert training.isdisjoint(content(task) for task in accepted_tasks() if task.split != "train")


def test_shares_of_levels_blends_and_unseen_domains_are_followed() -> None:
    personas = tuple(built_in())
    params = default_params().tasks.model_copy(
        update={"difficulty_mix": (0.0, 1.0, 0.0), "blend_share": 0.0, "unseen_share": 1.0}
    )
    tasks = [task for n in range(20) for task in propose(n, personas, VOCABULARY, params, seed=0)]
    assert {task.difficulty for task in tasks} == {2}
    assert {task.split for task in tasks} == {"unseen_domain"}
    blended = params.model_copy(update={"blend_share": 1.0, "unseen_share": 0.0})
    assert {task.domain for n in range(20) for task in propose(n, personas, VOCABULARY, blended, seed=0)} == {BLEND}


def test_one_persona_seeds_one_pair_after_another() -> None:
    personas = tuple(built_in())[:3]
    pairs = [propose(n, personas, VOCABULARY, default_params().tasks, seed=0) for n in range(7)]
    assert [{task.persona_id for task in pair} for pair in pairs] == [{personas[n % 3].id} for n in range(7)]


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
    assert metrics["distinct_shapes"] == 2
    assert metrics["distinct_trigrams"] > 100
    assert [metrics[name] for name in ("trigram_share", "embedding_spread")] == [None, None], "too few words; no model"
    assert "variety" not in metrics, "the plain teacher is not compared with itself"


def test_an_odd_count_leaves_the_last_task_without_a_twin(project: Path) -> None:
    stage.run(load_params(write_params(project, {"tasks.count": 21})))
    odd = list(read_records(Paths.tasks, Task))
    stage.run(load_params(write_params(project, {"tasks.count": 22})))
    even = list(read_records(Paths.tasks, Task))
    assert (len(odd), len(even)) == (21, 22)
    assert odd == [*even[:20], alone(even[20])]
    assert (odd[20].twin_of, odd[20].decisive, odd[20].unique) == (None, None, True)
    assert [task.twin_of for task in odd[:20:2]] == [task.id for task in odd[1:20:2]]


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
    rows = list(judge_proposals(propose(n, personas, VOCABULARY, params, seed=0) for n in range(40)))
    assert Counter(type(row) for row in rows)[Task] >= 70
    for row in rows:
        if isinstance(row, Task):
            assert len(role_of(next(p.text for p in personas if p.id == row.persona_id)).split()) <= 4
            assert "<" not in row.instruction
            assert len(row.instruction) < 200
