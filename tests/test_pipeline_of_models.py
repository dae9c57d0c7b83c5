"""The whole chain with a model in every role: all stages by the public command, then again from the store alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_openai import Answer, serving
from helpers.projects import figures_in, files_under, synthagent, write_params
from helpers.scripted_teacher import teacher
from helpers.simulated import native

from synthagent.cli import STAGES
from synthagent.episodes.real_tools import PYTHON
from synthagent.records import Evaluation, MappingEntry, Problem, Reward, Task, Trajectory
from synthagent.stage import Paths
from synthagent.store import read_records

ROLES = ("teacher", "user", "tools", "judge", "policy")
SAID = "All of it is settled now"
SMALL = {
    "tasks.count": 10,
    "tasks.heldout_share": 0.4,
    "tasks.unseen_share": 0.0,
    "rubrics.trajectories": 2,
    "reasoning.kinds": {"gcd": 1},
    "reasoning.count": 12,
    "reasoning.heldout_share": 0.5,
    "reasoning.attempts": 2,
    "student.tiny": {"vocab_size": 1_800, "hidden_size": 32, "layers": 1, "heads": 2},
    "sft.demos": 8,
    "sft.reasoning_share": 0.25,
    "sft.batch_size": 2,
    "episode.max_turns": 4,
    "episode.max_tokens": 2_000,
    "episode.max_turn_tokens": 24,
    "rollouts.tasks": 3,
    "rollouts.samples": 4,
    "grpo.steps": 2,
    "grpo.tasks_per_step": 2,
    "grpo.group_size": 2,
    "evaluate.tasks": 2,
    "evaluate.reasoning": 2,
    "llm.max_retries": 1,
    "llm.max_concurrency": 8,
}


def an_instance(schema: dict[str, Any], root: dict[str, Any]) -> Any:
    """The least value that fits a JSON schema, as guided decoding would be held to it."""
    if "$ref" in schema:
        return an_instance(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema:
        return an_instance(schema["anyOf"][0], root)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    match schema.get("type"):
        case "object":
            return {name: an_instance(part, root) for name, part in schema.get("properties", {}).items()}
        case "array":
            return [an_instance(schema["items"], root)] * schema.get("minItems", 0)
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return "text"


def acts(body: dict[str, Any]) -> Answer:
    """A policy that calls a tool, asks the user, and answers."""
    turn = sum(message["role"] == "assistant" for message in body["messages"])
    function = body["tools"][0]["function"]
    if turn == 0:
        return native(function["name"], "First a look.", **an_instance(function["parameters"], {}))
    return "What else should I know?" if turn == 1 else f"<answer>{SAID}</answer>"


def solves(body: dict[str, Any]) -> Answer:
    """Compute the greatest common divisor of the numbers that are asked about, and answer what the code printed."""
    last = body["messages"][-1]
    if last["role"] == "tool":
        return f"<answer>{re.findall(r'[0-9]+', last['content'])[-1]}</answer>"
    numbers = re.search(r"these numbers: ([0-9, ]+)", last["content"])
    assert numbers, last
    return native(PYTHON, "By code.", code=f"import math\nprint(math.gcd({numbers[1]}))")


def every_role(body: dict[str, Any]) -> Answer:
    """One model that plays all roles; the judge's verdicts depend on the sample, so that rewards differ."""
    if "response_format" not in body:
        return solves(body) if body["tools"][0]["function"]["name"] == PYTHON else acts(body)
    schema = body["response_format"]["json_schema"]["schema"]
    match schema["title"]:
        case "ToolAnswer":
            return json.dumps({**an_instance(schema, schema), "equal_to": None})
        case "UserReply":
            return json.dumps({"reply": "I don't know that."})
        case "Extraction":
            workflow = [{"milestone": number, "executed": True} for number in range(1, 8)]
            goals = [{"text": f"It is settled ({n})", "reached_in": [1, 2], "calls": []} for n in range(2)]
            return json.dumps({"workflow": workflow, "subgoals": goals, "interactions": []})
        case "Scenario":
            asked = re.findall(r"<<<(\w+)\n(.*?)\n\1>>>", body["messages"][-1]["content"], re.DOTALL)[-1][1]
            return json.dumps({"instruction": f"I have to know this by noon. {asked}"})
        case "Judgements":
            return judged(schema, body)
        case _:
            # The sources are mostly of blended domains, of which none is ever held out.
            return re.sub(r'"domain": "\w+"', '"domain": "errands"', str(teacher()(body)))


def judged(schema: dict[str, Any], body: dict[str, Any]) -> str:
    """Sub-goals are reached where the policy said so; of some records, by their length, all but the last."""
    text = body["messages"][-1]["content"]
    names = sorted(name for name in _names(schema) if f"\n{name} " in text)
    said, harsh = SAID in text, len(text) % 2
    verdicts: list[dict[str, Any]] = []
    for name in names:
        reached = name.startswith("s") and said and not (harsh and name == names[-1])
        verdicts.append(
            {"criterion": name, "evidence": SAID if reached else "", "passed": reached or not name.startswith("s")}
        )
    return json.dumps({"verdicts": verdicts})


