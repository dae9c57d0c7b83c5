"""Flow `pipeline`: every stage of `dvc.yaml`, in order; those that are up to date take a second each.

Launch: `python -m flows.pipeline`.
"""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.run import FORCE, OVERRIDES, PROFILE, run, run_name
from flows.server import launch


@flow(flow_run_name=run_name)
def pipeline(overrides: dict[str, Any] = OVERRIDES, profile: str = PROFILE, force: bool = FORCE) -> State[None]:
    """Bring all stages up to date, from personas to the report."""
    return run("pipeline", overrides, profile, force)


if __name__ == "__main__":
    launch(pipeline)
