"""Tasks that others act in: which there are, and what turns earn in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.projects import default_params
from helpers.simulated import simulated_task
from helpers.tasks import accepted_tasks, rubric_of, scored
from hypothesis import given
from hypothesis import strategies as st

from synthagent.episodes.episode import Episode, play
from synthagent.episodes.scripted import SCRIPTS
from synthagent.episodes.turn import turn_of, turn_of_chat
from synthagent.errors import InputError, StoreError
from synthagent.exchange.playable import Rules, judged, played, read_playables, task_of
from synthagent.records import Rubric, Task
from synthagent.store import write_records

RULES = Rules(max_turns=default_params().episode.max_turns, reward=default_params().reward)


@given(st.sampled_from(accepted_tasks()), st.sampled_from(sorted(SCRIPTS)))
def test_turns_that_are_played_again_earn_what_the_stage_pays_for_their_record(task: Task, script: str) -> None:
    episode = Episode(task, max_turns=RULES.max_turns)
    trajectory = play(episode, SCRIPTS[script](episode)).trajectory(script)
    turns = [turn_of(message) for message in trajectory.messages if message["role"] == "assistant"]
    again = judged(played(task, turns, RULES), rubric_of(task), RULES, trajectory.id)
    assert again == scored(trajectory, task)


@given(st.text(), st.lists(st.tuples(st.text(), st.one_of(st.text(), st.just("{}"), st.just("[" * 9_000)))))
def test_any_chat_message_makes_a_turn_that_a_world_can_take(text: str, calls: list[tuple[str, str]]) -> None:
    asked = [{"name": name, "arguments": arguments} for name, arguments in calls]
    episode = played(accepted_tasks()[0], [turn_of_chat(text, asked)], RULES)
    reward = judged(episode, rubric_of(episode.task), RULES)
    assert reward.reward is not None
    assert 0 <= reward.reward <= 1


def files(folder: Path, tasks: list[Task], rubrics: list[Rubric]) -> tuple[Path, Path]:
    write_records(folder / "tasks.parquet", Task, tasks)
    write_records(folder / "rubrics.parquet", Rubric, rubrics)
    return folder / "tasks.parquet", folder / "rubrics.parquet"


def test_tasks_without_a_rubric_or_that_need_a_model_are_not_playable(tmp_path: Path) -> None:
    plain, lacking, vague = sorted(accepted_tasks()[:3], key=lambda task: task.id)
    simulated = simulated_task().model_copy(update={"id": "zzz"})
    open_ones = tuple(criterion.model_copy(update={"check": None}) for criterion in rubric_of(vague).criteria)
    rubrics = [rubric_of(plain), rubric_of(vague).model_copy(update={"criteria": open_ones})]
    rubrics.append(rubric_of(plain).model_copy(update={"task_id": "zzz"}))
    paths = files(tmp_path, [plain, lacking, vague, simulated], rubrics)
    assert [playable.task for playable in read_playables(*paths)] == [plain]
    assert [playable.task for playable in read_playables(*paths, plain.split)] == [plain]
    with pytest.raises(InputError, match="no task of the split unseen_domain"):
        list(read_playables(*paths, "unseen_domain"))


@pytest.mark.parametrize(("missing", "stage"), [("tasks.parquet", "tasks"), ("rubrics.parquet", "rubrics")])
def test_a_missing_file_is_told_with_the_stage_that_writes_it(missing: str, stage: str, tmp_path: Path) -> None:
    task = accepted_tasks()[0]
    paths = files(tmp_path, [task], [rubric_of(task)])
    (tmp_path / missing).unlink()
    with pytest.raises(StoreError, match=f"the stage {stage} writes it: run `dvc repro {stage}`"):
        list(read_playables(*paths))


@pytest.mark.parametrize("id", ["task-000000x", "\x1b[2J", "", "x" * 10_000])
def test_an_unknown_id_is_told_with_the_nearest(id: str, tmp_path: Path) -> None:
    task = accepted_tasks()[0]
    paths: Any = files(tmp_path, [task], [rubric_of(task)])
    with pytest.raises(InputError, match=f"the nearest are {task.id}") as told:
        task_of(paths[0], id)
    assert "\x1b" not in str(told.value)
    assert len(str(told.value)) < 500
