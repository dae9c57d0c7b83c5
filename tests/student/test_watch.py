"""What is watched of a training: one line a step, a table that grows, episodes as text that is safe to read."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.projects import default_params
from helpers.tasks import accepted_tasks, played, rubric_of

from synthagent.records import Trajectory
from synthagent.showing.show import trajectory_text
from synthagent.student.live import TrainingEpisodes
from synthagent.student.watch import FILES, Live, LiveTable, Seen, due, figures_of, line_of, speed_of, write_episodes

ROW: dict[str, Any] = {
    "step": 12,
    "reward": 0.4123,
    "pair_rate": 0.2125,
    "perfect": 0.3312,
    "questions": 1.84,
    "violations": 0.0781,
    "entropy": 0.612,
    "dead_groups": 0.125,
    "replaced": 3,
    "clipped": 0.021,
    "tokens_per_second": 1240.4,
}


def test_a_step_is_said_on_one_line() -> None:
    assert line_of("grpo", 95, ROW) == (
        "grpo 12/95  reward .412  pair .21  perfect .33  asked 1.8  violations .08  entropy .61  dead .12  replaced 3  "
        "clip .02  1,240 tok/s"
    )


def test_what_is_not_known_of_a_step_is_left_out() -> None:
    assert line_of("sft", 1750, {"step": 30, "loss": 2.0431, "entropy": None}) == "sft 30/1750  loss 2.043"
    assert figures_of({"step": 1, "reward": 0.0, "perfect": 1.0, "replaced": 0}) == "reward .000  perfect 1.00"


def rows_in(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_live_table_grows_by_a_row_with_its_seconds(tmp_path: Path) -> None:
    path = tmp_path / "live" / "grpo.csv"
    table = LiveTable(path, 0)
    for step in (1, 2):
        time.sleep(0.01)
        assert table.timed({"step": step, "reward": 0.5, "pair_rate": None}, 640)["tokens_per_second"]
        assert [row["step"] for row in rows_in(path)] == [str(n) for n in range(1, step + 1)]
    assert [*rows_in(path)[0]] == ["step", "reward", "pair_rate", "seconds", "tokens_per_second"]
    assert rows_in(path)[0]["pair_rate"] == ""
    assert (speed_of(path) or 0) > 0


def test_a_training_that_goes_on_keeps_the_rows_of_the_steps_it_goes_on_after(tmp_path: Path) -> None:
    path = tmp_path / "grpo.csv"
    first = LiveTable(path, 0)
    for step in (1, 2, 3):
        first.timed({"step": step, "reward": step / 10}, 1)
    again = LiveTable(path, 2)
    assert [row["step"] for row in rows_in(path)] == ["1", "2"]
    again.timed({"step": 3, "reward": 0.9}, 1)
    assert [row["reward"] for row in rows_in(path)] == ["0.1", "0.2", "0.9"]
    old = tmp_path / "grpo-episodes" / "step-0001.txt"
    old.parent.mkdir()
    old.write_text("of a training before")
    LiveTable(path, 2)
    assert old.exists()
    LiveTable(path, 0)
    assert path.read_text() == ""
    assert not old.exists()


def test_a_table_that_cannot_be_written_is_told_once_and_nothing_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "live").write_text("in the way")
    table = LiveTable(tmp_path / "live" / "grpo.csv", 0)
    for step in (1, 2):
        assert table.timed({"step": step}, 10)["step"] == step
    assert capsys.readouterr().out.count("cannot be written") == 1


@pytest.mark.parametrize("steps", [1, 2, 19, 20, 95, 1000])
def test_episodes_of_a_bounded_number_of_steps_are_shown_the_first_among_them(steps: int) -> None:
    shown = [step for step in range(1, steps + 1) if due(step, steps)]
    assert shown[0] == 1
    assert len(shown) <= FILES
    assert len(shown) >= min(steps, FILES // 2)


@pytest.fixture
def seen() -> Seen:
    """An episode of a policy that tries to steer the terminal."""
    task = next(iter(accepted_tasks()))
    episode = played(task)
    rubric = rubric_of(task)
    reward = TrainingEpisodes(default_params(), {task.id: rubric}, None).reward(episode)
    trajectory: Trajectory = episode.trajectory("grpo")
    evil = ({"role": "assistant", "content": "\x1b[2J\x1b]0;owned\x07 done\u202e"},)
    return Seen(trajectory.model_copy(update={"messages": (*trajectory.messages, *evil)}), reward, rubric)


def test_episodes_are_left_as_text_with_their_verdicts_and_cannot_steer_a_terminal(tmp_path: Path, seen: Seen) -> None:
    write_episodes(Live(tmp_path, trajectory_text), 10, [seen, seen])
    text = (tmp_path / "grpo-episodes" / "step-0010.txt").read_text()
    assert text.count(seen.trajectory.id) == 2
    assert "Verdicts" in text
    assert "reward 1.000" in text
    assert "\\x1b[2J" in text
    assert not [character for character in text if character in "\x1b\x07\u202e"]


def test_a_long_episode_is_cut(tmp_path: Path, seen: Seen) -> None:
    long = seen.trajectory.model_copy(update={"messages": ({"role": "assistant", "content": "word " * 100_000},)})
    write_episodes(Live(tmp_path, trajectory_text), 1, [Seen(long, seen.reward, seen.rubric)])
    text = (tmp_path / "grpo-episodes" / "step-0001.txt").read_text()
    assert len(text) < 21_000
    assert "characters more]" in text
