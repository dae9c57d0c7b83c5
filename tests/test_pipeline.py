"""A whole small pipeline through the public commands, in a copy of the project: what it leaves, what it survives."""

from __future__ import annotations

import ctypes
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
import yaml
from helpers.projects import ROOT, assert_one_message, figures_in, files_under, write_params

from synthagent.cli import STAGES
from synthagent.records import Reward
from synthagent.stage import PROGRESS_LINES
from synthagent.store import read_records, write_records

REAL_PERSONAS = ROOT.parent / "shared" / "data" / "personas.jsonl"
PATIENCE = 300.0

# The least training after which a student's episodes differ in reward: the formula that pays for asking, and no need
# of an answer, are params as any other.
SMALL = {
    "personas.count": 20,
    "tasks.count": 220,
    "tasks.difficulty_mix": [1, 0, 0],
    "tasks.blend_share": 0.0,
    "rubrics.skill": 1.0,
    "sft.vocab_size": 800,
    "sft.hidden_size": 32,
    "sft.layers": 2,
    "sft.heads": 2,
    "sft.demos": 300,
    "sft.batch_size": 4,
    "episode.max_turns": 8,
    "episode.max_tokens": 120,
    "episode.max_turn_tokens": 24,
    "rollouts.tasks": 24,
    "rollouts.samples": 3,
    "grpo.steps": 2,
    "grpo.tasks_per_step": 2,
    "grpo.group_size": 4,
    "evaluate.tasks": 6,
    "compute.processes": 1,
    "reward.formula": "paper",
    "reward.require_answer": False,
}

EPISODES = (
    "id, task_id, policy, sample, messages, n_turns, n_tool_calls, n_questions, end, mapping_hits, prompt_tokens, "
    "completion_tokens, error"
)
COLUMNS = {
    "personas": "id, text, source",
    "tasks": "id, persona_id, domain, difficulty, split, instruction, workflow, facts, tools, distractors, "
    "constraints, world_kind, world, reference, solvable, needs_user, constraint_live, no_leak, unique, provenance",
    "rejected": "id, stage, reason, detail, payload",
    "rubrics": "task_id, criteria, coverage",
    "demos": EPISODES,
    "rollouts": EPISODES,
    "rewards": "trajectory_id, task_id, gate, subgoals, interactions, reward, reward_paper, verdicts, status",
    "evaluation": "policy, benchmark, task_id, split, reward, gate, subgoals, interactions, n_turns, n_questions, end",
}
METRICS = {
    "tasks": "proposed accepted rejected tools_per_task domains tokens_per_accepted_task distinct_tools",
    "rubrics": "criteria_per_task decidable_share dropped",
    "rewards": "mean gate_violations errors",
    "evaluate": "policies grpo_minus_sft",
}
POLICIES = {"noop", "never_asks", "asks_only", "base", "sft", "grpo", "expert"}


