"""A checkpoint's lineage is found by its content: in `dvc.lock` here, in history, for a copy elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.projects import ROOT, assert_one_message, synthagent, write_params

from synthagent.history import folder_as_locked, lock_here
from synthagent.llm.store import FOLDER, Reply, ResponseStore, canonical
from synthagent.records import Persona
from synthagent.store import write_records

TRAIN = (
    "import json, pathlib, sys, yaml\n"
    "given = yaml.safe_load(open('params.yaml'))\n"
    "out = pathlib.Path(sys.argv[1])\n"
    "(out / 'sub').mkdir(parents=True)\n"
    "(out / 'config.json').write_text(json.dumps(given['sft']))\n"
    "(out / 'sub' / 'weights').write_bytes(b'w' * 300_000)\n"
    "(out / 'sub.x').write_text(sys.argv[1])\n"
)
STAGES: dict[str, Any] = {  # short stages under the real names, so that a lock is DVC's own
    "personas": {
        "cmd": "mkdir -p data && cp made.parquet data/personas.parquet",
        "deps": ["made.parquet", "synthagent/errors.py"],
        "params": ["personas"],
        "outs": ["data/personas.parquet"],
    },
    "sft": {
        "cmd": f"{sys.executable} train.py data/models/sft",
        "deps": ["data/personas.parquet", "synthagent/domains", "synthagent/sft.py"],
        "params": ["seed", "sft", "roles.teacher"],
        "outs": ["data/models/sft"],
    },
    "grpo": {
        "cmd": f"{sys.executable} train.py data/models/grpo",
        "deps": ["data/models/sft", "synthagent/grpo.py"],
        "params": ["grpo.steps"],
        "outs": ["data/models/grpo"],
    },
}
TEACHER = {"backend": "openai", "base_url": "http://127.0.0.1:9/v1", "model": "large"}


def run(folder: Path, *command: str) -> str:
    env = os.environ | {"DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def git(folder: Path, *args: str) -> str:
    return run(folder, "git", "-c", "user.name=A", "-c", "user.email=a@b.c", *args)


def trained(folder: Path, said: str, changes: dict[str, Any] | None = None) -> None:
    """Run the stages and commit."""
    write_params(folder, {"seed": 7, "roles.teacher": TEACHER, **(changes or {})})
    run(folder, sys.executable, "-m", "dvc", "repro", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", said)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two trainings in its history, of which the second is here; not to be written to."""
    folder = tmp_path_factory.mktemp("lineage") / "project"
    for name in ("errors.py", "sft.py", "grpo.py", "domains/bank.yaml", "domains/gym/hall.yaml"):
        (folder / "synthagent" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "synthagent" / name).write_text(name)
    (folder / "train.py").write_text(TRAIN)
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}, sort_keys=False))
    (folder / ".gitignore").write_text("/data\n.cache\n")
    people = [Persona(id=f"p{n}", text="a baker", source="mine.jsonl" if n else "built-in") for n in range(3)]
    write_records(folder / "made.parquet", Persona, people)
    git(folder, "init", "-q")
    run(folder, sys.executable, "-m", "dvc", "init", "-q")
    trained(folder, "the first run")
    shutil.copytree(folder / "data" / "models" / "grpo", folder.parent / "kept")
    trained(folder, "the second run", {"sft.demos": 12})
    return folder


@pytest.fixture
def project(repository: Path, tmp_path: Path) -> Path:
    """A copy, to do anything with."""
    shutil.copytree(repository, tmp_path / "project", symlinks=True)
    return tmp_path / "project"


