"""Flows against a real Prefect server and a real DVC, in a small project whose stages last as long as a test needs."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psutil
import pytest
import yaml
from helpers.processes import PATIENCE, eventually, is_alive
from helpers.projects import ROOT

from synthagent.cli import STAGES

ENDLESS = 1_000_000
STAGE = """
import json, os, pathlib, sys, time
name = sys.argv[1]
how = json.loads(pathlib.Path(f"{name}.json").read_text())
with open("ran.txt", "a") as ran:
    ran.write(f"{name} {os.getpid()}\\n")
print(f"{name} says hello")
print("10%\\r100% of a bar", file=sys.stderr)
for done in range(1, how["steps"] + 1):
    print("@progress", json.dumps({"stage": name, "done": done, "total": how["steps"]}), flush=True)
    time.sleep(0.05)
if how.get("error"):
    sys.exit(how["error"])
pathlib.Path(f"data/{name}.txt").write_text("done")
metrics = {"count": 3, "mean": 0.5, "coverage": None}
pathlib.Path(f"data/metrics/{name}.json").write_text(json.dumps(metrics))
"""


@dataclass
class Project:
    """A DVC project with all stages of ours, each reading what the one before it wrote, and a Prefect server to be."""

    folder: Path
    port: int
    serving: subprocess.Popen[bytes] | None = None

    def env(self, **extra: str) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        return inherited | {"PYTHONPATH": str(ROOT), "PREFECT_SERVER_API_PORT": str(self.port)} | extra

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def serve(self) -> str:
        """Start `python -m flows.serve`; return what it printed until it was ready."""
        self.serving = self.start("serve", self.env())
        log = self.folder / "serve.log"
        return eventually("serve is ready", lambda: text if "To start a run" in (text := log.read_text()) else None)

    def end_serving(self, number: signal.Signals) -> int:
        assert self.serving
        self.serving.send_signal(number)
        return self.serving.wait(PATIENCE)

    def start(self, module: str, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"flows.{module}"]
        with (self.folder / f"{module}.log").open("wb") as log:
            return subprocess.Popen(command, cwd=self.folder, env=env, stdout=log, stderr=log)

    def flow(self, name: str) -> subprocess.Popen[bytes]:
        """Start a flow as a program that reports to the server of `serve`."""
        return self.start(name, self.env(PREFECT_API_URL=self.url))

    def prefect(self, *args: str) -> str:
        """Run Prefect's command as a user would."""
        command, env = [sys.executable, "-m", "prefect", *args], self.env(PREFECT_API_URL=self.url)
        return subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, check=True).stdout

    def run_deployment(self, name: str) -> str:
        """Ask the server for a run, and return its id."""
        found = re.search(r"UUID: ([0-9a-f-]{36})", self.prefect("deployment", "run", f"{name}/{name}"))
        assert found
        return found[1]

    def ask(self, path: str, body: object | None = None) -> Any:
        """Call the server's API: GET, or POST where there is a body."""
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(self.url + path, data, {"Content-Type": "application/json"}), timeout=PATIENCE) as answer:
            return json.load(answer)

    def state(self, run: str) -> tuple[str, str]:
        state = self.ask(f"/flow_runs/{run}")["state"]
        return state["type"], state["message"] or ""

    def ends(self, run: str) -> tuple[str, str]:
        """The state in which a run ends."""
        final = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")
        return eventually("a final state", lambda: state if (state := self.state(run))[0] in final else None)

    def latest_run(self, flow: str) -> str:
        runs = self.ask("/flow_runs/filter", {"sort": "START_TIME_DESC", "flows": {"name": {"any_": [flow]}}})
        return str(runs[0]["id"])

    def logs(self, run: str) -> list[str]:
        return [row["message"] for row in self.ask("/logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}})]

    def artifacts(self, run: str) -> dict[str, Any]:
        rows = self.ask("/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}}})
        return {row["key"]: row["data"] for row in rows}

    def will(self, stage: str, steps: int = 1, error: str = "") -> None:
        """Say how a stage goes from now on, which also makes it due."""
        how = {"steps": steps, "error": error, "change": time.monotonic_ns()}
        (self.folder / f"{stage}.json").write_text(json.dumps(how))

    def ran(self) -> list[tuple[str, int]]:
        """The stages that DVC started since the test began, with their process ids."""
        path = self.folder / "ran.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(name, int(pid)) for name, pid in (line.split() for line in lines)]

    def started(self, stage: str) -> int:
        """Wait until a stage runs; return its process id."""
        return eventually(f"{stage} runs", lambda: next((pid for name, pid in self.ran() if name == stage), None))

    def processes(self) -> list[str]:
        """What runs in the project's folder."""
        found = psutil.process_iter(["cwd", "status", "cmdline"], ad_value=None)
        here = [process.info for process in found if process.info["cwd"] == str(self.folder)]
        return [" ".join(info["cmdline"]) for info in here if info["status"] != psutil.STATUS_ZOMBIE]


@pytest.fixture(scope="module")
def module_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("flows").resolve()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        project = Project(folder, int(probe.getsockname()[1]))
    stages, before = {}, []
    for name in STAGES:
        stages[name] = {
            "cmd": f"{sys.executable} stage.py {name}",
            "deps": [f"{name}.json", *before],
            "outs": [f"data/{name}.txt"],
            "metrics": [{f"data/metrics/{name}.json": {"cache": False}}],
        }
        before = [f"data/{name}.txt"]
        project.will(name)
    (folder / "stage.py").write_text(STAGE)
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (folder / "data" / "metrics").mkdir(parents=True)
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"], ["dvc", "config", "core.analytics", "false"]):
        subprocess.run(command, cwd=folder, check=True)
    printed = project.serve()
    assert f"http://127.0.0.1:{project.port}\n" in printed
    assert f"PREFECT_API_URL={project.url} prefect deployment run pipeline/pipeline" in printed
    yield project
    assert project.end_serving(signal.SIGTERM) == 0
    assert project.processes() == []


@pytest.fixture
def served(module_project: Project) -> Project:
    """The project, served, in which no stage ran yet as far as the test can tell."""
    (module_project.folder / "ran.txt").unlink(missing_ok=True)
    return module_project


def test_the_pipeline_and_every_stage_can_be_started_from_the_dashboard(served: Project) -> None:
    deployments = served.ask("/deployments/filter", {})
    assert {deployment["name"] for deployment in deployments} == {"pipeline", *STAGES}
    assert (served.folder / ".prefect" / "prefect.db").exists()
    page = Request(served.url.removesuffix("/api"), headers={"Accept": "text/html"})
    with urlopen(page, timeout=PATIENCE) as answer:
        assert "<title>" in answer.read().decode()


def test_a_stage_that_goes_well_leaves_its_lines_progress_and_metrics_on_the_server(served: Project) -> None:
    served.will("personas")
    flow = served.flow("personas")
    assert flow.wait(PATIENCE) == 0
    run = served.latest_run("personas")
    assert served.state(run)[0] == "COMPLETED"
    logs = served.logs(run)
    assert "personas says hello" in logs
    assert "100% of a bar" in logs
    assert not [line for line in logs if "@progress" in line]
    artifacts = served.artifacts(run)
    assert artifacts["progress-personas"] == 100
    assert json.loads(artifacts["metrics-personas"]) == [
        {"metric": "count", "value": 3},
        {"metric": "mean", "value": 0.5},
        {"metric": "coverage", "value": None},
    ]
    assert served.flow("personas").wait(PATIENCE) == 0
    assert len(served.ran()) == 1  # it was up to date
    assert set(served.artifacts(served.latest_run("personas"))) == set(artifacts)


def test_progress_is_on_the_server_while_the_stage_runs_and_a_cancel_ends_the_stage(served: Project) -> None:
    served.will("personas", steps=ENDLESS)
    run = served.run_deployment("personas")
    stage = served.started("personas")
    eventually("progress", lambda: 0 < served.artifacts(run).get("progress-personas", 0) < 100)
    second = served.run_deployment("personas")
    assert served.ends(second)[0] == "CANCELLED"
    assert is_alive(stage)
    served.prefect("flow-run", "cancel", run)
    eventually("the stage's end", lambda: not is_alive(stage))
    assert served.ends(run)[0] == "CANCELLED"
    assert [name for name, _ in served.ran()] == ["personas"]


def test_a_failing_stage_fails_its_flow_with_the_last_line_it_printed(served: Project) -> None:
    served.will("personas", error="synthagent: personas.path: no such file; mend it")
    flow = served.flow("personas")
    assert flow.wait(PATIENCE) == 1
    kind, message = served.state(served.latest_run("personas"))
    assert kind == "FAILED"
    assert message.endswith("stage personas: synthagent: personas.path: no such file; mend it")


def test_where_dvc_cannot_run_a_stage_its_own_error_is_the_message(served: Project) -> None:
    (served.folder / "sft.json").rename(served.folder / "away.json")
    try:
        flow = served.flow("sft")
        assert flow.wait(PATIENCE) == 1
    finally:
        (served.folder / "away.json").rename(served.folder / "sft.json")
    kind, message = served.state(served.latest_run("sft"))
    assert kind == "FAILED"
    assert "sft.json" in message
    assert served.ran() == []


def test_when_the_flow_is_killed_its_stage_ends(served: Project) -> None:
    served.will("personas", steps=ENDLESS)
    flow = served.flow("personas")
    stage = served.started("personas")
    flow.kill()
    flow.wait(PATIENCE)
    eventually("the stage's end", lambda: not is_alive(stage))


def test_the_pipeline_runs_every_stage_in_order(served: Project) -> None:
    for stage in STAGES:
        served.will(stage)
    flow = served.flow("pipeline")
    assert flow.wait(PATIENCE) == 0
    assert [name for name, _ in served.ran()] == list(STAGES)
    artifacts = served.artifacts(served.latest_run("pipeline"))
    assert set(artifacts) == {f"{kind}-{stage}" for kind in ("progress", "metrics") for stage in STAGES}


def test_the_order_of_the_stages_is_that_of_dvcs_graph() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    ours = [stage for stage in STAGES if stage in stages]
    assert set(stages) == set(ours)
    for place, stage in enumerate(ours):
        later = [out for name in ours[place:] for out in stages[name].get("outs", []) if isinstance(out, str)]
        assert not set(stages[stage]["deps"]) & set(later), stage


def test_killing_serve_ends_all_it_started_and_the_next_serve_clears_up(served: Project) -> None:
    served.will("personas", steps=ENDLESS)
    run = served.run_deployment("personas")
    stage = served.started("personas")
    served.end_serving(signal.SIGKILL)
    eventually("the stage's end", lambda: not is_alive(stage))
    eventually("the end of all", lambda: not served.processes())
    served.serve()
    assert served.ends(run)[0] == "CRASHED"
    (deployment,) = served.ask("/deployments/filter", {"deployments": {"name": {"any_": ["personas"]}}})
    assert deployment["global_concurrency_limit"]["active_slots"] == 0


def test_without_a_server_a_flow_starts_one_that_ends_with_it(module_project: Project) -> None:
    def is_other_server(line: str) -> bool:
        return "prefect server start" in line and str(module_project.port) not in line

    module_project.will("personas")
    flow = module_project.start("personas", module_project.env())
    servers = eventually("its server", lambda: [line for line in module_project.processes() if is_other_server(line)])
    assert flow.wait(PATIENCE) == 0
    assert not [line for line in module_project.processes() if line in servers]
