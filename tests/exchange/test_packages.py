"""`synthagent export verifiers` and `export openenv`: packages for trainers of others, each acted in by its client."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from helpers.projects import ROOT, assert_one_message, synthagent

from benchmarks.worlds_for_others.episodes import Acted, acted, drawn, rules_of
from benchmarks.worlds_for_others.over_packages import installed, missing, python_of, told_by
from synthagent.exchange.packages import KINDS, export_package
from synthagent.exchange.playable import Rules, read_playables
from synthagent.params_file import load_params
from synthagent.stage import Paths

pytestmark = pytest.mark.usefixtures("project")


def needs(kind: str) -> None:
    if why := missing(kind):
        pytest.skip(why)


def episodes(count: int = 15) -> Sequence[Acted]:
    """Of scripts that earn everything, something and nothing."""
    found = list(acted(drawn(Paths.tasks, Paths.rubrics, count, seed=3), rules_of(load_params())))
    assert {1.0, 0.0} < {episode.reward for episode in found}
    return found


def test_verifiers_pays_what_the_same_turns_earn_in_process(tmp_path: Path) -> None:
    needs("verifiers")
    params, expected = load_params(), episodes()
    told = told_by("verifiers", installed("verifiers", tmp_path, params, Paths.data), expected)
    assert [row["errors"] for row in told] == [[]] * len(expected)
    assert [row["reward"] for row in told] == [episode.reward for episode in expected]
    assert [row["roles"] for row in told] == [episode.roles for episode in expected]
    assert {row["metrics"]["gate"] for row in told} == {0.0, 1.0}


def test_verifiers_loads_the_tasks_of_files_of_another_run(tmp_path: Path) -> None:
    needs("verifiers")
    place = installed("verifiers", tmp_path, load_params(), Paths.data)
    split = "heldout"
    ids = {playable.task.id for playable in read_playables(Paths.tasks, Paths.rubrics, split)}
    of_split = [episode for episode in episodes(200) if episode.task_id in ids][:8]
    given = {"tasks": str(Paths.tasks.resolve()), "rubrics": str(Paths.rubrics.resolve()), "split": split}
    told = told_by("verifiers", place, of_split, "--options", json.dumps(given))
    assert [row["reward"] for row in told] == [episode.reward for episode in of_split]


def test_openenv_pays_what_the_same_turns_earn_in_process(tmp_path: Path) -> None:
    needs("openenv")
    params, expected = load_params(), episodes()
    told = told_by("openenv", installed("openenv", tmp_path, params, Paths.data), expected)
    assert [row["reward"] for row in told] == [episode.reward for episode in expected]
    assert [row["roles"] for row in told] == [episode.roles for episode in expected]
    assert all(row["done"] and row["outcome"]["reward"] == row["reward"] for row in told)
    assert [row["state"]["task_id"] for row in told] == [episode.task_id for episode in expected]
    assert not any("verdict" in json.dumps(row["state"]) for row in told)


def test_openenv_takes_the_package_for_well_formed(tmp_path: Path) -> None:
    needs("openenv")
    export_package("openenv", tmp_path / "out", load_params())
    command = [str(python_of("openenv")), "-m", "openenv.cli", "validate", str(tmp_path / "out"), "--level", "static"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Verdict: PASS" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_package_has_the_playable_tasks_the_rules_and_all_that_it_imports(kind: str, tmp_path: Path) -> None:
    params = load_params()
    told = export_package(kind, tmp_path / "out", params)
    package = tmp_path / "out" / KINDS[kind].package
    found = list(read_playables(package / "tasks.parquet", package / "rubrics.parquet"))
    assert found == list(read_playables(Paths.tasks, Paths.rubrics))
    assert f"{sum(p.task.split == 'train' for p in found)} train" in told
    assert Rules.model_validate_json((package / "rules.json").read_text()) == rules_of(params)
    wanted = f"{KINDS[kind].package}.core"
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("synthagent"):
                assert node.module.startswith(wanted), (path, node.module)
                place = package / node.module.removeprefix(f"{KINDS[kind].package}.").replace(".", "/")
                assert place.with_suffix(".py").exists() or (place / "__init__.py").exists(), node.module
    project = tomllib.loads((tmp_path / "out" / "pyproject.toml").read_text())["project"]
    heavy = ("torch", "trl", "prefect", "dvc", "openai")
    assert not [name for name in project["dependencies"] if name.startswith(heavy)]
    assert "$" not in (tmp_path / "out" / "README.md").read_text()


def test_what_a_package_copies_imports_nothing_heavy() -> None:
    code = "import synthagent.exchange.playable, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {"torch", "trl", "transformers", "openai", "prefect", "dvc", "mcp"}.isdisjoint(done.stdout.split())


def test_what_is_built_into_the_interpreter_is_no_part_of_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian builds `unicodedata` in; it has no file to be copied."""
    monkeypatch.setattr(sys, "builtin_module_names", (*sys.builtin_module_names, "unicodedata"))
    export_package("verifiers", tmp_path / "out", load_params())
    assert list(tmp_path.rglob("core/text.py"))
    assert not list(tmp_path.rglob("unicodedata*"))


def test_the_manifest_names_the_server_that_is_there(tmp_path: Path) -> None:
    export_package("openenv", tmp_path / "out", load_params())
    module, _, name = yaml.safe_load((tmp_path / "out" / "openenv.yaml").read_text())["app"].partition(":")
    server = tmp_path / "out" / f"{module.replace('.', '/')}.py"
    assert f"\n{name} = application()" in server.read_text()
    assert f'"{module}:{name}"' in (tmp_path / "out" / "server" / "Dockerfile").read_text()


def test_an_export_replaces_what_one_of_its_kind_wrote_and_nothing_else(tmp_path: Path) -> None:
    params, out = load_params(), tmp_path / "out"
    export_package("verifiers", out, params)
    (out / "synthagent_verifiers" / "core" / "of_an_older_version.py").write_text("")
    (out / "synthagent_verifiers" / "__pycache__").mkdir()
    (out / "synthagent_verifiers" / "__pycache__" / "x.pyc").write_bytes(b"")
    export_package("verifiers", out, params)
    assert not (out / "synthagent_verifiers" / "core" / "of_an_older_version.py").exists()
    assert_one_message(synthagent("export", "openenv", str(out), cwd=Path.cwd()), "holds other things")
    (out / "mine.txt").write_text("mine")
    assert_one_message(synthagent("export", "verifiers", str(out), cwd=Path.cwd()), "mine.txt")
    assert (out / "mine.txt").read_text() == "mine"


def test_missing_data_are_told_with_the_stage_that_writes_them(tmp_path: Path) -> None:
    Paths.rubrics.unlink()
    finished = synthagent("export", "openenv", str(tmp_path / "out"), cwd=Path.cwd())
    assert_one_message(finished, "rubrics.parquet", "dvc repro rubrics")
    assert not (tmp_path / "out").exists()
