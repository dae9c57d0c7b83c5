"""`synthagent export messages`: trajectories as JSON lines, and what they replace."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.exports import demos, lines_of, tasks, with_rollouts

from synthagent.errors import InputError, StoreError
from synthagent.exchange.messages import export_messages
from synthagent.records import Task, Trajectory
from synthagent.stage import Paths
from synthagent.store import write_records

pytestmark = pytest.mark.usefixtures("project")


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
    export_messages(out, "rollouts")
    before = out.read_bytes()
    with pytest.raises(InputError, match=r"no trajectory to export \(\d+ below the reward asked for\)"):
        export_messages(out, "rollouts", 1.5)
    assert out.read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_trajectories_of_tasks_that_are_gone_are_told(tmp_path: Path) -> None:
    gone = demos()[0].task_id
    write_records(Paths.tasks, Task, [task for task in tasks() if task.id != gone])
    with pytest.raises(StoreError, match="its task is not in"):
        export_messages(tmp_path / "chat.jsonl", "demos")


@pytest.mark.parametrize(
    "content",
    [
        "# My project",
        '{"messages": []}\n',
        '["messages", "tools", "id", "task_id", "policy"]\n',
        '{"messages": [], "tools": [], "id": "", "task_id": "", "policy": "", "note": "mine"}\n',
        "[" * 100_000,
        "\n",
    ],
)
def test_a_file_that_no_export_of_messages_wrote_is_left_alone(tmp_path: Path, content: str) -> None:
    out = tmp_path / "README.md"
    out.write_text(content)
    with pytest.raises(InputError, match="was not written by this export; give a new or empty file"):
        export_messages(out, "demos")
    assert out.read_text() == content
    with pytest.raises(InputError, match="is no file"):
        export_messages(tmp_path, "demos")


def test_an_earlier_export_of_messages_or_an_empty_file_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "chat.jsonl"
    out.touch()
    export_messages(out, "demos")
    demonstrations = out.read_bytes()
    with_rollouts()
    export_messages(out, "rollouts")
    assert "reward" in lines_of(out)[0]
    export_messages(out, "demos")
    assert out.read_bytes() == demonstrations
