"""Who may import whom: a module imports from its own room and from lower ones, never from a room beside it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.imports import imports_of, modules_of, tree_of
from helpers.projects import ROOT

GROUND, DOOR, STAGES = "ground floor", "cli", "stages"
ORDER = (  # lowest first; those of one line stand side by side
    (GROUND,),
    ("llm", "sandbox"),
    ("episodes",),
    ("judging",),
    ("reasoning",),
    ("teacher", "student", "exchange", "showing", "ops"),
    ("suites",),
    (STAGES,),
    (DOOR,),
)
HEIGHT = {room: height for height, rooms in enumerate(ORDER) for room in rooms}


def room_of(module: Path, package: Path) -> str:
    """The folder of a module; for a module directly in the package the ground floor, or the door."""
    first, *rest = module.relative_to(package).parts
    return first if rest else DOOR if first.startswith(("cli", "__main__")) else GROUND


def imported_modules(module: Path, package: Path) -> Iterator[Path]:
    """All modules of the package that a module imports, also locally, for types only, or by name."""
    modules = modules_of(package)
    yield from sorted({modules[found.name] for found in imports_of(module) if found.name in modules} - {module})


def arrows_back(package: Path) -> list[str]:
    """Every import that runs against the order, as a line that names both ends and the rule."""
    found = []
    for module in modules_of(package).values():
        for imported in imported_modules(module, package):
            here, there = room_of(module, package), room_of(imported, package)
            if HEIGHT[here] < HEIGHT[there]:
                rule = "a lower room imports a higher one"
            elif here == there == STAGES:
                rule = "a stage imports another stage"
            elif here != there and HEIGHT[here] == HEIGHT[there]:
                rule = "rooms side by side import each other"
            else:
                continue
            found.append(f"{module.relative_to(package.parent)} -> {imported.relative_to(package.parent)}: {rule}")
    return found


def made_up(folder: Path, files: dict[str, str]) -> Path:
    package = folder / "synthagent"
    for name, text in files.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return package


def test_no_import_runs_back() -> None:
    assert arrows_back(ROOT / "synthagent") == []


def test_imports_are_written_in_full_so_that_none_is_overlooked() -> None:
    for path in (ROOT / "synthagent").rglob("*.py"):
        levels = [node.level for node in ast.walk(tree_of(path)) if isinstance(node, ast.ImportFrom)]
        assert not any(levels), path


def test_every_folder_with_code_is_a_room() -> None:
    package = ROOT / "synthagent"
    assert {room_of(module, package) for module in modules_of(package).values()} == HEIGHT.keys()


SOUND = {
    "records.py": "",
    "cli.py": "def f():\n    from synthagent.stages.x import run\n",
    "stages/__init__.py": '"""All stages."""\n',
    "stages/x.py": "from synthagent.student import y\nimport synthagent.judging.checks\n",
    "student/y.py": "from synthagent import records\nfrom synthagent.student.z import f\n",
    "student/z.py": "import os\n",
    "teacher/t.py": "from synthagent.llm.client import Llm\n",
    "judging/checks.py": "from synthagent.episodes.world import World\n",
    "episodes/world.py": "",
    "llm/client.py": "from synthagent.records import Task\n",
}


def test_imports_that_run_down_are_no_fault(tmp_path: Path) -> None:
    assert arrows_back(made_up(tmp_path, SOUND)) == []


LOWER, BESIDE, STAGE = (
    "a lower room imports a higher one",
    "rooms side by side import each other",
    "a stage imports another stage",
)


@pytest.mark.parametrize(
    ("module", "line", "imported", "rule"),
    [
        ("student/y.py", "import synthagent.stages.x", "stages/x.py", LOWER),
        ("student/y.py", "from synthagent.stages import x", "stages/x.py", LOWER),
        ("student/y.py", "from synthagent.stages.x import run", "stages/x.py", LOWER),
        ("student/y.py", "def f():\n    from synthagent.stages.x import run", "stages/x.py", LOWER),
        (
            "episodes/world.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from synthagent.judging.checks import Check",
            "judging/checks.py",
            LOWER,
        ),
        ("llm/client.py", "import importlib\nimportlib.import_module('synthagent.teacher.t')", "teacher/t.py", LOWER),
        ("records.py", "import synthagent.llm.client as client", "llm/client.py", LOWER),
        ("stages/x.py", "import synthagent.cli", "cli.py", LOWER),
        ("teacher/t.py", "from synthagent.student.y import f", "student/y.py", BESIDE),
        ("stages/w.py", "from synthagent.stages.x import run", "stages/x.py", STAGE),
    ],
)
def test_an_import_that_runs_back_is_named(tmp_path: Path, module: str, line: str, imported: str, rule: str) -> None:
    package = made_up(tmp_path, {**SOUND, module: line + "\n"})
    assert arrows_back(package) == [f"synthagent/{module} -> synthagent/{imported}: {rule}"]
