"""A whole small pipeline through the public commands, in a copy of the project: what it leaves, and running again."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from helpers.pipeline import SMALL, Finished, Project, new_project, processes_in, wait_for
from helpers.projects import ROOT, files_under

from synthagent.cli import STAGES
from synthagent.episodes.scripted import SCRIPTS
from synthagent.records import Reward
from synthagent.store import read_records, write_records

REAL_PERSONAS = ROOT.parent / "shared" / "data" / "personas.jsonl"

EPISODES = (
    "id, task_id, policy, sample, messages, n_turns, n_tool_calls, n_questions, end, mapping_hits, prompt_tokens, "
    "completion_tokens, error"
)
COLUMNS = {
    "personas": "id, text, source",
    "tasks": "id, persona_id, domain, difficulty, split, instruction, workflow, facts, tools, distractors, "
    "constraints, world_kind, world, reference, twin_of, solvable, needs_user, constraint_live, no_leak, unique, "
    "decisive, provenance",
    "rejected": "id, stage, reason, detail, payload",
    "rubrics": "task_id, criteria, coverage",
    "demos": EPISODES,
    "rollouts": EPISODES,
    "rewards": "trajectory_id, task_id, gate, subgoals, interactions, reward, reward_paper, verdicts, status",
    "evaluation": "policy, benchmark, category, version, task_id, twin_of, split, difficulty, outcome, sample, "
    "decoding, reward, reward_paper, gate, subgoals, interactions, n_turns, n_questions, extra_questions, "
    "extra_calls, end",
}
METRICS = {
    "tasks": "proposed accepted rejected tools_per_task domains tokens_per_accepted_task distinct_tools",
    "rubrics": "criteria_per_task decidable_share dropped",
    "rewards": "mean gate_violations errors",
    "evaluate": "policies grpo_minus_sft",
}
POLICIES = {*SCRIPTS, "base", "sft", "grpo"}


# --- what a run leaves ----------------------------------------------------------------------------------------------


def test_every_stage_runs_in_order_on_the_code_of_the_copy(finished: Finished) -> None:
    assert re.findall(r"Running stage '(\w+)'", finished.printed) == list(STAGES)
    where = finished.project.run("python", "-c", "import synthagent; print(synthagent.__file__)").stdout.strip()
    assert Path(where) == finished.project.folder / "synthagent" / "__init__.py"


def test_every_out_is_there_and_nothing_else(finished: Finished) -> None:
    project = finished.project
    outs = [project.folder / path for path in project.locked()]
    outs += [project.data / kind / f"{stage}.json" for kind in ("metrics", "timings") for stage in STAGES]
    assert all(out.exists() for out in outs)
    written = {path for path in files_under(project.data) if path.name != ".gitignore"}
    assert not [path for path in written if not any(out == path or out in path.parents for out in outs)]
    assert project.run("git", "status", "--porcelain", "--untracked-files=all", "data").stdout.count(".parquet") == 0


@pytest.mark.parametrize("name", COLUMNS)
def test_a_dataset_has_the_columns_that_others_read(name: str, finished: Finished) -> None:
    found = pq.read_schema(finished.project.data / f"{name}.parquet").names
    assert found == COLUMNS[name].split(", ")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_says_what_others_read_and_its_metrics_are_few_and_flat(stage: str, finished: Finished) -> None:
    said = finished.project.said(stage)
    assert {"seconds", "peak_rss_mb", *METRICS.get(stage, "").split()} <= set(said)
    metrics = json.loads((finished.project.data / "metrics" / f"{stage}.json").read_text())
    assert 1 <= len(metrics) <= 15
    assert all(value is None or isinstance(value, int | float) for value in metrics.values())


def test_the_evaluation_has_every_policy_on_every_split(finished: Finished) -> None:
    metrics = finished.project.said("evaluate")
    assert set(metrics["policies"]) == POLICIES
    for splits in metrics["policies"].values():
        assert set(splits) == set(metrics["grpo_minus_sft"]) == {"heldout", "unseen_domain"}
        for figures in splits.values():
            assert (figures["n"], 2 * figures["pairs"]) == (SMALL["evaluate.tasks"],) * 2
            assert {"done"} < set(figures["perfect_by_outcome"]) <= {"done", "refused", "kept"}
            assert figures["pair_rate"] <= figures["pair_reward"] <= figures["reward"]
    expert, noop = (metrics["policies"][policy]["heldout"] for policy in ("expert", "noop"))
    assert (expert["pair_rate"], expert["extra_questions"], expert["extra_calls"]) == (1, 0, 0)
    assert noop["pair_rate"] == 0
    headlines = json.loads((finished.project.data / "metrics" / "evaluate.json").read_text())
    assert len(headlines) == 15
    assert headlines["heldout_grpo_pair_rate"] == metrics["policies"]["grpo"]["heldout"]["pair_rate"]
    assert "grpo - sft on unseen_domain: pair rate " in finished.printed


def test_the_student_was_trained_on_tasks_whose_episodes_differ(finished: Finished) -> None:
    grpo = finished.project.said("grpo")
    assert grpo["candidates"] > 0
    assert grpo["steps"] == SMALL["grpo.steps"]
    lines = (finished.project.data / "plots" / "grpo.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["step", "1", "2"]
    models = finished.project.data / "models"
    for file, same in (("tokenizer.json", True), ("model.safetensors", False)):
        assert ((models / "sft" / file).read_bytes() == (models / "grpo" / file).read_bytes()) == same


def test_problems_take_part_in_sft_grpo_and_evaluation(finished: Finished) -> None:
    said = finished.project.said
    if not said("reasoning")["kept"]:
        pytest.skip("no code can be isolated here")
    assert said("sft")["reasoning_demos"] == 0.1 * SMALL["sft.demos"]
    assert "1 of them with problems, 2 in all" in finished.printed
    kinds = said("evaluate")["reasoning"]["kinds"]
    assert kinds["all"].keys() == {"constant", "base", "sft", "grpo"}
    assert {figures["n"] for figures in kinds["all"].values()} == {SMALL["evaluate.reasoning"]}


def test_the_results_are_printed_again_on_request(finished: Finished) -> None:
    printed = finished.project.run("synthagent", "results").stdout
    heading, _, tables = printed.strip().partition("\n")
    assert heading == "benchmark synthagent"
    for table in tables.split("\nbenchmark reasoning\n"):
        assert table in finished.printed
    for policy in POLICIES:
        assert re.search(rf"heldout +all +{policy} ", printed)
    assert "grpo - sft on unseen_domain" in printed


def test_the_files_say_neither_where_nor_when_they_were_made(finished: Finished) -> None:
    here = str(finished.project.folder).encode()
    outs = {path: text for path, text in files_under(finished.project.data).items() if "timings" not in path.parts}
    assert not [path for path, text in outs.items() if here in text]


def test_an_episode_and_a_task_of_the_run_can_be_shown(finished: Finished) -> None:
    row = next(iter(read_records(finished.project.data / "rewards.parquet", Reward)))
    for name in (row.trajectory_id, row.task_id):
        shown = finished.project.run("synthagent", "show", name)
        assert shown.returncode == 0, shown.stderr
        assert name in shown.stdout


def test_all_tasks_pass_validation(finished: Finished) -> None:
    validated = finished.project.run("synthagent", "validate", "data/tasks.parquet")
    accepted = finished.project.said("tasks")["accepted"]
    assert validated.returncode == 0
    assert validated.stdout == f"data/tasks.parquet: {accepted} of {accepted} tasks hold all proofs\n"


# --- running again --------------------------------------------------------------------------------------------------


def test_running_again_runs_nothing(small_project: Project) -> None:
    before = files_under(small_project.data), (small_project.folder / "dvc.lock").read_bytes()
    compiled = small_project.run("python", "-O", "-m", "compileall", "-q", "synthagent")
    assert compiled.returncode == 0
    again = small_project.repro()
    assert again.returncode == 0, again.stderr
    assert "Running stage" not in again.stdout
    assert (files_under(small_project.data), (small_project.folder / "dvc.lock").read_bytes()) == before


def test_only_what_depends_on_a_change_is_due(small_project: Project) -> None:
    small_project.params(evaluate__tasks=5)
    dry = small_project.repro("--dry")
    assert re.findall(r"Running stage '(\w+)'", dry.stdout) == ["evaluate", "report"]  # the report names params


def test_rewards_come_from_the_stored_rollouts_alone(small_project: Project) -> None:
    before = (small_project.data / "rewards.parquet").read_bytes()
    shutil.rmtree(small_project.data / "models")
    (small_project.data / "rewards.parquet").unlink()
    assert small_project.stage("rewards").returncode == 0
    assert (small_project.data / "rewards.parquet").read_bytes() == before


@pytest.mark.slow
def test_a_run_that_is_killed_at_random_moments_ends_with_the_same_bytes(
    finished: Finished, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Another clone, in another folder, killed as a whole while three of the stages ran, and started again."""
    project = new_project(tmp_path / "second", source=finished.project.folder)
    (project.folder / "dvc.lock").unlink()
    chance = random.Random(time.time_ns())
    moments = []
    for stage in ("tasks", "sft", "grpo"):
        log = tmp_path / f"{stage}.log"
        process = project.start(log, "dvc", "repro")
        begun = f"Running stage '{stage}'"
        wait_for(begun, lambda log=log, begun=begun: begun in log.read_text())
        moments.append((stage, chance.uniform(0, finished.project.said(stage)["seconds"] + 1)))
        time.sleep(moments[-1][1])
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        wait_for("the end of all processes", lambda: not processes_in(project.folder))
    record_property("killed at", moments)
    last = project.repro()
    assert last.returncode == 0, (moments, last.stdout + last.stderr)
    assert project.locked() == finished.project.locked(), moments
    assert "Running stage" not in project.repro().stdout
    left = [path for path in files_under(project.data) if path.name.startswith(".") and path.name != ".gitignore"]
    assert left == []


