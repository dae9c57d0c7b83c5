"""The command line as a whole: what it offers, and how it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.projects import ROOT, assert_one_message, files_under, synthagent, write_params

from synthagent import __version__
from synthagent.cli import STAGES
from synthagent.records import Task


def test_help_lists_every_stage_in_order(tmp_path: Path) -> None:
    finished = synthagent("--help", cwd=tmp_path)
    assert finished.returncode == 0
    places = [finished.stdout.index(f"\u2502 {name} ") for name in STAGES]
    assert places == sorted(places)


def test_every_stage_reads_params_and_says_where_they_should_be(tmp_path: Path) -> None:
    assert_one_message(synthagent("tasks", cwd=tmp_path), "params.yaml", "No such file", "project's root")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"tasks.cuont": 5}, ("params.yaml: tasks.cuont", "unknown key")),
        ({"tasks.count": "many"}, ("params.yaml: tasks.count", "'many'")),
        ({"roles.teacher.backend": "local"}, ("roles.teacher.backend", "'embedded' or 'openai'")),
        ({"roles.teacher.backend": "openai"}, ("roles.teacher.model", "api.openai.com")),
    ],
)
def test_bad_params_give_one_message_and_touch_nothing(
    change: dict[str, object], parts: tuple[str, ...], project: Path
) -> None:
    before = files_under(project / "data")
    write_params(project, change)
    assert_one_message(synthagent("tasks", cwd=project), *parts)
    assert files_under(project / "data") == before


def test_a_stage_whose_input_is_missing_says_which_stage_writes_it(tmp_path: Path) -> None:
    write_params(tmp_path, {})
    finished = synthagent("rubrics", cwd=tmp_path)
    assert_one_message(finished, "data/tasks.parquet", "no such file", "dvc repro")


def test_a_stage_whose_input_is_corrupt_leaves_its_last_outs(project: Path) -> None:
    (project / "data" / "personas.parquet").write_bytes(b"PAR1 nonsense")
    before = files_under(project / "data")
    assert_one_message(synthagent("tasks", cwd=project), "data/personas.parquet", "not a readable Parquet file")
    assert files_under(project / "data") == before


def test_params_of_another_name_can_be_given(tmp_path: Path) -> None:
    write_params(tmp_path, {"personas.count": 3}).rename(tmp_path / "mine.yaml")
    finished = synthagent("personas", "--params", "mine.yaml", cwd=tmp_path)
    assert finished.returncode == 0
    assert finished.stdout == "3 personas from the built-in list\n"


def test_the_schema_of_a_record_is_json_that_others_can_follow(tmp_path: Path) -> None:
    finished = synthagent("schema", "task", cwd=tmp_path)
    assert json.loads(finished.stdout) == json.loads(json.dumps(Task.model_json_schema()))
    assert_one_message(synthagent("schema", "nothing", cwd=tmp_path), "'nothing'", "task")


@pytest.mark.parametrize("args", [["nothing"], ["show"], ["tasks", "--surplus"]])
def test_a_wrong_command_is_a_usage_error_without_a_traceback(args: list[str], tmp_path: Path) -> None:
    finished = synthagent(*args, cwd=tmp_path)
    assert finished.returncode == 2
    assert "Usage" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_the_version_is_told(tmp_path: Path) -> None:
    assert synthagent("--version", cwd=tmp_path).stdout == f"synthagent {__version__}\n"


def test_the_shell_is_offered_commands_and_options(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("synthagent")
    for typed, offered in (("per", "personas"), ("list --decod", "--decoding")):
        words = {"COMP_WORDS": f"synthagent {typed}", "COMP_CWORD": str(len(typed.split()))}
        env = os.environ | {"_SYNTHAGENT_COMPLETE": "complete_bash", **words}
        finished = subprocess.run([command], cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
        assert finished.stdout.split() == [offered]


def test_no_file_of_the_project_names_a_place_outside_it() -> None:
    outside = "/".join(("work", "shared"))
    for folder in ("synthagent", "flows", "benchmarks", "docs"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".md", ".yaml", ".txt", ".sh", ".toml"):
                assert outside not in path.read_text(encoding="utf-8"), path
