"""Deployments of all flows, and the runner that starts their runs here when the server asks for it.

They sort by the alphabet in the order of the stages, are tagged, and have the parameters of `flows.run` in their form.
The pipeline has a nightly schedule that is off. What was set in the dashboard, schedules made or turned on, stays. Runs
that a killed runner left behind are marked as crashed first.

Launch: `python -m flows.serve` starts it beside a server; on its own it needs `PREFECT_API_URL`.
"""

import asyncio
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from uuid import UUID

from filelock import FileLock, Timeout
from prefect import Flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterTags,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.runner import Runner
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, PREFECT_UI_URL
from prefect.states import Crashed
from prefect.types.entrypoint import EntrypointType

from synthagent.cli import STAGES

RUNS_AT_ONCE = 4  # more than one, or a second run would wait instead of being told that another is at work
POLL_SECONDS = 2
TAG = "synthagent"
NIGHTLY = DeploymentScheduleCreate(schedule=CronSchedule(cron="0 3 * * *"), active=False, slug="nightly")


@dataclass(frozen=True, slots=True)
class Deployed:
    """How a flow is deployed."""

    flow: Flow[..., Any]
    name: str
    tags: tuple[str, ...]
    schedules: tuple[DeploymentScheduleCreate, ...] = ()


def deployed() -> list[Deployed]:
    """The pipeline and every stage; by the alphabet `pipeline` is before `stage-01-personas`."""
    stages = [
        Deployed(_flow(stage), f"stage-{number:02}-{stage}", (TAG, "stage")) for number, stage in enumerate(STAGES, 1)
    ]
    return [Deployed(_flow("pipeline"), "pipeline", (TAG, "pipeline"), (NIGHTLY,)), *stages]


async def main() -> None:
    """Register the deployments, clear up after an earlier runner, and start runs as they are asked for."""
    runner = Runner(name=TAG, limit=RUNS_AT_ONCE, query_seconds=POLL_SECONDS, pause_on_shutdown=False)
    async with get_client() as client:
        before = await _before(client)
    served = {}
    for one in deployed():
        known = before.get(one.name)
        schedules = one.schedules if known is None else tuple(map(_again, known.schedules))
        made = await one.flow.ato_deployment(
            one.name, tags=list(one.tags), schedules=list(schedules), entrypoint_type=EntrypointType.MODULE_PATH
        )
        served[one.name] = await runner.aadd_deployment(made)
    async with get_client() as client:
        for name in before.keys() - served.keys():  # of another version, with other stages
            await client.delete_deployment(before[name].id)
    await reap([*served.values()])
    print(f"Dashboard: {PREFECT_UI_URL.value()}")
    print(
        f"To start a run: PREFECT_API_URL={PREFECT_API_URL.value()} prefect deployment run pipeline/pipeline",
        flush=True,
    )
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, lambda: loop.create_task(runner.astop()))  # cancels what runs
    await runner.start()


async def _before(client: PrefectClient) -> dict[str, DeploymentResponse]:
    """The deployments that an earlier runner registered, by name; those of work pools are not ours."""
    tagged = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    found = await client.read_deployments(deployment_filter=tagged)
    return {deployment.name: deployment for deployment in found if deployment.work_pool_name is None}


def _again(schedule: Any) -> DeploymentScheduleCreate:
    """A schedule that is there, to be registered as it is."""
    kept = {"schedule", "active", "parameters", "slug"}
    return DeploymentScheduleCreate(**{name: value for name, value in dict(schedule).items() if name in kept})


def _flow(name: str) -> Flow[..., Any]:
    found: Flow[..., Any] = getattr(import_module(f"flows.{name}"), name)
    return found


async def reap(deployments: Sequence[UUID]) -> None:
    """Mark runs of `deployments` that no process runs any more as crashed; it frees their concurrency slots, too."""
    active = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    left = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=list(deployments)),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=active)),
    )
    async with get_client() as client:
        for run in await client.read_flow_runs(flow_run_filter=left):
            await client.set_flow_run_state(run.id, Crashed(message="its process is gone"), force=True)


if __name__ == "__main__":
    lock = FileLock(PREFECT_HOME.value() / "serve.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        sys.exit(f"another `python -m flows.serve` serves this project ({lock.lock_file} is held)")
    asyncio.run(main())
