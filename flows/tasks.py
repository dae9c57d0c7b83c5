"""Flow `tasks`: the stage of that name in `dvc.yaml`.

Launch: `python -m flows.tasks`.
"""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.run import FORCE, OVERRIDES, PROFILE, run, run_name
from flows.server import launch


@flow(flow_run_name=run_name)
def tasks(overrides: dict[str, Any] = OVERRIDES, profile: str = PROFILE, force: bool = FORCE) -> State[None]:
    """Invent tasks with their own tools and worlds, and prove each by running it."""
    return run("tasks", overrides, profile, force)


if __name__ == "__main__":
    launch(tasks)