# --- other params ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_grpo_runs_on_two_processes(small_project: Project) -> None:
    small_project.params(compute__processes=2, grpo__steps=1)
    trained = small_project.stage("grpo")
    assert trained.returncode == 0, trained.stderr
    assert small_project.said("grpo")["steps"] == 1
    lines = (small_project.data / "plots" / "grpo.csv").read_text().splitlines()
    assert len(lines) == 2


def test_where_no_episodes_differ_grpo_says_so_and_takes_all_tasks_and_may_take_no_step(small_project: Project) -> None:
    path = small_project.data / "rewards.parquet"
    nothing = {"reward": 0.0, "reward_paper": 0.0}
    rows = [row.model_copy(update=nothing) for row in read_records(path, Reward)]
    write_records(path, Reward, rows)
    small_project.params(grpo__steps=0)
    trained = small_project.stage("grpo")
    assert trained.returncode == 0, trained.stderr
    prompts = SMALL["rollouts.tasks"] // 2
    why = f"({prompts} earned nothing in all of them, 0 everything, 0 the same between)"
    assert f"no prompt has rollouts that differ in reward {why}; training on all {prompts} instead" in trained.stdout
    metrics = small_project.said("grpo")
    assert (metrics["candidates"], metrics["steps"]) == (0, 0)
    models = small_project.data / "models"
    assert (models / "grpo" / "model.safetensors").read_bytes() == (models / "sft" / "model.safetensors").read_bytes()


