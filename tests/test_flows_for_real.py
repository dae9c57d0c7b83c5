"""Flows over the real pipeline, on small params; and on a shared server: PostgreSQL, a work pool, a worker."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from helpers.flow_project import FlowProject, commit, new_flow_project
from helpers.pipeline import Project
from helpers.processes import PATIENCE, eventually, free_port
from helpers.projects import files_under

from synthagent.cli import STAGES

POSTGRES = shutil.which("initdb") or next(iter(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb"))), None)


def outs(project: Project) -> dict[Path, bytes]:
    return {path: content for path, content in files_under(project.data).items() if "timings" not in path.parts}


@pytest.mark.slow
def test_a_cancelled_training_leaves_no_process_and_its_earlier_outs_and_an_experiment_leaves_all(
    small_project: Project,
) -> None:
    small_project.params(grpo__steps=2)
    (small_project.folder / ".gitignore").open("a").write("\nran.txt\n*.log\n")
    commit(small_project.folder)
    flows = FlowProject(small_project.folder, free_port())
    before = outs(small_project)
    flows.serve()
    try:
        run = flows.run_deployment("pipeline", overrides={"grpo.steps": 3})
        kind, message = flows.ends(run, 600)
        assert (kind, message.partition(";")[0]) == ("COMPLETED", "ran grpo, evaluate, report"), message
        assert outs(small_project) == before
        assert "grpo 3/3  reward" in "\n".join(flows.logs(run))
        summary = flows.artifacts(run)["summary"]
        assert "## Results on heldout" in summary
        assert "| grpo | steps | 2 | 3 |" in summary
        listed = flows.dvc("exp", "show", "--csv")
        assert f"pipeline-grpo-steps-3-{run[:8]}" in listed

        small_project.params(grpo__steps=100_000)
        run = flows.run_deployment("grpo")
        eventually("a step of the training", lambda: "grpo 2/100000" in "\n".join(flows.logs(run)), 600)
        eventually("the curve", lambda: "data:image/svg" in flows.artifacts(run).get("learning-curve", ""))
        flows.prefect("flow-run", "cancel", run)
        kind, message = flows.ends(run)
        assert kind == "CANCELLED"
        assert message == "stage grpo: interrupted; its outs are as they were"
        # The server hears of a task a moment after it hears of its flow.
        eventually("the end of the task", lambda: ("RUNNING", "Running") not in flows.task_states(run).values())
        assert flows.task_states(run) == {"grpo": ("CANCELLED", "Cancelled")}
        assert outs(small_project) == before
        left = [line for line in flows.processes() if "grpo" in line]
        assert left == []
    finally:
        flows.end_serving(signal.SIGTERM)
    eventually("the end of all", lambda: not flows.processes())


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A PostgreSQL server of our own, its data in `folder`; yields the URL that Prefect takes."""
    assert POSTGRES
    account = pwd.getpwnam("postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name)
    programs, data, port = Path(POSTGRES).resolve().parent, folder / "cluster", free_port()

    def run(*command: str) -> None:
        as_user = {"user": account.pw_uid, "group": account.pw_gid} if os.geteuid() == 0 else {}
        with (folder / "postgres.log").open("ab") as log:
            subprocess.run(command, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True, **as_user)

    folder.mkdir()
    os.chown(folder, account.pw_uid, account.pw_gid)
    (folder / "postgres.log").touch(0o666)
    run(str(programs / "initdb"), "-D", str(data), "-A", "trust", "-U", "prefect", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    run(str(programs / "pg_ctl"), "-D", str(data), "-w", "-t", "120", "-l", str(data / "log"), "-o", options, "start")
    try:
        run(str(programs / "createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "prefect", "prefect")
        yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/prefect"
    finally:
        run(str(programs / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")


@pytest.mark.slow
@pytest.mark.skipif(POSTGRES is None, reason="PostgreSQL is not installed (apt-get install postgresql)")
def test_a_worker_runs_the_pipeline_of_a_shared_server_with_postgresql() -> None:
    folder = Path("/tmp") / f"flows-shared-{os.getpid()}"  # where PostgreSQL's account can read, unlike pytest's
    folder.mkdir()
    try:
        (folder / "project").mkdir()
        project = new_flow_project(folder / "project")
        shutil.copy2(Path(__file__).parents[1] / "prefect.yaml", project.folder)
        shutil.copytree(Path(__file__).parents[1] / "flows", project.folder / "flows")
        with postgres(folder / "postgres") as database, shared_server(project, database):
            project.prefect("--no-prompt", "work-pool", "create", "--type", "process", "synthagent")
            project.prefect("--no-prompt", "deploy", "--all")
            names = [row["name"] for row in project.ask("/deployments/filter", {"sort": "NAME_ASC"})]
            assert [name.rpartition("-")[2] for name in names] == ["pipeline", *STAGES]
            start = ("-m", "prefect", "worker", "start", "--pool", "synthagent")
            worker = project.program("worker", *start, SYNTHAGENT_ROOT=str(project.folder))
            try:
                run = project.run_deployment("pipeline", name="pool-pipeline", overrides={"grpo.steps": 7})
                kind, message = project.ends(run, 600)
                said = (project.folder / "worker.log").read_text()
                assert (kind, message[:12]) == ("COMPLETED", "ran personas"), message + said
                assert f"pipeline-grpo-steps-7-{run[:8]}" in project.dvc("exp", "list", "--name-only")
                # A worker of Prefect's that is ended while the process of a run is still ending may wait for ever.
                eventually("the end of the run's process", lambda: not psutil.Process(worker.pid).children())
            finally:
                end(worker)
        eventually("the end of all", lambda: not project.processes())
    finally:
        shutil.rmtree(folder)


def end(worker: subprocess.Popen[bytes]) -> None:
    """End a worker of Prefect's: on a first SIGTERM it waits for its runs, now and then for ever; a second ends it."""
    worker.terminate()
    with suppress(subprocess.TimeoutExpired):
        worker.wait(30)
    worker.terminate()
    worker.wait(PATIENCE)


@contextmanager
def shared_server(project: FlowProject, database: str) -> Iterator[None]:
    settings = {"PREFECT_UI_API_URL": "/api", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    env = project.env(PREFECT_SERVER_DATABASE_CONNECTION_URL=database, **settings)
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(project.port)]
    with (project.folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, cwd=project.folder, env=env, stdout=log, stderr=log)
    try:
        eventually("the server", lambda: answers(project))
        yield
    finally:
        server.terminate()
        server.wait(PATIENCE)


def answers(project: FlowProject) -> bool:
    time.sleep(0.5)
    try:
        return bool(project.ask("/health"))
    except OSError:
        return False
