"""`synthagent export`: what is written is what others read, and nothing else is touched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.projects import assert_one_message, synthagent

from synthagent.episodes.turn import parse_turn
from synthagent.errors import InputError, StoreError
from synthagent.exchange.hf import export_hf
from synthagent.exchange.messages import export_messages
from synthagent.exchange.verl import export_verl
from synthagent.records import Criterion, Reward, Rubric, Task, Trajectory
from synthagent.stage import Paths
from synthagent.store import arrow_schema, read_records, write_records

pytestmark = pytest.mark.usefixtures("project")


def tasks() -> list[Task]:
    return list(read_records(Paths.tasks, Task))


def demos() -> list[Trajectory]:
    return list(read_records(Paths.demos, Trajectory))


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def with_rollouts(rewards: bool = True) -> list[Trajectory]:
    """Make the demonstrations rollouts of a student; their rewards are 0, .1, .2 .. 1, 0 .. and every 12th unknown."""
    rows = [row.model_copy(update={"policy": "sft"}) for row in demos()]
    write_records(Paths.rollouts, Trajectory, rows)
    if rewards:
        write_records(Paths.rewards, Reward, (reward(row, n % 12) for n, row in enumerate(rows)))
    return rows


def reward(row: Trajectory, tenths: int) -> Reward:
    value = None if tenths == 11 else tenths / 10
    return Reward(
        trajectory_id=row.id,
        task_id=row.task_id,
        gate=value,
        subgoals=value,
        interactions=value,
        reward=value,
        reward_paper=value,
        verdicts=(),
        status="error" if value is None else "ok",
    )


# --- messages -------------------------------------------------------------------------------------------------------


def test_demonstrations_become_openai_messages_with_their_tools(tmp_path: Path) -> None:
    out = tmp_path / "chat.jsonl"
    told = export_messages(out, "demos")
    lines, by_task = lines_of(out), {task.id: task for task in tasks()}
    assert told == f"{out}: {len(demos())} trajectories"
    assert [line["id"] for line in lines] == [demo.id for demo in demos()]
    for line, demo in zip(lines, demos(), strict=True):
        assert line["messages"] == list(demo.messages)
        assert line["task_id"] == demo.task_id
        task = by_task[demo.task_id]
        assert line["tools"] == [tool.schema_of_openai for tool in task.tools]
        assert "reward" not in line


def test_rollouts_can_be_asked_for_by_the_reward_they_earned(tmp_path: Path) -> None:
    rows = with_rollouts()
    told = export_messages(tmp_path / "all.jsonl", "rollouts")
    assert f"{len(rows)} trajectories" in told
    told = export_messages(tmp_path / "good.jsonl", "rollouts", 0.7)
    good = lines_of(tmp_path / "good.jsonl")
    assert {line["reward"] for line in good} == {0.7, 0.8, 0.9, 1.0}
    assert f"{len(good)} trajectories; left out: {len(rows) - len(good)} below the reward asked for" in told


def test_rollouts_that_were_never_judged_are_exported_without_a_reward(tmp_path: Path) -> None:
    rows = with_rollouts(rewards=False)
    export_messages(tmp_path / "all.jsonl", "rollouts")
    lines = lines_of(tmp_path / "all.jsonl")
    assert len(lines) == len(rows)
    assert not any("reward" in line for line in lines)


def test_faulty_episodes_are_left_out_and_counted(tmp_path: Path) -> None:
    first, second, *rest = demos()
    faulty = [first.model_copy(update={"error": "user_fault"}), second.model_copy(update={"end": "error"})]
    write_records(Paths.demos, Trajectory, [*faulty, *rest])
    told = export_messages(tmp_path / "chat.jsonl", "demos")
    assert told.endswith("left out: 2 faulty")
    assert [line["id"] for line in lines_of(tmp_path / "chat.jsonl")] == [row.id for row in rest]


def test_messages_that_no_filter_leaves_are_an_error_and_what_was_there_stays(tmp_path: Path) -> None:
    with_rollouts()
    out = tmp_path / "good.jsonl"
    out.write_text("precious")
    with pytest.raises(InputError, match=r"no trajectory to export \(\d+ below the reward asked for\)"):
        export_messages(out, "rollouts", 1.5)
    assert out.read_text() == "precious"
    assert not list(tmp_path.glob(".*"))


def test_trajectories_of_tasks_that_are_gone_are_told(tmp_path: Path) -> None:
    gone = demos()[0].task_id
    write_records(Paths.tasks, Task, [task for task in tasks() if task.id != gone])
    with pytest.raises(StoreError, match="its task is not in"):
        export_messages(tmp_path / "chat.jsonl", "demos")


def test_a_missing_dataset_names_the_stage_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"rollouts\.parquet: no such file; the stage rollouts writes it"):
        export_messages(tmp_path / "x.jsonl", "rollouts")
    with_rollouts(rewards=False)
    with pytest.raises(StoreError, match="the stage rewards writes it"):
        export_messages(tmp_path / "x.jsonl", "rollouts", 0.5)
    Paths.demos.unlink()
    with pytest.raises(StoreError, match="the stage rubrics writes it: run `dvc repro rubrics` first"):
        export_messages(tmp_path / "x.jsonl", "demos")
    Paths.rubrics.unlink()
    with pytest.raises(StoreError, match="the stage rubrics writes it"):
        export_verl(tmp_path / "verl")
    Paths.tasks.unlink()
    with pytest.raises(StoreError, match="the stage tasks writes it"):
        export_hf(tmp_path / "hf")
    assert not [path for path in tmp_path.iterdir() if path.name != "project"]


# --- verl -----------------------------------------------------------------------------------------------------------


def verl_rows(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(folder.glob("*.parquet")):
        yield from ((path.stem, row) for row in pq.read_table(path).to_pylist())


def test_verl_rows_have_its_five_columns_and_all_that_judging_needs(tmp_path: Path) -> None:
    export_verl(tmp_path / "verl")
    rubrics = {rubric.task_id: rubric for rubric in read_records(Paths.rubrics, Rubric)}
    by_id = {task.id: task for task in tasks()}
    rows = list(verl_rows(tmp_path / "verl"))
    assert {row["extra_info"]["task_id"] for _, row in rows} == set(rubrics)
    for split, row in rows:
        assert list(row) == ["data_source", "prompt", "ability", "reward_model", "extra_info"]
        info = row["extra_info"]
        task = Task.model_validate_json(info["task"])
        assert task == by_id[info["task_id"]]
        assert split == info["split"] == task.split
        truth = json.loads(row["reward_model"]["ground_truth"])
        criteria = tuple(Criterion.model_validate(part) for part in truth["criteria"])
        assert criteria == rubrics[task.id].criteria
        assert row["reward_model"]["style"] == "rule"
        assert json.loads(info["tools"])[0] == task.tools[0].schema_of_openai


def test_a_verl_prompt_is_the_opening_with_tools_that_our_parser_reads_calls_of(tmp_path: Path) -> None:
    export_verl(tmp_path / "verl")
    _, row = next(verl_rows(tmp_path / "verl"))
    task = Task.model_validate_json(row["extra_info"]["task"])
    assert [message["role"] for message in row["prompt"]] == ["system", "user"]
    system, user = (message["content"] for message in row["prompt"])
    assert user == task.instruction
    assert all(constraint.text in system for constraint in task.constraints)
    listed = system.partition("<tools>\n")[2].partition("\n</tools>")[0].splitlines()
    assert [json.loads(line) for line in listed] == [tool.schema_of_openai for tool in task.tools]
    shown = system.partition("</tools>")[2].replace("NAME", '"find"').replace("ARGUMENT: VALUE", '"a": 1')
    assert parse_turn(shown).calls[0].name == "find"
    assert not any(fact.value in system for fact in task.facts)


def test_verl_indices_count_from_zero_within_a_split(tmp_path: Path) -> None:
    export_verl(tmp_path / "verl")
    indices: dict[str, list[int]] = {}
    for split, row in verl_rows(tmp_path / "verl"):
        indices.setdefault(split, []).append(row["extra_info"]["index"])
    assert len(indices) > 1
    assert all(found == list(range(len(found))) for found in indices.values())


def test_a_rubric_that_code_cannot_decide_is_for_a_model_and_a_task_without_one_is_left_out(tmp_path: Path) -> None:
    first, second, *rest = read_records(Paths.rubrics, Rubric)
    open_ended = tuple(criterion.model_copy(update={"check": None}) for criterion in first.criteria)
    write_records(Paths.rubrics, Rubric, [first.model_copy(update={"criteria": open_ended}), *rest])
    told = export_verl(tmp_path / "verl")
    styles = {row["extra_info"]["task_id"]: row["reward_model"]["style"] for _, row in verl_rows(tmp_path / "verl")}
    assert styles[first.task_id] == "model"
    assert set(styles.values()) == {"model", "rule"}
    assert second.task_id not in styles
    assert f"{len(tasks()) - len(styles)} tasks without a rubric left out" in told


# --- Hugging Face ---------------------------------------------------------------------------------------------------


def test_datasets_reads_every_table_and_split_back_as_it_was(tmp_path: Path) -> None:
    from datasets import get_dataset_config_names, load_dataset

    with_rollouts()
    told = export_hf(tmp_path / "hf")
    assert told.startswith(f"{tmp_path / 'hf'}: tasks: ")
    folder, cache = str(tmp_path / "hf"), str(tmp_path / "cache")
    assert get_dataset_config_names(folder) == ["tasks", "rubrics", "demos", "rollouts", "rewards"]
    files = {"tasks": Paths.tasks, "rubrics": Paths.rubrics, "demos": Paths.demos, "rewards": Paths.rewards}
    split_of = {task.id: task.split for task in tasks()}
    for name, path in files.items():
        loaded = load_dataset(folder, name, cache_dir=cache)
        stored = pq.read_table(path).to_pylist()
        key = "id" if name == "tasks" else "task_id"
        for split, part in loaded.items():
            assert part.to_list() == [row for row in stored if split_of[row[key]] == split], (name, split)
        assert sum(map(len, loaded.values())) == len(stored)
    assert load_dataset(folder, cache_dir=cache)["train"].column_names == arrow_schema(Task).names


def test_the_card_describes_every_column_and_names_json(tmp_path: Path) -> None:
    export_hf(tmp_path / "hf")
    card = (tmp_path / "hf" / "README.md").read_text()
    assert all(f"- `{name}`" in card for name in Task.model_fields)
    assert "- `world`: JSON" in card
    assert "rollouts.parquet" not in card


def test_rows_with_columns_of_another_version_are_told(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["x"], "split": ["train"]}), Paths.tasks)
    with pytest.raises(StoreError, match="format 1"):
        export_hf(tmp_path / "hf")


# --- folders and the command ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("export", [export_hf, export_verl])
def test_an_earlier_export_is_replaced_and_anything_else_is_left_alone(tmp_path: Path, export: Any) -> None:
    out = tmp_path / "out"
    out.mkdir()
    export(out)
    export(out)
    (out / "train.parquet").unlink(missing_ok=True)
    export(out)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds other things, such as notes\.txt"):
        export(out)
    assert (out / "notes.txt").read_text() == "mine"
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "README.md").write_text("my own")
    with pytest.raises(InputError, match=r"such as README\.md"):
        export(mine)
    with pytest.raises(InputError, match="is a file"):
        export(mine / "README.md")
    with pytest.raises(InputError, match=r"such as README\.md"):
        export(tmp_path / "not there" / ".." / "mine")
    assert (mine / "README.md").read_text() == "my own"


def test_the_commands_export_and_tell_a_mistake_in_one_line(project: Path) -> None:
    for words in (("messages", "chat.jsonl"), ("verl", "verl"), ("hf", "hf")):
        finished = synthagent("export", *words, cwd=project)
        assert finished.returncode == 0, finished.stderr
        assert (project / words[1]).exists()
    assert_one_message(synthagent("export", "messages", "x", "--min-reward", "1", cwd=project), "--source rollouts")
    assert_one_message(synthagent("export", "hf", "new", "--data", "nowhere", cwd=project), "nowhere/tasks.parquet")
    assert_one_message(synthagent("export", "verl", ".", cwd=project), "holds other things")
