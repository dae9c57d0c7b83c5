"""The paper's claims in miniature: what is compared, what decides, and all of it once, interrupted and gone on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.pipeline import Project, new_project, processes_in, wait_for
from helpers.projects import ROOT, files_under
from helpers.tasks import accepted_tasks

from benchmarks.project import _hydra, changed, params_of
from benchmarks.replicate import __main__ as replicate
from benchmarks.replicate.claims import ALL, CELLS, CLAIMS, DEFAULT, SCALES, cells_of, overrides
from benchmarks.replicate.measure import demos_for, pairs_of
from benchmarks.replicate.table import decide, lines, verdict
from synthagent.errors import SynthAgentError
from synthagent.params import Params
from synthagent.showing.statistics import Interval

GAP = CLAIMS[0]
COMMAND = (sys.executable, "-m", "benchmarks.replicate", "--scale", "small", "--seeds", "0")


def pairs(right: int, of: int, first: int = 0) -> dict[str, float]:
    """So many pairs, of which so many are right."""
    return {f"task-{number:04d}": float(first <= number < first + right) for number in range(of)}


def with_changes(params: dict[str, Any], changes: dict[str, Any]) -> Params:
    return Params.model_validate(changed(params, changes))


# --- what is compared -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", list(SCALES))
@pytest.mark.parametrize("name", list(CELLS))
def test_the_params_of_every_cell_are_valid_and_of_its_seed(name: str, scale: str) -> None:
    base = params_of(["embedded"], SCALES[scale].changes)
    params = with_changes(
        base, overrides(CELLS[name], 2, params_of(["embedded"], SCALES[scale].changes), ".cache/warm/abc", 77)
    )
    assert params.seed == (1002 if name == "more-sft" else 2)
    assert params.student.base == (".cache/warm/abc" if CELLS[name].warm else "tiny")
    assert (params.sft.muon_rate == 0.14) == (name != "more-sft")
    assert params.sft.demos == {"more-sft": 77}.get(name, 0 if CELLS[name].warm else params.sft.demos)


def test_a_third_of_the_tasks_gives_as_many_demonstrations() -> None:
    params = params_of(["embedded"], {})
    changes = overrides(CELLS["third-of-tasks"], 0, params, "", 0)
    assert changes["tasks.count"] * 3 == params["tasks"]["count"]
    assert changes["tasks.count"] * changes["rubrics.demos_per_task"] == 2 * params["tasks"]["count"]


def test_ours_comes_first_whatever_is_claimed_and_every_cell_serves_a_claim() -> None:
    assert [cell.name for cell in cells_of(DEFAULT)] == ["ours", "no-gap", "more-sft", "paper-reward"]
    assert [cell.name for cell in cells_of(["demos"])] == ["ours", "rubric-2", "rubric-3", "rubric-4"]
    assert {cell.name for cell in cells_of(ALL)} == set(CELLS)


def test_three_seeds_of_the_default_claims_are_planned_within_ninety_minutes() -> None:
    assert sum(cell.seconds for cell in cells_of(DEFAULT)) * 3 < 90 * 60


def test_a_table_of_some_claims_does_not_take_the_place_of_the_others() -> None:
    assert replicate.name_of("full", DEFAULT) == replicate.name_of("full", ALL) == "full"
    assert replicate.name_of("full", ["demos", "tasks"]) == "full-tasks-demos"


@pytest.mark.parametrize(
    ("value", "text"), [(None, "null"), (True, "true"), (False, "false"), (1, "1"), (0, "0"), (0.2, "0.2"), ("a", "a")]
)
def test_a_value_goes_to_an_experiment_as_yaml_has_it(value: Any, text: str) -> None:
    assert _hydra(value) == text


def test_outside_the_project_the_command_says_where_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert replicate.main(["--claims", "reward"]) == 1
    assert "run it where dvc.yaml is" in capsys.readouterr().err


def test_sft_goes_on_for_as_many_passes_as_rl_took_whose_tokens_are_sampled_and_learnt_from() -> None:
    params = with_changes(
        params_of(["embedded"], {}), {"grpo.steps": 10, "grpo.tasks_per_step": 2, "grpo.group_size": 5}
    )
    params = params.model_copy(update={"rollouts": params.rollouts.model_copy(update={"tasks": 30, "samples": 2})})
    assert demos_for(params, tokens_an_episode=90.0, tokens_a_demo=30.0) == (100 * 4 + 60 * 1) * 90 / (3 * 30)


# --- what decides ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("direction", "low", "high", "said"),
    [
        (">", 0.01, 0.2, "agrees"),
        (">", -0.2, -0.01, "does not agree"),
        (">", -0.01, 0.2, "not decided"),
        ("=", -0.04, 0.04, "agrees"),
        ("=", 0.01, 0.04, "agrees"),
        ("=", 0.06, 0.2, "does not agree"),
        ("=", -0.2, -0.06, "does not agree"),
        ("=", -0.1, 0.1, "not decided"),
    ],
)
def test_an_interval_agrees_contradicts_or_leaves_open(direction: Any, low: float, high: float, said: str) -> None:
    assert verdict(direction, Interval((low + high) / 2, low, high)) == said


def test_a_row_has_both_rates_and_the_paired_difference() -> None:
    row = decide(GAP, [pairs(60, 200), pairs(80, 200)], [pairs(20, 200), pairs(40, 200)])
    assert (row.first, row.second) == (pytest.approx(0.35), pytest.approx(0.15))
    assert (row.seeds, row.pairs) == (2, 400)
    assert row.difference.mean == pytest.approx(0.2)
    assert row.difference.low < 0.2 < row.difference.high
    assert row.verdict == "agrees"


def test_two_that_learnt_nothing_are_not_found_to_do_as_well() -> None:
    same = CLAIMS[-1]
    assert same.direction == "="
    assert decide(same, [pairs(0, 200)], [pairs(2, 200)]).verdict == "not decided"
    assert decide(same, [pairs(60, 200)], [pairs(61, 200)]).verdict == "agrees"


def test_the_interval_is_of_pairs_and_of_seeds() -> None:
    few, many = (decide(GAP, [pairs(n // 4, n)], [pairs(n // 4, n, first=n // 8)]).difference for n in (40, 400))
    assert few.high - few.low > 2 * (many.high - many.low)
    alike = decide(GAP, [pairs(200, 400)] * 3, [pairs(160, 400)] * 3).difference
    apart = decide(GAP, [pairs(200, 400), pairs(80, 400), pairs(320, 400)], [pairs(160, 400)] * 3).difference
    assert apart.mean == pytest.approx(alike.mean)
    assert apart.high - apart.low > 4 * (alike.high - alike.low)
    assert decide(GAP, [pairs(9, 30)], [pairs(9, 30)]).difference == Interval(0, 0, 0), "the same pairs are right"


def test_the_table_has_a_line_for_each_claim_with_its_paper_and_verdict() -> None:
    row = decide(GAP, [pairs(60, 200)], [pairs(20, 200)])
    head, rule, line = lines([row])
    assert head.count("|") == rule.count("|") == line.count("|")
    for part in (
        "near base",
        "RL with the gap 0.300",
        "RL without the gap 0.100",
        "1 seed, 200 pairs",
        "+0.200 [",
        "agrees",
    ):
        assert part in line


def test_a_pair_is_right_if_both_twins_are_perfect_and_a_task_alone_is_none() -> None:
    first, second, third, fourth, alone = accepted_tasks()[:5]
    rewards = {first.id: 1.0, second.id: 1.0, third.id: 1.0, fourth.id: 0.999, alone.id: 1.0}
    assert pairs_of([first, second, third, fourth, alone], rewards) == {first.id: 1.0, third.id: 0.0}


# --- the whole ------------------------------------------------------------------------------------------------------


def ran(project: Project, *more: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *more]
    return subprocess.run(
        command, cwd=project.folder, env=project.env, capture_output=True, text=True, check=False, timeout=1_800
    )


def is_of_the_workspace(path: Path) -> bool:
    return not {".cache", ".dvc", ".git", "replication", "__pycache__"} & set(path.parts)


@pytest.mark.slow  # about a minute and a half of two cores
def test_a_replication_can_be_interrupted_goes_on_and_leaves_the_workspace_as_it_was(tmp_path: Path) -> None:
    project = new_project(tmp_path / "project", ROOT)
    place = project.folder
    before = {path: text for path, text in files_under(place).items() if is_of_the_workspace(path.relative_to(place))}
    log = tmp_path / "log"
    running = project.start(log, *COMMAND)
    try:
        wait_for("the stage sft", lambda: "ours-0: sft" in log.read_text() or running.poll() is not None)
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 130, log.read_text()
    finally:
        running.kill()
    assert "run it again to go on" in log.read_text()
    wait_for("nothing runs any more", lambda: not processes_in(place / ".cache" / "replicate" / "project"))

    whole = ran(project)
    assert whole.returncode == 0, whole.stdout + whole.stderr
    assert "ours-0: rubrics" not in whole.stdout, "it was done before the interruption"
    assert "ours-0: sft" in whole.stdout
    table = (place / "replication" / "small.md").read_text()
    assert table.strip() in whole.stdout
    assert [line.split(" | ")[0] for line in table.splitlines()[2:5]] == [f"| {claim.text}" for claim in CLAIMS[:3]]
    found = json.loads((place / "replication" / "small.json").read_text())
    assert set(found["cells"]) == {"ours-0", "no-gap-0", "more-sft-0", "paper-reward-0"}
    assert found["cells"]["more-sft-0"]["demos"] == found["cells"]["ours-0"]["equal_demos"]
    copy = place / ".cache" / "replicate" / "project"
    lock = yaml.safe_load((copy / "dvc.lock").read_text())["stages"]
    assert lock["grpo"]["params"]["params.yaml"]["reward"]["formula"] == "paper", "the last experiment"

    again = ran(project)
    assert again.stdout.count("done before") == 4
    assert table.strip() in again.stdout
    assert {path: path.read_bytes() for path in before} == before
    shown = subprocess.run(
        [sys.executable, "-m", "dvc", "exp", "list", "--name-only"],
        cwd=copy,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(shown.stdout.split()) == set(found["cells"]), "they are experiments of DVC"


def test_a_failed_experiment_is_told_with_its_last_line_and_where_the_rest_is(tmp_path: Path) -> None:
    from benchmarks.project import copy_of

    project = new_project(tmp_path / "project", ROOT)
    copy = copy_of(
        project.folder, project.folder / ".cache" / "replicate" / "project", {}, "benchmarks/replicate/measure.py"
    )
    log = tmp_path / "logs" / "bad.log"
    stages: list[str] = []
    with pytest.raises(
        SynthAgentError, match=r"bad-0: `dvc exp run` failed: .*personas.*; all it said is in .*bad\.log"
    ):
        copy.experiment("bad-0", "personas", {"personas.path": "nowhere.jsonl"}, log, stages.append)
    assert "nowhere.jsonl" in log.read_text()
    assert (copy.folder / "params.yaml").is_file()
