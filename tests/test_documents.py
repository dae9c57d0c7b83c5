"""Every command in README.md and docs/ is run here in a small finished project, or listed with the reason why not.

Launch: `make commands` prints the lists.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from helpers.agenticqwen import item
from helpers.projects import ROOT
from helpers.run import build_dataset

WRITTEN_BY_CODE = ROOT / "docs/reference"  # `docs/reference.py`
DOCUMENTS = (
    ROOT / "README.md",
    *(path for path in sorted((ROOT / "docs").rglob("*.md")) if path.parent != WRITTEN_BY_CODE),
)
PROGRAMS = r"(?:synthagent|dvc|make|python|prefect|git|source|pip|curl|[A-Z_]+=\S+)(?=\s)"

RUN = (  # in an order in which each finds what it needs
    "make help",
    "synthagent --help",
    "synthagent profile --help",
    "synthagent show task-0000027",
    "synthagent show task-0000027.sft.0",
    "synthagent play task-0000027",
    "synthagent validate data/tasks.parquet",
    "synthagent schema task",
    "synthagent results",
    "synthagent list --policy grpo --failed constraint --sort reward",
    "synthagent list --split heldout --min-reward 0.5 --as jsonl",
    "synthagent view --out episodes.html",
    "synthagent doctor",
    "synthagent personas",
    "synthagent tasks",
    "synthagent domain sample --count 20 --seed 7 --out tasks.html",
    "synthagent domain sample --count 20 --seed 7 --tasks data/tasks.parquet -o tasks.html",
    "python -m benchmarks.scaling",
    "synthagent import agenticqwen FILE.json -o tasks.parquet",
    "synthagent validate tasks.parquet",
    "synthagent export messages chat.jsonl",
    "synthagent export messages good.jsonl --source rollouts --min-reward 0.5",
    "synthagent export verl for-verl",
    "synthagent export hf for-hf",
    "synthagent export verifiers for-verifiers",
    "synthagent export openenv for-openenv",
    "synthagent schema trajectory",
    "synthagent export inspect logs",
    "dvc plots show",
    "synthagent profile vllm-cpu",
    "synthagent profile smollm2",
    "synthagent profile one-gpu",
    "synthagent profile embedded",
    "python docs/how_to/world_by_hand.py mine.parquet",
    "synthagent validate mine.parquet",
    "python docs/how_to/world_by_hand.py data/tasks.parquet",
    "synthagent show boat-1",
    "python -m benchmarks.replicate --plan",
)


class Reason(NamedTuple):
    """Why a command is not run here; and, where another test runs it, which, and what of it stands in that test."""

    why: str
    test: str = ""
    words: str = ""


LONG, NO_END, UNDER_GIT, A_PART = "it takes long", "it does not end", "it needs a run under git", "no whole command"
SERVER, SHELL, POOL = "it needs a server", "it changes the shell that it is typed in", "tests/test_flows_for_real.py"
FLOW_PROJECT = "tests/helpers/flow_project.py"
SHARING, FLOWS, REPLICATE = "tests/test_sharing.py", "tests/test_flows.py", "tests/benchmarks/test_replicate.py"
SUITES, TAU2, PROBLEMS = "tests/suites/test_bfcl.py", "tests/suites/test_tau2.py", "tests/suites/test_problems.py"
REMOTES = "tests/ops/test_remotes.py"
BROWSER = "tests/showing/test_browser.py"
ESCAPES = "tests/benchmarks/test_escapes.py"
NATURAL = "tests/teacher/natural/test_check.py"
MCP, PACKAGES = "tests/exchange/test_mcp_world.py", "tests/exchange/test_packages.py"
PERSONAS, REASONING, SHOWN = (
    f"tests/{name}.py" for name in ("stages/test_personas", "stages/test_reasoning", "showing/test_show")
)
NOT_RUN = {
    "python -m synthagent.ops.plots_page": Reason(
        "it needs vl-convert-python", "tests/test_plots.py", "plots_page import page"
    ),
    "make repro": Reason(LONG, "tests/test_pipeline.py", "repro("),
    "make PYTHON=python3.12 repro": Reason("it needs that interpreter"),
    "make test": Reason("it runs this test"),
    "pip install 'synthagent[reasoning]'": Reason("it needs a network"),
    "synthagent reasoning": Reason("it may need an isolation that is not here", REASONING, 'synthagent("reasoning"'),
    "synthagent show problem-0000012": Reason("the small project has no problems", SHOWN, 'shown("problem-0000003"'),
    "make replicate": Reason(LONG, REPLICATE, "COMMAND"),
    "make replicate-all": Reason(LONG, REPLICATE, "cells_of(ALL)"),
    "python -m benchmarks.replicate": Reason(A_PART),
    "make transfer": Reason(LONG, "tests/benchmarks/test_transfer.py", '"benchmarks.transfer"'),
    "python -m benchmarks.transfer": Reason(A_PART),
    "make docs": Reason("it would install", "tests/test_docs.py", "def build("),
    "make commands": Reason("it would install", "tests/test_documents.py", "def lines("),
    "make notebook": Reason(NO_END, "tests/test_notebooks.py", "jupyter lab --ServerApp"),
    "make ui": Reason(NO_END, FLOW_PROJECT, "`python -m flows.serve`"),
    "synthagent view": Reason(NO_END, BROWSER, "server_of(page, 0)"),
    "synthagent view --rev HEAD~1": Reason(UNDER_GIT, BROWSER, '"view", "--rev"'),
    "synthagent --install-completion": Reason("it changes the shell's own files", "tests/test_cli.py", "COMPLETE"),
    "synthagent export inspect": Reason(A_PART),
    "python -m benchmarks.browser": Reason(LONG, "tests/benchmarks/test_pages.py", "browser.main("),
    "python -m benchmarks.pictures": Reason("it needs Chromium", "tests/benchmarks/test_pages.py", "pictures.main("),
    "make smollm2": Reason("it needs a network"),
    "make smollm2 bench-suites": Reason("it needs a network"),
    "make bench-train": Reason(LONG, "tests/benchmarks/test_train.py", '"benchmarks.train"'),
    "make bench-suites": Reason("it needs a network"),
    "python -m benchmarks.train --only gpu": Reason("it needs a GPU"),
    "synthagent evaluate --suite bfcl --policy gold": Reason(LONG, SUITES, '"--policy", "gold"'),
    "synthagent evaluate --suite bfcl --policy grpo --count 50": Reason(LONG),
    "synthagent evaluate --suite bfcl --policy endpoint --style prompt --categories simple_python,irrelevance": Reason(
        "it needs a model"
    ),
    "synthagent evaluate --suite tau2 --policy gold": Reason(LONG, TAU2, '["gold"]'),
    "synthagent evaluate --suite tau2 --policy endpoint --categories mock,retail --trials 4": Reason(
        "it needs a model"
    ),
    "synthagent variety --tasks data/tasks.parquet --suite bfcl": Reason(
        "it needs the environment of a suite", "tests/suites/test_variety.py", '"--suite", "bfcl"'
    ),
    "synthagent domain check FILE": Reason("it needs a file of yours", NATURAL, 'synthagent("domain", "check"'),
    "synthagent decontaminate": Reason("it needs a suite", PROBLEMS, 'synthagent("decontaminate", cwd'),
    "synthagent decontaminate --suites none --files mine.jsonl --files more/": Reason(
        "the files are an example", "tests/stages/test_tasks.py", '"--suites", "none", "--files"'
    ),
    "synthagent export problems": Reason("it needs a suite", PROBLEMS, '"export", "problems"'),
    "synthagent evaluate --suite agentdojo --policy gold": Reason(LONG, "tests/suites/test_agentdojo.py", '["gold"]'),
    "make vllm-cpu": Reason("it needs a network"),
    "make vllm-gpu": Reason("it needs a network and a GPU"),
    "pip install -c constraints.txt 'synthagent[ray]'": Reason("it needs a network"),
    "NUM_MACHINES=2 MACHINE_RANK=0 MAIN_PROCESS_IP=10.0.0.1 synthagent grpo": Reason(
        "the address is an example", "tests/student/test_launch.py", '"NUM_MACHINES": "2"'
    ),
    "synthagent serve-world task-0000027": Reason("it waits for a client", MCP, "await on_stdio("),
    "synthagent serve-world task-0000027 --http 8000 --record played.jsonl": Reason(NO_END, MCP, '"--record"'),
    "pip install mcp": Reason("it needs a network"),
    "pip install for-verifiers": Reason("it installs where a trainer is", PACKAGES, 'installed("verifiers"'),
    "pip install for-openenv": Reason("it installs where a trainer is", PACKAGES, 'installed("openenv"'),
    "benchmarks/peers/setup.sh verifiers openenv": Reason("it needs a network"),
    "python -m benchmarks.worlds_for_others": Reason(A_PART),
    "python -m benchmarks.worlds_for_others --count 25": Reason(
        "it needs environments of others", PACKAGES, "told_by("
    ),
    "source .venv/bin/activate": Reason("it changes the shell that it is typed in"),
    "dvc repro": Reason(LONG, "tests/test_pipeline.py", "repro("),
    "dvc repro --single-item": Reason(A_PART),
    "dvc repro -f sft": Reason(LONG),
    "dvc exp run": Reason(A_PART),
    "dvc exp run -S grpo.steps=3": Reason(LONG, SHARING, '"exp", "run", "-S", "grpo.steps=3"'),
    "dvc exp run --queue -S 'grpo.steps=10,20'": Reason(LONG, SHARING, '"exp", "run", "--queue", "-S"'),
    "dvc exp run --queue -S 'seed=1,2' -S 'reward.formula=cubed,product'": Reason(LONG),
    "dvc exp run --run-all -j 1": Reason(LONG, SHARING, '"--run-all", "-j", "1"'),
    "dvc queue status": Reason(UNDER_GIT, SHARING, '"queue", "status"'),
    "dvc queue start": Reason(NO_END),
    "dvc queue logs NAME": Reason(UNDER_GIT),
    "dvc params diff main NAME": Reason(UNDER_GIT, SHARING, '"params", "diff"'),
    "dvc plots diff main NAME": Reason(UNDER_GIT, SHARING, '"plots", "diff"'),
    "dvc exp apply NAME": Reason(UNDER_GIT, SHARING, '"exp", "apply"'),
    "dvc exp branch NAME a-branch": Reason(UNDER_GIT),
    "dvc exp remove NAME": Reason(UNDER_GIT, SHARING, '"exp", "remove"'),
    "synthagent report-card --against main": Reason(UNDER_GIT, "tests/showing/test_joined.py", '"--against", "HEAD~1"'),
    "synthagent lineage data/models/grpo --json": Reason(UNDER_GIT, "tests/ops/test_lineage.py", '"--json"'),
    "pip install -c constraints.txt 'synthagent[s3]'": Reason("it needs a network"),
    "dvc remote add -d storage s3://bucket/synthagent": Reason(
        "the place is an example", REMOTES, '"add", "-d", "storage"'
    ),
    "dvc remote modify storage endpointurl http://127.0.0.1:9000": Reason(
        "the place is an example", REMOTES, '"modify", "storage", "endpointurl"'
    ),
    "dvc remote modify storage endpointurl ..": Reason(A_PART),
    "dvc remote modify --local": Reason(A_PART),
    "dvc remote list": Reason(UNDER_GIT),
    "AWS_ACCESS_KEY_ID=.. AWS_SECRET_ACCESS_KEY=.. dvc push": Reason("it needs a key", REMOTES, '"push", keys=True'),
    "dvc exp show": Reason(UNDER_GIT, SHARING, '"exp", "show"'),
    "dvc plots show .cache/live/grpo.csv -t steps -x step -y reward": Reason(
        "it needs a training", "tests/test_plots.py", '".cache/live/grpo.csv", "-t", "steps"'
    ),
    "synthagent report-card": Reason(UNDER_GIT, "tests/showing/test_joined.py", '"report-card"'),
    "synthagent lineage data/models/grpo": Reason(UNDER_GIT, "tests/ops/test_lineage.py", '"data/models/grpo"'),
    "dvc metrics diff": Reason(UNDER_GIT, SHARING, '"metrics", "diff"'),
    "dvc status": Reason(UNDER_GIT, SHARING, '"dvc", "status"'),
    "dvc remote add -d storage /mnt/synthagent": Reason("the place is an example", SHARING, '"remote", "add", "-d"'),
    "dvc push": Reason("it needs a remote", SHARING, '"dvc", "push"'),
    "dvc pull": Reason("it needs a remote", SHARING, '"dvc", "pull"'),
    "dvc add": Reason(A_PART),
    "dvc checkout": Reason("it needs an earlier run", SHARING, '"checkout"'),
    "dvc commit -f tasks": Reason("it needs an earlier run", SHARING, '"commit", "-f", "tasks"'),
    "dvc repro rubrics": Reason("it needs an earlier run", SHARING, '"repro", "rubrics"'),
    "dvc repro -f tasks": Reason("it needs an earlier run", SHARING, '"repro", "-f", "tasks"'),
    "git worktree": Reason(A_PART),
    "synthagent import": Reason(A_PART),
    "synthagent serve": Reason(A_PART),
    "synthagent serve teacher": Reason(NO_END, "tests/ops/test_serve.py", '"serve", "teacher"'),
    "synthagent serve policy": Reason(NO_END, "tests/student/test_vllm_student.py", 'served(self.params, "policy"'),
    "synthagent profile": Reason(A_PART),
    "synthagent judge-report": Reason("it needs a model", "tests/judging/test_judge_report.py", '"judge-report"'),
    "synthagent cache export data/responses.jsonl.gz": Reason(
        "it needs answers of a model", "tests/llm/test_store.py", "export_store("
    ),
    "python -m flows.pipeline": Reason(LONG, FLOWS, 'flow("pipeline")'),
    "python -m flows.tasks": Reason(LONG, FLOWS, 'flow("personas")'),
    "python -m benchmarks.pictures notebook": Reason(LONG, "tests/benchmarks/test_pages.py", 'main(["notebook"])'),
    "python -m benchmarks.redteam": Reason(LONG, "tests/benchmarks/test_redteam.py", "redteam.main(["),
    "python -m benchmarks.escapes": Reason(LONG, ESCAPES, "attempt(attack, pool"),
    "python -m benchmarks.escapes --isolation rlimits": Reason(LONG, ESCAPES, '"--isolation", "rlimits"'),
    "python -m benchmarks.sandbox --rounds 1": Reason(LONG, "tests/benchmarks/test_sandbox.py", "from_pool(pool"),
    "python -m benchmarks.redteam --judge params.yaml": Reason(
        "it needs a model", "tests/benchmarks/test_redteam.py", "redteam.main([*given"
    ),
    "PREFECT_API_URL=http://127.0.0.1:4200/api prefect deployment run pipeline/pipeline": Reason(
        SERVER, FLOW_PROJECT, '"deployment", "run"'
    ),
    "export PREFECT_API_URL=http://127.0.0.1:4200/api": Reason(SHELL),
    "prefect deployment run pipeline/pipeline": Reason(SERVER, FLOWS, 'run_deployment("pipeline")'),
    """prefect deployment run pipeline/pipeline -p 'overrides={"grpo.steps": 20}'""": Reason(
        SERVER, FLOWS, 'overrides={"grpo.steps": 7}'
    ),
    "prefect deployment run grpo/stage-08-grpo -p force=true": Reason(SERVER, FLOWS, "force=True"),
    "dvc exp diff EXPERIMENT": Reason(UNDER_GIT, "tests/ops/test_experiment.py", '"exp", "diff"'),
    "dvc exp apply EXPERIMENT": Reason(UNDER_GIT, "tests/ops/test_experiment.py", '"exp", "apply"'),
    "dvc exp push": Reason("it needs a remote"),
    "dvc exp run --temp": Reason(A_PART),
    "dvc exp save": Reason(A_PART),
    "createdb prefect": Reason("it needs PostgreSQL", POOL, '"createdb"'),
    "export PREFECT_SERVER_DATABASE_CONNECTION_URL=postgresql+asyncpg://USER:PASSWORD@HOST/prefect": Reason(SHELL),
    "export PREFECT_UI_API_URL=/api": Reason(SHELL),
    "export PREFECT_SERVER_ANALYTICS_ENABLED=false": Reason(SHELL),
    "prefect server start --host 0.0.0.0": Reason(NO_END, POOL, '"prefect", "server", "start"'),
    "export PREFECT_API_URL=http://HOST:4200/api": Reason(SHELL),
    "prefect work-pool create --type process synthagent": Reason(SERVER, POOL, '"work-pool", "create"'),
    "prefect deploy": Reason(A_PART),
    "prefect deploy --all": Reason(SERVER, POOL, '"deploy", "--all"'),
    "export SYNTHAGENT_ROOT=$PWD": Reason(SHELL),
    "prefect worker start --pool synthagent": Reason(NO_END, POOL, '"worker", "start"'),
}


def commands_of(text: str) -> Iterator[str]:
    """The lines of blocks for a shell, without comments, and the commands among the words in backquotes."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose) if re.match(PROGRAMS, span)]
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if language not in ("", "sh", "bash", "console"):
            continue
        typed = [re.split(r"(?:^|\s+)# ", line)[0].strip() for line in block.splitlines()]
        if any(re.match(PROGRAMS, line) for line in typed):
            lines += [line for line in typed if line]
    for line in lines:
        yield from (part.strip() for part in line.split("&&"))