def lineage(folder: Path, *args: str) -> str:
    finished = synthagent("lineage", *args, cwd=folder)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_a_folder_has_the_hash_that_dvc_gave_it(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    for stage in ("sft", "grpo"):
        (out,) = lock_here()[stage].outs
        there = folder_as_locked(Path("data/models") / stage)
        assert (there.md5, there.size, there.files) == (out.md5, out.size, out.files)


def test_a_checkpoint_tells_code_params_personas_data_and_responses(repository: Path) -> None:
    said = lineage(repository, "data/models/grpo")
    commit = git(repository, "rev-parse", "HEAD")[:10]
    assert "written as  data/models/grpo by stage grpo" in said
    assert f"recorded in {commit} of " in said
    assert ": the second run" in said
    assert "4 files and folders of personas, sft, grpo\n            all as in that commit" in said
    assert "seed        7" in said
    assert "sft.demos: 12 (default 14000)" in said
    assert 'roles.teacher.model: "large" (there is no such default)' in said
    assert "grpo.steps" not in said  # as by default
    assert "personas    3: 2 mine.jsonl, 1 built-in" in said
    assert "read        data/models/sft: 3 files, 0.3 MB, md5 " in said
    assert "responses   teacher: large at http://127.0.0.1:9/v1: none in .cache/llm here; `synthagent cache" in said


def test_a_copy_elsewhere_of_an_earlier_training_is_found_in_history(repository: Path) -> None:
    said = lineage(repository, str(repository.parent / "kept"))
    assert "written as  data/models/grpo by stage grpo" in said
    assert ": the first run" in said
    assert "sft.demos" not in said
    assert ": the first run" in lineage(repository, str(repository.parent / "kept"), "--rev", "HEAD~1")


def test_sft_rests_on_less_and_whole_json_has_every_hash_and_param(repository: Path) -> None:
    found = json.loads(lineage(repository, "data/models/sft", "--json"))
    assert [stage["name"] for stage in found["stages"]] == ["personas", "sft"]
    assert found["params"]["sft"]["demos"] == 12
    assert found["params"]["roles"]["teacher"]["model"] == "large"
    assert {"synthagent/domains", "synthagent/sft.py"} <= {dep["path"] for dep in found["stages"][1]["deps"]}


def test_the_store_says_how_many_answers_there_are_and_what_their_keys_come_to(project: Path) -> None:
    with closing(ResponseStore(project / FOLDER)) as store:
        for n, model in enumerate(["large", "large", "other"]):
            store.put("teacher", model, canonical({"n": n}), None, Reply(text="yes"))
    said = lineage(project, "data/models/grpo")
    assert "teacher: large at http://127.0.0.1:9/v1: 2 replies in .cache/llm, sha256 of their keys " in said


def test_code_that_was_never_committed_is_named(project: Path) -> None:
    (project / "synthagent" / "grpo.py").write_text("edited")
    (project / "synthagent" / "domains" / "new.yaml").write_text("new")
    run(project, sys.executable, "-m", "dvc", "repro", "-q")
    said = lineage(project, "data/models/grpo")
    assert "recorded in dvc.lock here, which is not committed" in said
    assert "2 not as in HEAD: synthagent/domains, synthagent/grpo.py" in said


def test_an_experiment_beside_the_branch_is_found(project: Path) -> None:
    run(project, sys.executable, "-m", "dvc", "exp", "run", "-q", "-S", "sft.demos=5", "-n", "fewer")
    shutil.copytree(project / "data" / "models" / "sft", project.parent / "mine")
    git(project, "checkout", "-q", "--", ".")
    run(project, sys.executable, "-m", "dvc", "checkout", "-q")
    assert "sft.demos: 5 (default 14000)" in lineage(project, str(project.parent / "mine"))


def test_what_has_no_lineage_is_told_in_a_line(project: Path) -> None:
    changed = project / "data" / "models" / "sft"
    assert_one_message(synthagent("lineage", "nowhere", cwd=project), "nowhere: no such folder", "dvc pull")
    assert_one_message(synthagent("lineage", "data", cwd=project), "data: not a checkpoint", "config.json")
    gone = synthagent("lineage", str(changed), "--rev", "gone", cwd=project)
    assert_one_message(gone, "revision 'gone'", "git log -- dvc.lock")
    kept = str(project.parent / "kept")
    shutil.copytree(changed, kept)
    earlier = synthagent("lineage", kept, "--rev", "HEAD~1", cwd=project)
    assert_one_message(earlier, "is no out in dvc.lock of HEAD~1", "leave --rev out")
    (Path(kept) / "config.json").write_text("{}")
    assert_one_message(synthagent("lineage", kept, cwd=project), "nor in any commit or experiment", "changed")
    (project / "dvc.lock").write_text("stages: [")
    assert_one_message(
        synthagent("lineage", str(changed), cwd=project), "dvc.lock: not what DVC writes", "git checkout"
    )


def test_without_git_the_lock_that_is_here_is_enough(project: Path) -> None:
    shutil.rmtree(project / ".git")
    said = lineage(project, "data/models/grpo")
    assert "dvc.lock here, which is not committed" in said
    assert "no commit here to compare them with" in said


def test_the_lock_of_this_repository_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert {"data/models/sft", "data/models/grpo"} <= {out.path for s in lock_here().values() for out in s.outs}
