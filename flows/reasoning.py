"""Flow `reasoning`: the stage of that name in `dvc.yaml`.

Launch: `python -m flows.reasoning`.
"""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.run import FORCE, OVERRIDES, PROFILE, run, run_name
from flows.server import launch


@flow(flow_run_name=run_name)
def reasoning(overrides: dict[str, Any] = OVERRIDES, profile: str = PROFILE, force: bool = FORCE) -> State[None]:
    """Pose problems with a known answer, and solve them with real tools."""
    return run("reasoning", overrides, profile, force)


if __name__ == "__main__":
    launch(reasoning)
