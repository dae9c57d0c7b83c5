"""A run with other params: what is refused, what its worktree begins with, and that ours stays as it is."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.serialize import parse_yaml
from helpers.projects import ROOT, files_under

from synthagent.errors import InputError, ParamsError
from synthagent.ops.experiment import RUNS, experiment, params_with, save

SHIPPED = ROOT / "params.yaml"


def git(folder: Path, *args: str) -> str:
    who = ("-c", "user.name=tests", "-c", "user.email=tests@localhost")
    return subprocess.run(["git", *who, *args], cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project of one stage, under git and DVC, that has run."""
    stage = {"cmd": "cp params.yaml out.txt", "deps": ["given.txt"], "params": ["seed"], "outs": ["out.txt"]}
    never = {"cmd": "false", "deps": ["out.txt"], "outs": ["never.txt"]}  # it does not keep the other from being saved
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"one": stage, "two": never}}))
    (tmp_path / "params.yaml").write_text(SHIPPED.read_text())
    (tmp_path / "given.txt").write_text("given")
    (tmp_path / ".gitignore").write_text(".cache/\n/out.txt\n")
    git(tmp_path, "init", "-q")
    for command in (["init", "-q"], ["repro", "-q", "one"]):
        subprocess.run(["dvc", *command], cwd=tmp_path, check=True, capture_output=True)
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "-qm", "as it is")
    return tmp_path


def test_overrides_change_their_keys_and_no_other_and_keep_the_comments() -> None:
    lora = {"rank": 8, "alpha": 16, "targets": "all-linear"}
    text = params_with({"grpo.steps": 20, "student.lora": lora, "llm.replay": "only"}, None, SHIPPED)
    wanted = yaml.safe_load(SHIPPED.read_text())
    wanted["grpo"]["steps"], wanted["student"]["lora"], wanted["llm"]["replay"] = 20, lora, "only"
    assert yaml.safe_load(text) == parse_yaml(text, "params.yaml") == wanted
    assert comments(text) == comments(SHIPPED.read_text())


def comments(text: str) -> list[str]:
    lines = (line.partition(" # ")[2].strip() for line in text.splitlines())
    return [comment for comment in lines if comment]


def test_overrides_lie_over_the_profile() -> None:
    found = yaml.safe_load(params_with({"grpo.steps": 3, "roles.policy.temperature": 0.5}, "smollm2", SHIPPED))
    assert found["student"]["base"] == "smollm2"
    assert (found["grpo"]["steps"], found["roles"]["policy"]["temperature"]) == (3, 0.5)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"grpo.stepz": 1}, "overrides: grpo.stepz: unknown key; is grpo.steps meant? params.yaml has the keys"),
        ({"gpro.steps": 1}, "overrides: gpro.steps: unknown key; is grpo.steps meant? params.yaml has the keys"),
        ({"grpo": {"steps": 1}}, "overrides: grpo."),
        ({"grpo.steps": "20"}, "overrides: grpo.steps: Input should be a valid integer"),
        ({"grpo.steps": -1}, "overrides: grpo.steps: Input should be greater than or equal to 0, but it is"),
        ({"student.lora.rank": 8}, "overrides: student.lora.rank: student.lora is None in params.yaml and has no keys"),
        (
            {"roles.teacher.backend": "local"},
            "overrides: roles.teacher.backend: 'local' is not available for",
        ),
        ({"": 1}, "overrides: the file: unknown key; params.yaml has the keys"),
    ],
)
def test_what_is_not_valid_is_told_by_place_rule_and_remedy(overrides: dict[str, Any], told: str) -> None:
    with pytest.raises(ParamsError) as caught:
        params_with(overrides, None, SHIPPED)
    assert str(caught.value).startswith(told)


def test_a_fault_of_the_file_itself_is_not_told_as_one_of_the_overrides(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(SHIPPED.read_text().replace("seed: 0", "seed: none"))
    with pytest.raises(ParamsError, match=r"params\.yaml: seed: "):
        params_with({"grpo.steps": 20}, None, path)


def test_an_experiment_starts_from_the_files_as_they_are_and_leaves_them_alone(root: Path) -> None:
    (root / "given.txt").write_text("changed")
    (root / "mine.jsonl").write_text("mine")
    (root / ".cache" / "llm").mkdir(parents=True)
    (root / RUNS / "killed").mkdir(parents=True)
    before = {name: files_under(root).get(root / name) for name in ("params.yaml", "given.txt", "out.txt", "dvc.lock")}
    with experiment("one-1", params_with({"seed": 7}, None), root) as made:
        assert (made.uncommitted, made.untracked) == (("given.txt",), ("mine.jsonl",))
        assert [path.name for path in (root / RUNS).iterdir()] == ["one-1"]
        assert (made.folder / "given.txt").read_text() == "changed"
        assert (made.folder / "mine.jsonl").read_text() == "mine"
        assert (made.folder / "out.txt").read_text() == SHIPPED.read_text()  # the outs that dvc.lock names
        (made.folder / "data" / "metrics").mkdir(parents=True)
        (made.folder / "data" / "metrics" / "one.json").write_text("{}")
        (made.folder / ".cache" / "llm" / "answer").write_text("paid for")
        subprocess.run(["dvc", "repro", "-q", "one"], cwd=made.folder, check=True, capture_output=True)
        save(made, ["one"], "seed=7")
    assert (root / ".cache" / "llm" / "answer").read_text() == "paid for"
    assert not (root / RUNS).exists()
    assert git(root, "worktree", "list").count("\n") == 1
    assert {name: files_under(root).get(root / name) for name in before} == before
    assert git(root, "status", "--porcelain").split() == ["M", "given.txt", "??", "mine.jsonl"]
    shown = subprocess.run(["dvc", "exp", "diff", "one-1"], cwd=root, check=True, capture_output=True, text=True).stdout
    assert "seed" in shown
    subprocess.run(["git", "stash", "-q"], cwd=root, check=True)
    applied = ["dvc", "exp", "apply", "one-1"]  # which ends with a word on the stage that never ran
    subprocess.run(applied, cwd=root, check=False, capture_output=True)
    assert "seed: 7" in (root / "out.txt").read_text()
    assert (root / "data" / "metrics" / "one.json").read_text() == "{}"


def test_without_a_commit_the_message_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run `git init`"), experiment("one", "", tmp_path):
        pytest.fail("it was made")
