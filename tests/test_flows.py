"""Flows against a real Prefect server and a real DVC, in a small project whose stages last as long as a test needs."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import yaml
from helpers.flow_project import ENDLESS, FlowProject, new_flow_project
from helpers.processes import PATIENCE, eventually, free_port, is_alive
from helpers.projects import ROOT, files_under

from synthagent.cli import STAGES


@pytest.fixture(scope="module")
def module_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlowProject]:
    project = new_flow_project(tmp_path_factory.mktemp("flows").resolve())
    printed = project.serve()
    assert f"http://127.0.0.1:{project.port}\n" in printed
    assert f"PREFECT_API_URL={project.url} prefect deployment run pipeline/pipeline" in printed
    yield project
    assert project.end_serving(signal.SIGTERM) == 0
    assert project.processes() == []


@pytest.fixture
def served(module_project: FlowProject) -> FlowProject:
    """The project, served, in which no stage ran yet as far as the test can tell."""
    (module_project.folder / "ran.txt").unlink(missing_ok=True)
    return module_project


def test_deployments_are_in_the_order_of_the_stages_with_tags_and_described_parameters(served: FlowProject) -> None:
    deployments = {row["name"]: row for row in served.ask("/deployments/filter", {"sort": "NAME_ASC"})}
    assert [name.rpartition("-")[2] for name in deployments] == ["pipeline", *STAGES]
    for name, deployment in deployments.items():
        assert deployment["tags"] == ["synthagent", "pipeline" if name == "pipeline" else "stage"]
        form = deployment["parameter_openapi_schema"]["properties"]
        assert list(form) == ["overrides", "profile", "force"]
        assert all(len(field["description"]) > 40 for field in form.values())
        assert form["profile"]["enum"][0] == form["profile"]["default"] == "params.yaml"
    assert (served.folder / ".prefect" / "prefect.db").exists()
    page = Request(served.url.removesuffix("/api"), headers={"Accept": "text/html"})
    with urlopen(page, timeout=PATIENCE) as answer:
        assert "<title>" in answer.read().decode()
    with urlopen(f"{served.url.removesuffix('/api')}/ui-settings", timeout=PATIENCE) as answer:
        assert json.load(answer)["api_url"] == "/api"  # whatever name the server is called by


def test_a_stage_that_goes_well_leaves_its_lines_progress_and_metrics_on_the_server(served: FlowProject) -> None:
    served.will("personas")
    flow = served.flow("personas")
    assert flow.wait(PATIENCE) == 0
    run = served.latest_run("personas")
    assert served.state(run) == ("COMPLETED", "ran personas")
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


def test_a_run_that_had_nothing_to_do_says_so_and_a_forced_one_runs(served: FlowProject) -> None:
    assert served.flow("personas").wait(PATIENCE) == 0
    (served.folder / "ran.txt").unlink(missing_ok=True)
    assert served.flow("personas").wait(PATIENCE) == 0
    run = served.ask(f"/flow_runs/{served.latest_run('personas')}")
    assert (run["state"]["type"], run["state"]["name"]) == ("COMPLETED", "UpToDate")
    assert run["state"]["message"] == "nothing to do: DVC finds personas up to date"
    assert served.task_states(run["id"]) == {"personas": ("COMPLETED", "UpToDate")}
    assert "nothing to do" in served.artifacts(run["id"])["summary"]
    assert served.ran() == []
    forced = served.run_deployment("personas", force=True)
    assert served.ends(forced) == ("COMPLETED", "ran personas")
    assert served.ask(f"/flow_runs/{forced}")["name"] == "personas (forced)"


def test_while_a_stage_runs_another_run_is_refused_and_a_cancel_ends_it_and_is_no_crash(served: FlowProject) -> None:
    served.will("personas", steps=ENDLESS)
    run = served.run_deployment("personas")
    stage = served.started("personas")
    eventually("progress", lambda: 0 < served.artifacts(run).get("progress-personas", 0) < 100)
    eventually("the lines of steps", lambda: [line for line in served.logs(run) if "reward .5" in line])
    second = served.run_deployment("pipeline", overrides={"grpo.steps": 3})
    kind, message = served.ends(second)
    assert kind == "CANCELLED"
    assert f"another run is at work in this worktree: 'personas' ({run}), process " in message
    assert is_alive(stage)
    served.prefect("flow-run", "cancel", run)
    eventually("the stage's end", lambda: not is_alive(stage))
    kind, message = served.ends(run)
    assert (kind, message.rpartition(": ")[0]) == ("CANCELLED", "stage personas: interrupted")
    assert not [line for line in served.logs(second) if "Traceback" in line]
    assert served.task_states(run) == {"personas": ("CANCELLED", "Cancelled")}
    assert [name for name, _ in served.ran()] == ["personas"]


def test_a_run_with_overrides_is_an_experiment_and_leaves_the_worktree_alone(served: FlowProject) -> None:
    for stage in STAGES:
        served.will(stage)
    before = files_under(served.folder / "data"), (served.folder / "params.yaml").read_bytes()
    run = served.run_deployment("grpo", overrides={"grpo.steps": 7})
    kind, message = served.ends(run)
    assert (kind, message[:12]) == ("COMPLETED", "ran personas"), message
    assert served.ask(f"/flow_runs/{run}")["name"] == "grpo grpo.steps=7"
    assert [name for name, _ in served.ran()] == [*STAGES][: [*STAGES].index("grpo") + 1]
    assert (files_under(served.folder / "data"), (served.folder / "params.yaml").read_bytes()) == before
    name = f"grpo-grpo-steps-7-{run[:8]}"
    assert name in served.dvc("exp", "list", "--name-only")
    assert not (served.folder / ".cache" / "runs").exists()
    logs = served.logs(run)
    assert [
        line for line in logs if line.startswith("it starts from changes that are not committed: ") and ".json" in line
    ]
    text = served.artifacts(run)["summary"]
    assert f"dvc exp diff {name}" in text
    assert "| grpo | steps | | 7 |" in text.replace("  ", " ")
    shown = subprocess.run(
        ["git", "show", f"{name_of_ref(served.folder, name)}:data/metrics/grpo.json"],
        cwd=served.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(shown.stdout) == {"steps": 7}


def name_of_ref(folder: Path, name: str) -> str:
    listed = subprocess.run(["git", "for-each-ref"], cwd=folder, capture_output=True, text=True, check=True).stdout
    (ref,) = [line.split("\t")[1] for line in listed.splitlines() if line.endswith(f"/{name}")]
    return ref


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"overrides": {"grpo.stepz": 20}}, "overrides: grpo.stepz: unknown key; is grpo.steps meant? "),
        ({"overrides": {"grpo.steps": "many"}}, "overrides: grpo.steps: Input should be a valid integer"),
    ],
)
def test_an_override_that_is_not_valid_is_refused_before_anything_runs(
    served: FlowProject, parameters: dict[str, Any], told: str
) -> None:
    run = served.run_deployment("pipeline", **parameters)
    kind, message = served.ends(run)
    assert (kind, message[: len(told)]) == ("FAILED", told)
    assert served.ran() == []
    assert served.task_states(run) == {}


def test_a_failing_stage_fails_its_flow_with_the_last_line_it_printed(served: FlowProject) -> None:
    served.will("personas", error="synthagent: personas.path: no such file; mend it")
    flow = served.flow("personas")
    assert flow.wait(PATIENCE) == 1
    kind, message = served.state(served.latest_run("personas"))
    assert kind == "FAILED"
    assert message.endswith("stage personas: synthagent: personas.path: no such file; mend it")


def test_where_dvc_cannot_run_a_stage_its_own_error_is_the_message(served: FlowProject) -> None:
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


def test_when_the_flow_is_killed_its_stage_ends(served: FlowProject) -> None:
    served.will("personas", steps=ENDLESS)
    flow = served.flow("personas")
    stage = served.started("personas")
    flow.kill()
    flow.wait(PATIENCE)
    eventually("the stage's end", lambda: not is_alive(stage))


def test_the_pipeline_runs_every_stage_in_order(served: FlowProject) -> None:
    for stage in STAGES:
        served.will(stage)
    flow = served.flow("pipeline")
    assert flow.wait(PATIENCE) == 0
    assert [name for name, _ in served.ran()] == list(STAGES)
    artifacts = served.artifacts(served.latest_run("pipeline"))
    assert set(artifacts) == {"summary", *(f"{kind}-{stage}" for kind in ("progress", "metrics") for stage in STAGES)}
    text = artifacts["summary"]
    assert "| &lt;b&gt;\\|x | 8 |  |  | 0.250 | 0.125 |" in text
    assert "![learning curve](data:image/svg+xml;base64,PD94" in text


def test_the_summary_links_to_the_report_of_its_run(served: FlowProject) -> None:
    run = served.run_deployment("pipeline")
    assert served.ends(run)[0] == "COMPLETED"
    link = re.search(r"\[The report\]\((http://127.0.0.1:\d+/[^)]*)\)", served.artifacts(run)["summary"])
    assert link
    with urlopen(link[1], timeout=PATIENCE) as answer:
        assert answer.read() == b"the report of this run"


def test_the_order_of_the_stages_is_that_of_dvcs_graph() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    ours = [stage for stage in STAGES if stage in stages]
    assert set(stages) == set(ours)
    for place, stage in enumerate(ours):
        later = [out for name in ours[place:] for out in stages[name].get("outs", []) if isinstance(out, str)]
        assert not set(stages[stage]["deps"]) & set(later), stage


def test_a_work_pool_has_the_deployments_that_a_worktree_serves() -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    stages = [f"stage-{number:02}-{stage}" for number, stage in enumerate(STAGES, 1)]
    assert [one["name"] for one in deployments] == [f"pool-{name}" for name in ("pipeline", *stages)]
    assert [one["entrypoint"] for one in deployments] == [f"flows/{flow}.py:{flow}" for flow in ("pipeline", *STAGES)]
    assert [one["schedules"][0]["active"] for one in deployments if "schedules" in one] == [False]


def test_a_server_that_does_not_answer_is_told_in_a_line(module_project: FlowProject) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/api"
    for module in ("grpo", "serve"):
        flow = module_project.start(module, module_project.env(PREFECT_API_URL=nowhere))
        assert flow.wait(PATIENCE) == 1
        (line,) = (module_project.folder / f"{module}.log").read_text().splitlines()
        assert line.startswith(f"PREFECT_API_URL: no Prefect server answers at {nowhere}; start it")


def test_a_port_that_is_taken_is_told_in_a_line(module_project: FlowProject) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for other in (port, module_project.port):
            serving = module_project.start("serve", module_project.env(PREFECT_SERVER_API_PORT=str(other)))
            assert serving.wait(PATIENCE) == 1
            (line,) = (module_project.folder / "serve.log").read_text().splitlines()
            assert line.startswith(f"port {other} ")
            assert "PREFECT_SERVER_API_PORT" in line


@pytest.mark.slow
def test_killing_serve_ends_all_it_started_and_the_next_serve_clears_up(served: FlowProject) -> None:
    def schedules() -> list[tuple[str, str, bool]]:
        rows = [(row["name"], row["schedules"]) for row in served.ask("/deployments/filter", {})]
        return [(name, one["schedule"]["cron"], one["active"]) for name, given in rows for one in given]

    assert schedules() == [("pipeline", "0 3 * * *", False)]
    served.prefect("deployment", "schedule", "resume", "pipeline/pipeline", schedule_id(served))
    served.will("personas", steps=ENDLESS)
    run = served.run_deployment("personas")
    stage = served.started("personas")
    served.end_serving(signal.SIGKILL)
    eventually("the stage's end", lambda: not is_alive(stage))
    eventually("the end of all", lambda: not served.processes())
    served.serve()
    assert served.ends(run)[0] == "CRASHED"
    assert schedules() == [("pipeline", "0 3 * * *", True)]  # as it was set in the dashboard


def test_without_a_server_a_flow_starts_one_that_ends_with_it(module_project: FlowProject) -> None:
    def is_other_server(line: str) -> bool:
        return "prefect server start" in line and str(module_project.port) not in line

    module_project.will("personas")
    flow = module_project.start("personas", module_project.env())
    servers = eventually("its server", lambda: [line for line in module_project.processes() if is_other_server(line)])
    assert flow.wait(PATIENCE) == 0
    assert not [line for line in module_project.processes() if line in servers]


def schedule_id(project: FlowProject) -> str:
    (deployment,) = project.ask("/deployments/filter", {"deployments": {"name": {"any_": ["pipeline"]}}})
    return str(deployment["schedules"][0]["id"])
