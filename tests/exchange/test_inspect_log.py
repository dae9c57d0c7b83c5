"""`synthagent export inspect`: evaluated episodes as logs that Inspect reads."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from helpers.projects import ROOT, assert_one_message, synthagent
from helpers.run import build_dataset

from synthagent.errors import InputError, StoreError
from synthagent.exchange.inspect_log import export_inspect
from synthagent.records import EvaluatedEpisode, Evaluation
from synthagent.stage import Paths
from synthagent.store import read_records, write_records

INSPECT = ROOT / ".venv-inspect" / "bin" / "python"
READ = """
import json, sys
from inspect_ai.log import list_eval_logs, read_eval_log
for info in list_eval_logs(sys.argv[1]):
    log = read_eval_log(info)
    samples = [{"id": s.id, "roles": [m.role for m in s.messages], "reward": s.scores["reward"].value,
                "calls": [c.function for m in s.messages for c in getattr(m, "tool_calls", None) or []],
                "explanation": s.scores["reward"].explanation} for s in log.samples]
    print(json.dumps({"model": log.eval.model, "status": log.status, "samples": samples,
                      "mean": log.results.scores[0].metrics["mean"].value}))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    build_dataset(folder)
    return folder


def rewards_of(run: Path, policy: str, decoding: str) -> dict[str, float]:
    rows = read_records(run / Paths.evaluation, Evaluation)
    return {row.task_id: row.reward for row in rows if (row.policy, row.decoding) == (policy, decoding)}


def test_each_policy_has_a_log_with_all_its_episodes_and_the_same_data_give_the_same_bytes(
    run: Path, tmp_path: Path
) -> None:
    finished = synthagent("export", "inspect", str(tmp_path / "logs"), cwd=run)
    assert (finished.returncode, finished.stderr) == (0, "")
    names = {path.stem.rpartition("_")[2] for path in (tmp_path / "logs").glob("*.json")}
    assert names >= {"expert", "sft", "sft-greedy", "grpo", "grpo-greedy", "noop"}
    log = json.loads(next((tmp_path / "logs").glob("*_grpo-greedy.json")).read_text())
    assert {s["id"]: s["scores"]["reward"]["value"] for s in log["samples"]} == rewards_of(run, "grpo", "greedy")
    before = {path.name: path.read_bytes() for path in (tmp_path / "logs").iterdir()}
    export_inspect(tmp_path / "logs", run / "data")
    assert {path.name: path.read_bytes() for path in (tmp_path / "logs").iterdir()} == before


def test_what_is_missing_or_would_be_lost_is_told(run: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"episodes\.parquet: no such file"):
        export_inspect(tmp_path / "logs", tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other things"):
        export_inspect(tmp_path / "mine", run / "data")
    assert_one_message(synthagent("export", "inspect", "logs", cwd=tmp_path), "episodes.parquet", "dvc repro")


@pytest.mark.skipif(not INSPECT.exists(), reason="servers/inspect.sh has not been run: no .venv-inspect")
def test_inspects_own_reader_reads_every_log_even_of_a_policy_that_writes_nonsense(run: Path, tmp_path: Path) -> None:
    episodes = list(read_records(run / Paths.episodes, EvaluatedEpisode))
    call = {"id": "c", "type": "function", "function": {"name": "\x1b[2J", "arguments": "[1, {"}}
    said: tuple[dict[str, Any], ...] = ({"role": "odd", "content": None}, {"role": "assistant", "tool_calls": [call]})
    at = next(n for n, episode in enumerate(episodes) if episode.policy == "doer")
    episodes[at] = episodes[at].model_copy(update={"messages": said})
    data = tmp_path / "data"
    data.mkdir()
    for path in (Paths.tasks, Paths.rubrics, Paths.evaluation):
        (data / path.name).write_bytes((run / path).read_bytes())
    write_records(data / Paths.episodes.name, EvaluatedEpisode, episodes)
    export_inspect(tmp_path / "logs", data)
    finished = subprocess.run([INSPECT, "-c", READ, tmp_path / "logs"], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    logs = {log["model"]: log for log in map(json.loads, finished.stdout.splitlines())}
    assert {log["status"] for log in logs.values()} == {"success"}
    assert sum(len(log["samples"]) for log in logs.values()) == len(episodes)
    expert = logs["synthagent/expert"]
    assert expert["mean"] == 1
    by_task = {e.task_id: e for e in episodes if e.policy == "expert"}
    for sample in expert["samples"]:
        assert sample["roles"] == [message["role"] for message in by_task[sample["id"]].messages]
        assert len(sample["calls"]) == by_task[sample["id"]].n_tool_calls
        assert "passed live constraint" in sample["explanation"]