def tasks_from(project: Project, personas: Path, proposals: int) -> None:
    """Make tasks from a file of personas, and prove them again."""
    project.params(personas__path=str(personas), personas__count=1_000, tasks__count=proposals)
    for stage in ("personas", "tasks"):
        ran = project.stage(stage)
        assert ran.returncode == 0, ran.stderr
    validated = project.run("synthagent", "validate", "data/tasks.parquet")
    assert validated.returncode == 0, validated.stdout
    metrics = project.said("tasks")
    assert metrics["proposed"] == proposals
    assert metrics["accepted"] > 0.8 * proposals


def test_personas_of_ones_own_give_tasks_that_hold_all_proofs(tmp_path: Path) -> None:
    project = new_project(tmp_path / "own")
    texts = ["A nurse who reads \u5c0f\u8bf4", 'A "baker" <|im_end|> {with} \\ braces', "x", "a " * 900]
    lines = [json.dumps({"text": text, "id": f"own-{number}"}) for number, text in enumerate(texts)]
    (project.folder / "mine.jsonl").write_text("\n".join(lines))
    tasks_from(project, Path("mine.jsonl"), 120)
    ids = pq.read_table(project.data / "tasks.parquet")["persona_id"].to_pylist()
    assert set(ids) == {f"own-{number}" for number in range(len(texts))}


@pytest.mark.skipif(not REAL_PERSONAS.exists(), reason="no file of real personas beside the checkout")
def test_real_personas_give_tasks_that_hold_all_proofs(tmp_path: Path) -> None:
    project = new_project(tmp_path / "real")
    tasks_from(project, REAL_PERSONAS, 600)
    assert project.said("personas")["personas"] > 100
