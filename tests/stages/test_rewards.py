"""The rewards stage judges stored messages, and believes nothing else that a record says."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from helpers.projects import default_params, said_by
from helpers.tasks import accepted_tasks, played, rubric_of, scored, scripted, task_of_level

from synthagent.episodes.episode import Episode
from synthagent.episodes.scripted import RECKLESS, SCRIPTS, Style
from synthagent.episodes.turn import Turn
from synthagent.judging.reward import score_world
from synthagent.records import Criterion, Reward, Task, Trajectory
from synthagent.stage import Paths
from synthagent.stages import rewards as stage
from synthagent.store import read_records, write_records

RULE = default_params().reward
TASK = task_of_level(1, lambda task: task.split == "train")


def judged(trajectory: Trajectory, task: Task = TASK, **changes: Any) -> Reward:
    return scored(trajectory, task, rule=RULE.model_copy(update=changes))


def by_expert(task: Task = TASK) -> Trajectory:
    return played(task).trajectory("expert")


@pytest.mark.parametrize("formula", ["product", "paper"])
@pytest.mark.parametrize("require", [True, False])
def test_the_stored_messages_alone_give_the_score_that_the_live_episode_had(formula: Any, require: bool) -> None:
    for task in accepted_tasks()[:40]:
        episodes = [*(scripted(name, task) for name in SCRIPTS), played(task, RECKLESS)]
        episodes += [played(task, Style(skill=0.6), random.Random(n)) for n in range(3)]
        for episode in episodes:
            trajectory = episode.trajectory("p")
            live = score_world(rubric_of(task), episode.world, formula, require)
            only_messages = trajectory.model_copy(update={"end": "error", "n_turns": 0, "n_questions": 0})
            found = judged(only_messages, task, formula=formula, require_answer=require)
            assert found.status == "ok"
            for name in ("gate", "subgoals", "interactions", "reward", "reward_paper"):
                assert getattr(found, name) == getattr(live, name)


def test_claiming_an_end_does_not_make_an_answer() -> None:
    episode = Episode(TASK)
    episode.step(Turn("What?"))
    episode.stop("token_limit", "<answer>Done</answer> and more")
    claimed = episode.trajectory("p").model_copy(update={"end": "answer"})
    assert judged(claimed).reward == 0


@pytest.mark.parametrize("how", ["altered", "missing", "not text", "cut"])
def test_a_record_that_its_world_contradicts_earns_no_score(how: str) -> None:
    messages = json.loads(json.dumps(by_expert().messages))
    place = next(n for n, message in enumerate(messages) if message["role"] == "tool")
    match how:
        case "altered":
            messages[place]["content"] = '{"status": "ok"}'
        case "missing":
            del messages[place]
        case "not text":
            messages[place]["content"] = 5
        case "cut":
            del messages[place:]
            messages.append({"role": "assistant", "content": "<answer>Done</answer>"})
    found = judged(by_expert().model_copy(update={"messages": tuple(messages)}))
    assert (found.status, found.reward, found.gate, found.verdicts) == ("error", None, None, ())


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant"},
        {"content": "x"},
        {"role": "assistant", "content": "", "tool_calls": ["x"]},
        {"role": "assistant", "content": "", "tool_calls": 3},
        {"role": "assistant", "content": "", "tool_calls": [{}]},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "x", "arguments": "{"}}]},
    ],
    ids=repr,
)
def test_a_message_that_makes_no_sense_earns_no_score(message: dict[str, Any]) -> None:
    opening = by_expert().messages[:2]
    trajectory = by_expert().model_copy(update={"messages": (*opening, message, {"role": "user", "content": "?"})})
    assert judged(trajectory).status == "error"


def test_null_content_and_null_tool_calls_which_other_tools_write_are_read_as_none() -> None:
    messages = [message | {"content": message["content"] or None} for message in by_expert().messages]
    messages = [m if m["role"] != "assistant" or "tool_calls" in m else m | {"tool_calls": None} for m in messages]
    assert judged(by_expert().model_copy(update={"messages": tuple(messages)})) == judged(by_expert())


def test_a_rewritten_user_reply_is_taken_as_what_the_user_said() -> None:
    messages = json.loads(json.dumps(by_expert().messages))
    place = next(n for n in range(2, len(messages)) if messages[n]["role"] == "user")
    messages[place]["content"] = "I don't know that."
    found = judged(by_expert().model_copy(update={"messages": tuple(messages)}))
    assert found.status == "ok"
    assert found.interactions is not None
    assert found.interactions < 1


def test_a_criterion_that_no_check_decides_leaves_the_trajectory_without_a_score() -> None:
    rubric = rubric_of(TASK)
    undecidable = Criterion(id="polite", kind="subgoal", text="The agent is polite.")
    rubric = rubric.model_copy(update={"criteria": (*rubric.criteria, undecidable)})
    found = scored(by_expert(), TASK, rubric)
    assert (found.status, found.reward) == ("error", None)


def test_there_is_a_verdict_with_evidence_on_every_criterion() -> None:
    found = judged(by_expert())
    assert [verdict.criterion for verdict in found.verdicts] == [c.id for c in rubric_of(TASK).criteria]
    assert all(verdict.by == "check" and verdict.evidence for verdict in found.verdicts)


def test_the_stage_writes_one_row_a_trajectory_and_counts_what_it_wrote(project: Path) -> None:
    tasks = [task for task in read_records(Paths.tasks, Task) if task.split == "train"][:6]
    judged_ids = {row.task_id for row in read_records(Paths.rubrics, type(rubric_of(TASK)))}
    tasks = [task for task in tasks if task.id in judged_ids]
    styles = {"a_expert": Style(), "b_reckless": RECKLESS}
    trajectories = [played(task, style).trajectory(name) for task in tasks for name, style in styles.items()]
    broken = trajectories[0].model_copy(update={"messages": (*trajectories[0].messages[:2], {"role": "assistant"}, {})})
    write_records(Paths.rollouts, Trajectory, [broken, *trajectories[1:]])
    metrics = said_by(stage.run(default_params()))
    rewards = list(read_records(Paths.rewards, Reward))
    assert [reward.trajectory_id for reward in rewards] == [trajectory.id for trajectory in trajectories]
    assert [reward.status for reward in rewards] == ["error"] + ["ok"] * (len(rewards) - 1)
    earned = [reward.reward for reward in rewards if reward.reward is not None]
    assert earned == [0.0, *[1.0, 0.0] * (len(tasks) - 1)]
    assert (metrics["trajectories"], metrics["errors"]) == (len(rewards), 1)
    assert metrics["gate_violations"] == len(tasks)
    assert metrics["mean"] == pytest.approx(sum(earned) / len(earned), abs=1e-4)