@dataclass(frozen=True)
class Project:
    """A copy of the project's own files, whose code is what runs in it."""

    folder: Path

    @property
    def env(self) -> dict[str, str]:
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        ours = {"PATH": path, "PYTHONPATH": str(self.folder), "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1"}
        return os.environ | ours | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def run(
        self, *command: str, env: Mapping[str, str] | None = None, before: Callable[[], None] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.env | (env or {}),
            preexec_fn=before,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )

    def repro(self, *args: str) -> subprocess.CompletedProcess[str]:
        return self.run("dvc", "repro", *args)

    def stage(self, name: str, before: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
        return self.run("synthagent", name, before=before)

    def start(self, log: Path, *command: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a command as the head of a process group of its own, which writes to `log`."""
        with log.open("wb") as out:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.env | (env or {}),
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def params(self, **changes: Any) -> None:
        """Set the params to the small ones with some changed (`section__key`)."""
        write_params(self.folder, SMALL | {name.replace("__", "."): value for name, value in changes.items()})

    def said(self, stage: str) -> dict[str, Any]:
        """All that a stage said of its last run: metrics, details, timings."""
        return figures_in(self.folder, stage)

    def locked(self) -> dict[str, str]:
        """The md5 of every out but the metrics, by `dvc.lock`."""
        stages = yaml.safe_load((self.folder / "dvc.lock").read_text())["stages"]
        outs = [out for stage in stages.values() for out in stage["outs"]]
        return {out["path"]: out["md5"] for out in outs if not out["path"].startswith("data/metrics/")}


def new_project(folder: Path, source: Path = ROOT) -> Project:
    """What a clone of `source` would have, and what is not committed yet."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=source, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (source / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, folder / name)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    project = Project(folder)
    project.params()
    return project


@dataclass(frozen=True)
class Finished:
    """A project in which everything has run, and what that printed; not to be written to."""

    project: Project
    printed: str


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    project = new_project(tmp_path_factory.mktemp("first"))
    ran = project.repro()
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return Finished(project, ran.stdout)


@pytest.fixture
def project(finished: Finished, tmp_path: Path) -> Project:
    """A copy of the finished project, to do anything with."""
    shutil.copytree(finished.project.folder, tmp_path / "copy", symlinks=True)
    return Project(tmp_path / "copy")


def wait_for(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"in {PATIENCE} s not seen: {what}"
        time.sleep(0.02)


def processes_in(folder: Path) -> list[str]:
    """What still runs in a folder."""
    found = [p.info for p in psutil.process_iter(["cwd", "status", "cmdline"], ad_value=None)]
    return [" ".join(p["cmdline"] or ()) for p in found if p["cwd"] == str(folder) and p["status"] != "zombie"]


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
    assert set(COLUMNS[name].split(", ")) <= set(found)
    if name != "evaluation":
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
        assert all(figures["n"] == SMALL["evaluate.tasks"] for figures in splits.values())


def test_the_student_was_trained_on_tasks_whose_episodes_differ(finished: Finished) -> None:
    grpo = finished.project.said("grpo")
    assert grpo["candidates"] > 0
    assert grpo["steps"] == SMALL["grpo.steps"]
    lines = (finished.project.data / "plots" / "grpo.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["step", "1", "2"]
    models = finished.project.data / "models"
    for file, same in (("tokenizer.json", True), ("model.safetensors", False)):
        assert ((models / "sft" / file).read_bytes() == (models / "grpo" / file).read_bytes()) == same


def test_the_results_are_printed_again_on_request(finished: Finished) -> None:
    printed = finished.project.run("synthagent", "results").stdout
    assert printed.strip() in finished.printed
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


def test_running_again_runs_nothing(project: Project) -> None:
    before = files_under(project.data), (project.folder / "dvc.lock").read_bytes()
    compiled = project.run("python", "-O", "-m", "compileall", "-q", "synthagent")
    assert compiled.returncode == 0
    again = project.repro()
    assert again.returncode == 0, again.stderr
    assert "Running stage" not in again.stdout
    assert (files_under(project.data), (project.folder / "dvc.lock").read_bytes()) == before


def test_only_what_depends_on_a_change_is_due(project: Project) -> None:
    project.params(evaluate__tasks=5)
    dry = project.repro("--dry")
    assert re.findall(r"Running stage '(\w+)'", dry.stdout) == ["evaluate"]


def test_rewards_come_from_the_stored_rollouts_alone(project: Project) -> None:
    before = (project.data / "rewards.parquet").read_bytes()
    shutil.rmtree(project.data / "models")
    (project.data / "rewards.parquet").unlink()
    assert project.stage("rewards").returncode == 0
    assert (project.data / "rewards.parquet").read_bytes() == before


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


# --- what goes wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"personas__count": "many"}, ("params.yaml: personas.count", "'many'")),
        ({"personas__cuont": 5}, ("params.yaml: personas.cuont", "unknown key")),
        ({"personas__path": "nothing.jsonl"}, ("nothing.jsonl", "No such file")),
    ],
)
def test_after_a_bad_param_dvc_stops_and_the_outs_are_those_of_the_last_run(
    changes: dict[str, Any], parts: tuple[str, ...], project: Project
) -> None:
    """DVC removes the outs of a stage before it runs its command."""
    before = files_under(project.data)
    project.params(**changes)
    failed = project.repro()
    assert failed.returncode != 0
    assert "Running stage 'personas'" in failed.stdout
    assert "Traceback" not in failed.stderr
    (said,) = [line for line in failed.stderr.splitlines() if line.startswith("synthagent: ")]
    for part in parts:
        assert part in said
    assert files_under(project.data) == before
    project.params()
    assert "Running stage" not in project.repro().stdout
    assert files_under(project.data) == before


@pytest.mark.parametrize(
    ("stage", "changes", "parts"),
    [
        ("sft", {"sft__hidden_size": 30}, ("params.yaml: sft.hidden_size / sft.heads", "15")),
        ("grpo", {"compute__processes": 3}, ("params.yaml: grpo.tasks_per_step * grpo.group_size", "(3)")),
    ],
)
def test_a_size_that_cannot_be_is_told(
    stage: str, changes: dict[str, Any], parts: tuple[str, ...], project: Project
) -> None:
    before = files_under(project.data)
    project.params(**changes)
    assert_one_message(project.stage(stage), *parts)
    assert files_under(project.data) == before


def with_little_disk() -> None:
    """No file may grow beyond 8 kB: to a program, a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_192, 8_192))


def as_ordinary_user() -> None:
    """Give up root's right to write what is not writable (for others there is nothing to give up)."""
    bounding_set_drop, override = 24, 1
    ctypes.CDLL(None).prctl(bounding_set_drop, override, 0, 0, 0)


@pytest.mark.parametrize("stage", ["tasks", "rubrics", "sft"])
def test_on_a_full_disk_a_stage_says_so_and_keeps_what_was_there(stage: str, project: Project) -> None:
    before = files_under(project.data)
    assert_told(project.stage(stage, before=with_little_disk), "cannot be written: ", "File too large")
    assert files_under(project.data) == before


@pytest.mark.parametrize("place", ["data", "data/metrics"])
def test_where_nothing_may_be_written_a_stage_says_so_and_keeps_what_was_there(place: str, project: Project) -> None:
    before = files_under(project.data)
    folders = [path for path in (project.folder / place, *(project.folder / place).rglob("*")) if path.is_dir()]
    for path in folders:
        path.chmod(0o555)
    try:
        assert_told(project.stage("rubrics", before=as_ordinary_user), "cannot be written: ", "Permission denied")
    finally:
        for path in folders:
            path.chmod(0o755)
    assert files_under(project.data) == before


def assert_told(finished: subprocess.CompletedProcess[str], *parts: str) -> None:
    """As `assert_one_message`, but the stage may have said other things before."""
    assert finished.returncode == 1, finished
    assert "Traceback" not in finished.stderr
    (line,) = [line for line in finished.stderr.splitlines() if line.startswith("synthagent: ")]
    assert finished.stderr.strip().endswith(line)
    for part in parts:
        assert part in line


def test_ctrl_c_while_a_stage_still_loads_puts_back_what_dvc_removed(project: Project, tmp_path: Path) -> None:
    before = files_under(project.data)
    shutil.rmtree(project.data / "models" / "sft")
    (project.data / "metrics" / "sft.json").unlink()
    log = tmp_path / "log"
    process = project.start(log, "synthagent", "sft")
    wait_for("the import of torch", lambda: "libtorch" in Path(f"/proc/{process.pid}/maps").read_text())
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE) == 130, log.read_text()
    assert log.read_text() == "synthagent: interrupted; the outs of the last complete run are in place\n"
    assert files_under(project.data) == before


def test_ctrl_c_in_a_training_of_two_processes_ends_both_with_one_line(project: Project, tmp_path: Path) -> None:
    before = files_under(project.data)
    project.params(compute__processes=2, sft__layers=6)
    log = tmp_path / "log"
    process = project.start(log, "synthagent", "sft", env={PROGRESS_LINES: "1"})
    wait_for("a step of the training", lambda: "@progress" in log.read_text() or process.poll() is not None)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE) == 130, log.read_text()
    said = [line for line in log.read_text().splitlines() if not line.startswith(("@progress", "{"))]
    assert said[-1] == "synthagent: interrupted; the outs of the last complete run are in place"
    assert "Traceback" not in log.read_text()
    assert len(said) == 2, said
    wait_for("the end of all processes", lambda: not processes_in(project.folder))
    assert files_under(project.data) == before


# --- other params ---------------------------------------------------------------------------------------------------


def test_grpo_runs_on_two_processes(project: Project) -> None:
    project.params(compute__processes=2, grpo__steps=1)
    trained = project.stage("grpo")
    assert trained.returncode == 0, trained.stderr
    assert project.said("grpo")["steps"] == 1
    lines = (project.data / "plots" / "grpo.csv").read_text().splitlines()
    assert len(lines) == 2


def test_where_no_episodes_differ_grpo_says_so_and_takes_all_tasks_and_may_take_no_step(project: Project) -> None:
    path = project.data / "rewards.parquet"
    nothing = {"reward": 0.0, "reward_paper": 0.0}
    rows = [row.model_copy(update=nothing) for row in read_records(path, Reward)]
    write_records(path, Reward, rows)
    project.params(grpo__steps=0)
    trained = project.stage("grpo")
    assert trained.returncode == 0, trained.stderr
    assert f"no task has rollouts that differ in reward; training on all {SMALL['rollouts.tasks']}" in trained.stdout
    metrics = project.said("grpo")
    assert (metrics["candidates"], metrics["steps"]) == (0, 0)
    models = project.data / "models"
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