def _names(schema: Any) -> Iterator[str]:
    """The criteria that the schema allows a verdict on."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {}).get("criterion", {}).get("enum", ())
        for part in schema.values():
            yield from _names(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _names(part)


def run(folder: Path, *stages: str) -> None:
    for stage in stages:
        finished = synthagent(stage, cwd=folder)
        assert finished.returncode == 0, f"{stage}: {finished.stdout}\n{finished.stderr}"


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which all stages have run, with one model in every role; it is gone by now."""
    folder = tmp_path_factory.mktemp("chain")
    with serving(every_role) as server:
        role = {"backend": "openai", "base_url": server.base_url, "model": "m", "max_tokens": 300}
        write_params(folder, {**SMALL, **{f"roles.{name}": role for name in ROLES}})
        run(folder, *STAGES)
    return folder


def test_every_stage_says_which_roles_it_paid(chain: Path) -> None:
    paid = {stage: set(figures_in(chain, stage).get("llm") or {}) for stage in STAGES}
    assert paid["tasks"] == {"teacher"}
    assert paid["rubrics"] == {"teacher", "tools", "user"}
    assert paid["reasoning"] == {"teacher"}
    assert {"policy", "user"} <= paid["rollouts"] <= {"policy", "user", "tools"}  # M may know all calls by then
    assert paid["rewards"] == {"judge"}
    assert {"judge"} <= paid["grpo"] <= {"judge", "user", "tools"}
    assert {"policy", "judge"} <= paid["evaluate"]


def test_tasks_are_simulated_and_their_funnel_is_told(chain: Path) -> None:
    tasks = list(read_records(chain / Paths.tasks, Task))
    assert {task.world_kind for task in tasks} == {"simulated"}
    assert {"train", "heldout"} <= {task.split for task in tasks}
    funnel = figures_in(chain, "tasks")["funnel"]
    assert funnel["proposed"] == 10 >= funnel["parsed"] >= funnel["accepted"] == len(tasks)
    assert figures_in(chain, "tasks")["tokens_per_accepted_task"] > 0


def test_trajectories_go_through_m_and_are_judged(chain: Path) -> None:
    rollouts = list(read_records(chain / Paths.rollouts, Trajectory))
    assert {t.end for t in rollouts} == {"answer"}
    assert sum(t.mapping_hits for t in rollouts) > 0
    entries = list(read_records(chain / Paths.mappings, MappingEntry))
    assert {entry.task_id for entry in entries} >= {t.task_id for t in rollouts}
    rewards = list(read_records(chain / Paths.rewards, Reward))
    assert {reward.status for reward in rewards} == {"ok"}
    assert {verdict.by for reward in rewards for verdict in reward.verdicts} >= {"judge"}


def test_problems_are_told_anew_and_solved_by_the_model_with_code_that_runs(chain: Path) -> None:
    problems = list(read_records(chain / Paths.reasoning, Problem))
    assert figures_in(chain, "reasoning")["funnel"]["agreed"] == len(problems) == 12
    assert all(problem.instruction.startswith("I have to know this by noon.") for problem in problems)
    demos = list(read_records(chain / Paths.reasoning_demos, Trajectory))
    assert demos
    assert all(demo.end == "answer" for demo in demos)
    rows = [row for row in read_records(chain / Paths.evaluation, Evaluation) if row.benchmark == "reasoning"]
    assert {row.reward for row in rows if row.policy == "endpoint"} == {1.0}


def test_the_endpoint_is_evaluated_beside_the_students(chain: Path) -> None:
    policies = {row.policy for row in read_records(chain / Paths.evaluation, Evaluation)}
    assert {"endpoint", "noop", "asks_only"} <= policies
    assert "expert" not in policies  # a simulated world has no reference to follow


def test_without_the_server_the_store_alone_gives_the_same_bytes(chain: Path, tmp_path: Path) -> None:
    assert synthagent("cache", "export", str(tmp_path / "store.gz"), cwd=chain).returncode == 0
    again = tmp_path / "again"
    again.mkdir()
    (again / "params.yaml").write_text((chain / "params.yaml").read_text().replace("replay: 'off'", "replay: only"))
    assert "replay: only" in (again / "params.yaml").read_text()
    assert synthagent("cache", "import", str(tmp_path / "store.gz"), cwd=again).returncode == 0
    run(again, "personas", "tasks", "rubrics", "reasoning", "sft", "rollouts", "rewards")
    for path in (Paths.tasks, Paths.rejected, Paths.demos, Paths.rubrics, Paths.dropped, Paths.rollouts):
        assert (again / path).read_bytes() == (chain / path).read_bytes(), path
    for path in (Paths.mappings, Paths.rewards, Paths.reasoning, Paths.reasoning_demos, Paths.reasoning_rejected):
        assert (again / path).read_bytes() == (chain / path).read_bytes(), path
    assert files_under(again / Paths.sft) == {
        again / path.relative_to(chain): content for path, content in files_under(chain / Paths.sft).items()
    }
