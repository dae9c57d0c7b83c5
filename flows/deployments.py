"""Deployments of all flows, and the runner that starts their runs here when the server asks for it.

At most one run of a flow at a time: a second one is cancelled. Runs of different flows may overlap; should one need
what the other is writing, DVC refuses it. Runs that a killed runner left behind are marked as crashed first.

Launch: `python -m flows.serve` starts it beside a server; on its own it needs `PREFECT_API_URL`.
"""

import asyncio
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from uuid import UUID

from filelock import FileLock, Timeout
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy, StateType
from prefect.runner import Runner
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, PREFECT_UI_URL
from prefect.states import Crashed
from prefect.types.entrypoint import EntrypointType

from synthagent.cli import STAGES

FLOWS: list[Flow[[], None]] = [getattr(import_module(f"flows.{name}"), name) for name in ("pipeline", *STAGES)]
ONE = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
RUNS_AT_ONCE = 4  # more than one, or a second run would wait instead of being cancelled
POLL_SECONDS = 2


async def main() -> None:
    """Register the deployments, clear up after an earlier runner, and start runs as they are asked for."""
    runner = Runner(name="synthagent", limit=RUNS_AT_ONCE, query_seconds=POLL_SECONDS, pause_on_shutdown=False)
    served = [
        await runner.aadd_deployment(
            await flow.ato_deployment(flow.name, concurrency_limit=ONE, entrypoint_type=EntrypointType.MODULE_PATH)
        )
        for flow in FLOWS
    ]
    await reap(served)
    print(f"Dashboard: {PREFECT_UI_URL.value()}")
    print(
        f"To start a run: PREFECT_API_URL={PREFECT_API_URL.value()} prefect deployment run pipeline/pipeline",
        flush=True,
    )
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, lambda: loop.create_task(runner.astop()))  # cancels what runs
    await runner.start()


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