def test_the_search_for_commands_finds_them() -> None:
    text = (
        "Run `dvc repro`, read `params.yaml` and `dvc.yaml`; `synthagent` is a name.\n"
        "```\nsynthagent show X   # look\n# nothing\ncurl there && make it\nls\n```\n"
        "```yaml\nsynthagent: 1\n```\n```\ndvc.yaml     the pipeline\nsynthagent/\n```\n`A=b synthagent\nplay`\n"
    )
    assert sorted(commands_of(text)) == sorted(
        ["dvc repro", "A=b synthagent play", "synthagent show X", "curl there", "make it", "ls"]
    )


def test_every_command_is_run_or_listed_and_nothing_else_is() -> None:
    found = {command for path in DOCUMENTS for command in commands_of(path.read_text(encoding="utf-8"))}
    known = {*RUN, *NOT_RUN}
    assert found - known == set(), "run it, or list it with the reason why not"
    assert known - found == set(), "no document has it any more"
    assert not set(RUN) & set(NOT_RUN)


def test_the_tree_of_the_readme_lists_every_folder_of_the_package() -> None:
    tree = DOCUMENTS[0].read_text(encoding="utf-8").partition("## The tree")[2]
    folders = {path.name for path in (ROOT / "synthagent").rglob("*") if path.is_dir() and "__" not in path.name}
    assert {name for name in folders if not re.search(rf"^ +{name}/ ", tree, re.MULTILINE)} == set()


