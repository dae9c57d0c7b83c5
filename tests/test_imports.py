"""Who may import what: heavy packages stay where they are needed, so that the command line answers at once."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.imports import imports_of
from helpers.projects import ROOT

PACKAGE = ROOT / "synthagent"
FOLDERS = ("synthagent", "flows", "benchmarks", "tests", "notebooks")
HEAVY = ("torch", "trl", "transformers", "datasets", "prefect", "pandas", "matplotlib", "dvc", "openai", "ray")


def imported_by(path: Path) -> set[str]:
    """The top-level packages that a file imports, anywhere in it."""
    return {found.name.partition(".")[0] for found in imports_of(path)}


def importers_of(package: str) -> Iterator[Path]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if package in imported_by(path):
                yield path.relative_to(ROOT)


def test_the_search_for_imports_finds_them(tmp_path: Path) -> None:
    script = tmp_path / "x.py"
    script.write_text(
        "import a.b\nfrom c import d\ndef f():\n    import e\n    import_module('g.h')\nfrom . import i\n"
    )
    assert imported_by(script) == {"a", "c", "e", "g"}
    assert len(list(importers_of("synthagent"))) > 10


def test_only_flows_import_prefect() -> None:
    assert {path.parts[0] for path in importers_of("prefect")} <= {"flows"}


def test_only_training_imports_trl_and_what_asks_it_about_templates() -> None:
    allowed = {f"synthagent/student/{name}.py" for name in ("grpo", "grpo_trainer", "known", "sft", "sharded")}
    allowed.add("benchmarks/train_grpo.py")  # whose peer it is
    assert {path.as_posix() for path in importers_of("trl")} == allowed


def test_nothing_imports_vllm() -> None:
    assert list(importers_of("vllm")) == []


def test_the_package_does_not_import_the_folders_around_it() -> None:
    for folder in ("flows", "benchmarks", "tests"):
        assert [path for path in importers_of(folder) if path.parts[0] == "synthagent"] == []


def modules_loaded_by(code: str) -> set[str]:
    script = f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(finished.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import synthagent.cli",
        "import synthagent.stages.tasks, synthagent.stages.rubrics, synthagent.stages.personas",
        "import synthagent.judging.validate, synthagent.showing.show",
        "import synthagent.ops.serve, synthagent.ops.profile, synthagent.ops.doctor",
    ],
)
def test_the_command_line_and_the_data_stages_load_nothing_heavy(code: str) -> None:
    loaded = modules_loaded_by(code)
    assert "synthagent" in loaded
    assert loaded.isdisjoint(HEAVY), loaded & set(HEAVY)


def test_importing_the_command_line_loads_no_data_library_either() -> None:
    assert modules_loaded_by("import synthagent.cli").isdisjoint({"pyarrow", "numpy", "jsonschema_rs", "rensa"})


def test_every_stage_has_a_module_with_a_run_function_and_a_launch_line() -> None:
    from synthagent.cli import STAGES

    for name in STAGES:
        path = PACKAGE / "stages" / f"{name}.py"
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert any(isinstance(node, ast.FunctionDef) and node.name == "run" for node in tree.body), name
        assert f"Launch: `synthagent {name}`" in (ast.get_docstring(tree) or ""), name


def test_every_module_opens_by_saying_what_it_is_for() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


def names_of_types(package: Path) -> dict[str, list[str]]:
    """Which files of a package define a class or a type alias, by its name; constants and type variables are none."""
    defined: dict[str, list[str]] = {}
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case (
                    ast.ClassDef(name=name)
                    | ast.Assign(targets=[ast.Name(id=name)])
                    | ast.AnnAssign(target=ast.Name(id=name))
                ):
                    pass
                case _:
                    continue
            bare = name.lstrip("_")
            if len(bare) > 1 and bare[0].isupper() and not bare.isupper():
                defined.setdefault(name, []).append(path.relative_to(package).as_posix())
    return defined


def names_of_several(package: Path) -> dict[str, list[str]]:
    return {name: files for name, files in names_of_types(package).items() if len(files) > 1}


def test_no_two_classes_or_type_aliases_of_the_package_share_a_name() -> None:
    assert len(names_of_types(PACKAGE)) > 200
    assert names_of_several(PACKAGE) == {}


def test_a_name_of_two_meanings_is_told_with_its_files(tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "a.py").write_text("T = 1\nLINES = 2\nclass Line: ...\nTally = dict[str, int]\nclass Once: ...\n")
    (tmp_path / "room/b.py").write_text("T = 1\nLINES = 2\nfrom a import Once\ndef f():\n    class Line: ...\n")
    (tmp_path / "room/c.py").write_text("Tally: object = list\n")
    assert names_of_several(tmp_path) == {"Line": ["a.py", "room/b.py"], "Tally": ["a.py", "room/c.py"]}
