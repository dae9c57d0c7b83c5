"""Flow `personas`: the stage of that name in `dvc.yaml`.

Launch: `python -m flows.personas`.
"""

from prefect import flow

from flows.dvc_stage import run_stage
from flows.server import launch


@flow
def personas() -> None:
    """Read the personas that seed the tasks."""
    run_stage("personas")


if __name__ == "__main__":
    launch(personas)