@pytest.mark.parametrize("command", [command for command, reason in NOT_RUN.items() if reason.test])
def test_a_command_that_another_test_runs_stands_in_that_test(command: str) -> None:
    reason = NOT_RUN[command]
    assert reason.words in (ROOT / reason.test).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a small run, a file to import, and DVC."""
    folder = tmp_path_factory.mktemp("documents")
    build_dataset(folder)
    (folder / "FILE.json").write_text(json.dumps([item()]))
    (folder / "docs/how_to").mkdir(parents=True)
    for name in ("Makefile", "dvc.yaml", "docs/how_to/world_by_hand.py"):
        shutil.copy(ROOT / name, folder / name)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=folder, check=True)
    shutil.copytree(ROOT / ".dvc" / "plots", folder / ".dvc" / "plots")
    return folder


@pytest.mark.slow
def test_the_commands_go_well_as_they_are_written(finished: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    for command in RUN:
        shell = ["bash", "-c", command]
        done = subprocess.run(shell, cwd=finished, env=env, input="", capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stdout[-500:], done.stderr[-500:])
        assert done.stdout, command


def lines() -> Iterator[str]:
    """Every command of the documents: run by this test, by another, or why by none."""
    yield f"{len(RUN)} commands are run as they are written:"
    yield from (f"  {command}" for command in RUN)
    elsewhere = {command: reason for command, reason in NOT_RUN.items() if reason.test}
    yield f"{len(elsewhere)} are run in part, or with other values, by another test:"
    yield from (f"  {command}  ({reason.why}; {reason.test})" for command, reason in elsewhere.items())
    yield f"{len(NOT_RUN) - len(elsewhere)} are not run:"
    yield from (f"  {command}  ({reason.why})" for command, reason in NOT_RUN.items() if not reason.test)


if __name__ == "__main__":
    print("\n".join(lines()))
