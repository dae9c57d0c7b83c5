"""Each stage's `deps` in `dvc.yaml` are the code and data files of the package that it reaches: all of them, no others.

So an edit reruns the stages that it may change, and only these.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
import yaml
from helpers.imports import data_files_of, modules_of, reached_from
from helpers.projects import ROOT

from synthagent.cli import STAGES

PACKAGE = "synthagent"


def faults_of(stage: str, deps: Sequence[str], root: Path) -> list[str]:
    """The lines to add to a stage's `deps`, or to remove from them."""
    package = root / PACKAGE
    reached = reached_from(package / "stages" / f"{stage}.py", package)
    own = [dep for dep in deps if dep.startswith(f"{PACKAGE}/")]
    surplus = [dep for dep in own if not _files_in(root / dep, package) <= reached]
    missing = reached - {file for dep in own if dep not in surplus for file in _files_in(root / dep, package)}
    added = [f"add to {stage}:      - {path.relative_to(root)}" for path in shortened(missing, package)]
    return added + [f"remove from {stage}: - {dep}" for dep in surplus]


def shortened(files: Iterable[Path], package: Path) -> list[Path]:
    """The files, with a folder in their stead where they are all that is in it."""
    found = set(files)
    for folder in sorted({parent for file in found for parent in file.parents if package in parent.parents}):
        inside = _files_in(folder, package)
        if len(inside) > 1 and inside <= found:
            found = (found - inside) | {folder}
    return sorted(found)


def _files_of(package: Path) -> set[Path]:
    return {*modules_of(package).values(), *data_files_of(package)}


def _files_in(path: Path, package: Path) -> set[Path]:
    """What a dependency stands for; a path that does not exist stands for itself."""
    return {file for file in _files_of(package) if path in file.parents} or {path}


@pytest.mark.parametrize("stage", STAGES)
def test_the_deps_of_a_stage_are_what_it_reaches(stage: str) -> None:
    deps = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][stage]["deps"]
    faults = faults_of(stage, deps, ROOT)
    assert not faults, "\n".join(["dvc.yaml:", *faults])


def test_an_edit_of_grpo_does_not_rerun_sft() -> None:
    reached = reached_from(ROOT / PACKAGE / "stages" / "sft.py", ROOT / PACKAGE)
    assert ROOT / PACKAGE / "student" / "sft.py" in reached
    assert ROOT / PACKAGE / "student" / "grpo.py" not in reached


# --- the comparison itself, on made-up faults -----------------------------------------------------------------------


@pytest.fixture
def made_up(tmp_path: Path) -> Path:
    """A project with one stage, which imports one module at its head, one late, one for types only."""
    files = {
        "__init__.py": "",
        "stages/__init__.py": '"""Stages."""',
        "stages/cook.py": "from synthagent.kitchen import stove\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from synthagent.guests import Guest\n"
        "def run():\n    import synthagent.kitchen.knives\n",
        "kitchen/__init__.py": "",
        "kitchen/stove.py": "from synthagent.llm.prompts import render\nrender('recipe')\nread('salt.txt')\n",
        "kitchen/knives.py": "",
        "kitchen/salt.txt": "salt",
        "llm/__init__.py": "",
        "llm/prompts.py": "",
        "prompts/recipe.md": "",
        "prompts/toast.md": "",
        "guests.py": "",
    }
    for name, text in files.items():
        (tmp_path / PACKAGE / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / PACKAGE / name).write_text(text)
    return tmp_path


COMPLETE = (
    "synthagent/stages/cook.py",
    "synthagent/kitchen",
    "synthagent/llm/prompts.py",
    "synthagent/prompts/recipe.md",
    "data/eggs.parquet",
)


def test_complete_and_narrow_deps_have_no_fault(made_up: Path) -> None:
    assert faults_of("cook", COMPLETE, made_up) == []


@pytest.mark.parametrize("left_out", COMPLETE[:-1])
def test_a_dependency_that_is_not_declared_is_named(left_out: str, made_up: Path) -> None:
    deps = [dep for dep in COMPLETE if dep != left_out]
    assert faults_of("cook", deps, made_up) == [f"add to cook:      - {left_out}"]


@pytest.mark.parametrize("surplus", ["synthagent/guests.py", "synthagent/prompts/toast.md", "synthagent/gone.py"])
def test_a_dependency_that_is_not_reached_is_named(surplus: str, made_up: Path) -> None:
    assert faults_of("cook", [*COMPLETE, surplus], made_up) == [f"remove from cook: - {surplus}"]


def test_a_folder_of_which_only_a_part_is_reached_is_told_what_to_be_replaced_with(made_up: Path) -> None:
    deps = [dep.replace("prompts/recipe.md", "prompts") for dep in COMPLETE]
    assert faults_of("cook", deps, made_up) == [
        "add to cook:      - synthagent/prompts/recipe.md",
        "remove from cook: - synthagent/prompts",
    ]
