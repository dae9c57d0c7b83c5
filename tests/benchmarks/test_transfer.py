"""Natural tasks and the benchmarks of others: what is trained, what is told, and all of it once with little of each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.projects import ROOT

from benchmarks.project import changed, params_of
from benchmarks.transfer.__main__ import run_beside, table
from benchmarks.transfer.cells import NAMES, PROFILES, SCALES, cell_of
from synthagent.errors import SynthAgentError
from synthagent.params import Params
from synthagent.student.base import SMOLLM2

BASE = params_of(PROFILES, {})
SHARES = BASE["tasks"]["natural"]["patterns"]


@pytest.mark.parametrize("scale", list(SCALES))
@pytest.mark.parametrize("name", NAMES)
def test_the_params_of_every_cell_are_valid_and_of_natural_tasks(name: str, scale: str) -> None:
    cell = cell_of(name, SCALES[scale], SHARES)
    params = Params.model_validate(changed(params_of(PROFILES, SCALES[scale].changes), cell.changes))
    assert params.tasks.language == "natural"
    assert params.student.base == "smollm2"
    assert params.sft.tokens == (SCALES[scale].whole if name in ("whole", "more", "desks") else SCALES[scale].part)


def test_what_is_left_out_is_one_ingredient_and_all_else_stays() -> None:
    full = SCALES["full"]
    whole = Params.model_validate(changed(BASE, cell_of("part", full, SHARES).changes))
    left_out = {
        name: Params.model_validate(changed(BASE, cell_of(name, full, SHARES).changes))
        for name in NAMES
        if name not in ("whole", "more", "desks", "part")
    }
    assert left_out["no-refusals"].tasks.natural.patterns.cannot == 0
    assert left_out["no-refusals"].tasks.natural.patterns.chain > whole.tasks.natural.patterns.chain
    assert left_out["one-call"].tasks.natural.patterns.chain == 0
    one_call = left_out["one-call"].tasks.natural
    assert one_call.patterns.cannot == whole.tasks.natural.patterns.cannot
    asked = {"one": one_call.patterns.one, "whole": sum(SHARES[key] for key in ("one", "parallel", "chain"))}
    assert one_call.missing * asked["one"] == pytest.approx(whole.tasks.natural.missing * asked["whole"], rel=0.03)
    assert left_out["no-masks"].tasks.natural.masked == 0 < whole.tasks.natural.masked
    assert left_out["one-wording"].tasks.natural.wordings == "one" != whole.tasks.natural.wordings
    for params in left_out.values():
        same = params.model_copy(update={"tasks": whole.tasks})
        assert same == whole, "nothing differs but tasks"


def figure(mean: float, **more: float) -> dict[str, Any]:
    return {"lead": {"mean": mean, "low": mean - 0.1, "high": mean + 0.1}, "refused": None, "calls": None, **more}


def test_the_table_has_a_row_for_each_checkpoint_and_its_own_figures() -> None:
    categories = {
        "simple_python": {"noop": figure(0.0), "sft": figure(0.5)},
        "irrelevance": {"noop": figure(0.0), "sft": figure(0.6, refused=0.5, calls=0.75)},
    }
    cell = {
        "what": "all ingredients",
        "sft": {"tokens": 299_000},
        "minutes": {"sft": 25.0},
        "policies": {
            "sft": {"sha256": "ab" * 32, "suites": {"bfcl": {"categories": categories, "seconds": 600}}},
        },
        "ours": {"heldout": {"sft": {"reward": 0.25, "reward_ci_low": 0.2, "reward_ci_high": 0.3, "pair_rate": None}}},
    }
    shown = list(table({"part": cell}))
    assert shown[0].startswith("| trained on | checkpoint | tokens | bfcl: simple_python | bfcl: irrelevance |")
    assert shown[2] == (
        "| part: all ingredients | sft | 299,000 | 50.0 [40.0, 60.0] | 60.0 [50.0, 70.0] (50.0, 75.0) | 25, 10 | "
        "abababababababab |"
    )
    assert "- part, our own tasks, heldout, sft: reward 0.250 [0.200, 0.300], pair rate not measured." in shown
    assert any("Qwen3-0.6B" in line for line in shown), "what others have published stands below"


def test_cells_run_beside_each_other_and_one_that_fails_ends_no_other(tmp_path: Path) -> None:
    meet = (
        "import pathlib, sys, time\n"
        "here = pathlib.Path(sys.argv[1]); here.touch()\n"
        "while sum(path.suffix == '.cell' for path in here.parent.iterdir()) < 2: time.sleep(0.01)\n"
        "sys.exit(int(sys.argv[2]))\n"
    )
    cells = {"part": "0", "one-call": "3", "whole": "0"}
    commands = {
        name: [sys.executable, "-c", meet, str(tmp_path / f"{name}.cell"), code] for name, code in cells.items()
    }
    with pytest.raises(SynthAgentError, match=r"^transfer: failed: one-call; others are kept"):
        run_beside(tmp_path, commands, 2)
    assert {path.stem for path in tmp_path.iterdir()} == {*cells}


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / SMOLLM2).is_dir(), reason="needs SmolLM2: make smollm2")
@pytest.mark.skipif(not (ROOT / ".venv-bfcl").exists(), reason="needs BFCL's environment: make bench-suites")
def test_a_cell_is_trained_and_measured_and_not_run_again(tmp_path: Path) -> None:
    from helpers.pipeline import new_project

    project = new_project(tmp_path / "project", ROOT)
    for name in (SMOLLM2.parent.as_posix(), ".venv-bfcl"):
        link = project.folder / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((ROOT / name).resolve())
    command = (sys.executable, "-m", "benchmarks.transfer", "--scale", "small", "--at-once", "2", "--cells", "part")
    first, second = (
        subprocess.run(command, cwd=project.folder, env=project.env, capture_output=True, text=True, check=True)
        for _ in range(2)
    )
    found = json.loads((project.folder / "replication" / "transfer-small.json").read_text())["cells"]["part"]
    assert 0 < found["sft"]["tokens"] <= SCALES["small"].part
    assert set(found["policies"]["sft"]["suites"]["bfcl"]["categories"]) >= {"simple_python", "multiple", "irrelevance"}
    assert len(found["policies"]["sft"]["sha256"]) == 64
    assert "part: done before" in second.stdout
    assert first.stdout.splitlines()[-1] == second.stdout.splitlines()[-1]
