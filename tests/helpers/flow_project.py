"""A small DVC project with all stages of ours, which last as long as a test needs, and a Prefect server over it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psutil
import yaml

from helpers.processes import PATIENCE, eventually, free_port
from helpers.projects import ROOT, write_params
from synthagent.cli import STAGES

ENDLESS = 1_000_000
STAGE = """
import json, os, pathlib, sys, time, yaml
name = sys.argv[1]
params = yaml.safe_load(open("params.yaml"))
how = json.loads(pathlib.Path(f"{name}.json").read_text())
with open(os.environ["RAN"], "a") as ran:
    ran.write(f"{name} {os.getpid()}\\n")
print(f"{name} says hello")
print("10%\\r100% of a bar", file=sys.stderr)
for done in range(1, how["steps"] + 1):
    print("@progress", json.dumps({"stage": name, "done": done, "total": how["steps"]}), flush=True)
    print(f"{name} {done}/{how['steps']}  reward .5", flush=True)
    time.sleep(0.05)
if how.get("error"):
    sys.exit(how["error"])
for folder in ("metrics", "plots", "details", "report"):
    pathlib.Path("data", folder).mkdir(parents=True, exist_ok=True)
pathlib.Path(f"data/{name}.txt").write_text("done")
metrics = {"count": 3, "mean": 0.5, "coverage": None}
if name == "grpo":
    metrics = {"steps": params["grpo"]["steps"]}
    columns = "step,reward,perfect,violations,dead_groups,questions,entropy"
    pathlib.Path("data/plots/grpo.csv").write_text(columns + "\\n1,.1,.2,.3,.4,.5,.6\\n2,.2,.2,.3,.4,.5,.6\\n")
if name == "evaluate":
    cells = {"heldout": {"n": 8, "reward": 0.25, "perfect_rate": 0.125, "pair_rate": None}}
    pathlib.Path("data/details/evaluate.json").write_text(json.dumps({"policies": {"<b>|x": cells}}))
if name == "report":
    pathlib.Path("data/report/index.html").write_text("the report of this run")
pathlib.Path(f"data/metrics/{name}.json").write_text(json.dumps(metrics))
"""


@dataclass
class FlowProject:
    """A DVC project with all stages of ours, each reading what the one before it wrote, and a Prefect server to be."""

    folder: Path
    port: int
    serving: subprocess.Popen[bytes] | None = None

    def env(self, **extra: str) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        ours = {"PYTHONPATH": str(ROOT), "PREFECT_SERVER_API_PORT": str(self.port), "RAN": str(self.folder / "ran.txt")}
        return inherited | ours | extra

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
        return self._start(module, env, "-m", f"flows.{module}")

    def program(self, name: str, *args: str, **env: str) -> subprocess.Popen[bytes]:
        """Start Python on some arguments, with the server of `url`."""
        return self._start(name, self.env(PREFECT_API_URL=self.url, **env), *args)

    def _start(self, name: str, env: Mapping[str, str], *args: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen([sys.executable, *args], cwd=self.folder, env=env, stdout=log, stderr=log)

    def flow(self, name: str) -> subprocess.Popen[bytes]:
        """Start a flow as a program that reports to the server of `serve`."""
        return self.start(name, self.env(PREFECT_API_URL=self.url))

    def prefect(self, *args: str) -> str:
        """Run Prefect's command as a user would."""
        command, env = [sys.executable, "-m", "prefect", *args], self.env(PREFECT_API_URL=self.url)
        return subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, check=True).stdout

    def run_deployment(self, flow: str, name: str = "", **parameters: Any) -> str:
        """Ask the server for a run, and return its id."""
        name = name or ("pipeline" if flow == "pipeline" else f"stage-{[*STAGES].index(flow) + 1:02}-{flow}")
        given = [part for key, value in parameters.items() for part in ("-p", f"{key}={json.dumps(value)}")]
        found = re.search(r"UUID: ([0-9a-f-]{36})", self.prefect("deployment", "run", f"{flow}/{name}", *given))
        assert found
        return found[1]

    def dvc(self, *args: str) -> str:
        command = [sys.executable, "-m", "dvc", *args]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=True).stdout

    def ask(self, path: str, body: object | None = None) -> Any:
        """Call the server's API: GET, or POST where there is a body."""
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(self.url + path, data, {"Content-Type": "application/json"}), timeout=PATIENCE) as answer:
            return json.load(answer)

    def state(self, run: str) -> tuple[str, str]:
        state = self.ask(f"/flow_runs/{run}")["state"]
        return state["type"], state["message"] or ""

    def task_states(self, run: str) -> dict[str, tuple[str, str]]:
        """Of the stages in a run: type and name."""
        rows = self.ask("/task_runs/filter", {"task_runs": {"flow_run_id": {"any_": [run]}}})
        return {row["name"]: (row["state"]["type"], row["state"]["name"]) for row in rows}

    def ends(self, run: str, patience: float = PATIENCE) -> tuple[str, str]:
        """The state in which a run ends."""
        final = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")
        return eventually("a final state", lambda: state if (state := self.state(run))[0] in final else None, patience)

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


def commit(folder: Path) -> None:
    for command in (["add", "--all"], ["commit", "-qm", "as it is"]):
        who = ("-c", "user.name=tests", "-c", "user.email=tests@localhost")
        subprocess.run(["git", *who, *command], cwd=folder, check=True)


def new_flow_project(folder: Path) -> FlowProject:
    """The project, under git and DVC, in which nothing has run yet."""
    project = FlowProject(folder, free_port())
    stages, before = dict[str, Any](), list[str]()
    more = {"grpo": ["data/plots/grpo.csv"], "evaluate": ["data/details/evaluate.json"], "report": ["data/report"]}
    for name in STAGES:
        stages[name] = {
            "cmd": f"{sys.executable} stage.py {name}",
            "deps": [f"{name}.json", *before],
            "outs": [f"data/{name}.txt", *more.get(name, [])],
            "metrics": [{f"data/metrics/{name}.json": {"cache": False}}],
        }
        before = [f"data/{name}.txt"]
        project.will(name)
    stages["grpo"]["params"] = ["grpo.steps"]
    (folder / "stage.py").write_text(STAGE)
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    ignored = ".cache/ .prefect/ *.log ran.txt /data/*.txt /data/plots/ /data/details/ /data/report/"
    (folder / ".gitignore").write_text("\n".join(ignored.split()))
    write_params(folder, {})
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"], ["dvc", "config", "core.analytics", "false"]):
        subprocess.run(command, cwd=folder, check=True)
    (folder / ".dvcignore").write_text(".cache\n.prefect\n")
    commit(folder)
    return project
