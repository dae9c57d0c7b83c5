"""Episodes are listed, filtered and sorted: `synthagent list`, and the rows behind it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.projects import assert_one_message, synthagent
from helpers.run import build_dataset

from synthagent.errors import InputError, StoreError
from synthagent.records import EvaluatedEpisode, Evaluation, Trajectory
from synthagent.showing.listing import listed
from synthagent.showing.rows import EpisodeRow, WantedEpisodes, chosen, read_rows
from synthagent.stage import Paths
from synthagent.store import read_keys, read_records


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    build_dataset(folder)
    return folder


@pytest.fixture(scope="module")
def rows(run: Path) -> list[EpisodeRow]:
    return read_rows(run)


def test_all_evaluated_episodes_and_rollouts_are_rows_with_what_they_earned(run: Path, rows: list[EpisodeRow]) -> None:
    files = ((Paths.episodes, EvaluatedEpisode), (Paths.rollouts, Trajectory))
    assert [row.id for row in rows] == sorted(key for path, kind in files for key in read_keys(run / path, kind))
    earned = {(e.task_id, e.policy, e.decoding): e.reward for e in read_records(run / Paths.evaluation, Evaluation)}
    shown = {(row.task, row.policy, row.decoding): row.reward for row in rows if row.split != "train"}
    assert shown == earned
    assert any(row.id == f"{row.task}.grpo.greedy.0" and row.decoding == "greedy" for row in rows)
    assert any(line.startswith("live constraint: ") for row in rows for line in row.failed)


def test_filters_narrow_the_rows_and_together_they_narrow_more(rows: list[EpisodeRow]) -> None:
    of_grpo = chosen(rows, WantedEpisodes(policy=("grpo",)))
    greedy = chosen(rows, WantedEpisodes(policy=("grpo",), decoding=("greedy",)))
    assert 0 < len(greedy) < len(of_grpo) < len(rows)
    assert {row.split for row in chosen(rows, WantedEpisodes(split=("heldout", "train"), level=(1,)))} == {
        "heldout",
        "train",
    }
    middling = chosen(rows, WantedEpisodes(min_reward=0.01, max_reward=0.99))
    assert middling
    assert all(0.01 <= row.reward <= 0.99 for row in middling)
    broken = chosen(rows, WantedEpisodes(failed="CONSTRAINT"))
    assert broken
    assert {row.reward for row in broken} == {0}
    assert chosen(rows, WantedEpisodes(failed="no criterion says this")) == []


def test_rows_are_sorted_either_way_and_those_without_a_reward_come_last(rows: list[EpisodeRow]) -> None:
    some = [*rows[:30], replace(rows[0], id="zzz", reward=None)]
    for reverse in (False, True):
        rewards = [row.reward for row in chosen(some, WantedEpisodes(), "reward", reverse)]
        assert rewards[-1] is None
        assert rewards[:-1] == sorted(rewards[:-1], reverse=reverse)


def test_a_value_that_no_episode_has_is_an_error_that_names_those_there_are(rows: list[EpisodeRow]) -> None:
    with pytest.raises(InputError, match=r"--policy: no episode has gpro; .*grpo"):
        chosen(rows, WantedEpisodes(policy=("gpro",)))
    with pytest.raises(InputError, match=r"--level: no episode has 7; there are: 1, 2"):
        chosen(rows, WantedEpisodes(level=(7,)))


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_a_table_is_never_wider_than_the_terminal_and_steers_nothing(rows: list[EpisodeRow], width: int) -> None:
    evil = replace(rows[0], id="e\x1b[2Jvil\u202e", domain="d" * 300, failed=("\x07",) * 90)
    lines = list(listed([evil, *rows[:20]], "table", width, coloured=False))
    assert max(map(len, lines)) <= width
    assert len(lines) == 23
    assert "e\\x1b[2Jvil" in lines[1]
    assert all(row.id in line for row, line in zip(rows[:20], lines[2:], strict=False))
    assert not {"\x1b", "\u202e", "\x07"} & set("".join(lines))


def test_in_a_pipe_there_are_ids_to_show_and_json_where_asked_for(run: Path) -> None:
    finished = synthagent("list", "--policy", "grpo", "--decoding", "greedy", "--sort", "reward", "-n", "3", cwd=run)
    ids = finished.stdout.splitlines()
    assert len(ids) == 3
    shown = synthagent("show", ids[0], cwd=run)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "Verdicts" in shown.stdout
    assert "reward_paper" in shown.stdout
    told = synthagent("list", "--as", "jsonl", "-n", "2", cwd=run).stdout.splitlines()
    assert [json.loads(line)["id"] for line in told] == sorted(row.id for row in read_rows(run))[:2]


def test_where_only_rollouts_are_there_the_stage_that_writes_the_others_is_told(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "half")
    (tmp_path / "half" / Paths.episodes).unlink()
    finished = synthagent("list", "-n", "1", cwd=tmp_path / "half")
    assert finished.returncode == 0
    assert finished.stdout.startswith("task-")
    assert "rollouts only; `dvc repro evaluate` writes it" in finished.stderr


def test_where_nothing_is_there_yet_the_stage_to_run_is_told(run: Path, tmp_path: Path) -> None:
    assert_one_message(synthagent("list", cwd=tmp_path), "data/episodes.parquet: no such file", "dvc repro evaluate")
    (tmp_path / "data").mkdir()
    (tmp_path / Paths.episodes).write_bytes((run / Paths.episodes).read_bytes())
    with pytest.raises(StoreError, match=r"evaluation\.parquet: no such file; run the stage"):
        read_rows(tmp_path)
    (tmp_path / Paths.evaluation).write_bytes((run / Paths.evaluation).read_bytes())
    (tmp_path / Paths.episodes).write_bytes(b"PAR1")
    with pytest.raises(StoreError, match=r"episodes\.parquet: not a readable Parquet file"):
        read_rows(tmp_path)
