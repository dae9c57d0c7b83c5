"""Flow `rollouts`: the stage of that name in `dvc.yaml`.

Launch: `python -m flows.rollouts`.
"""

from prefect import flow

from flows.dvc_stage import run_stage
from flows.server import launch


@flow
def rollouts() -> None:
    """Let the student act, several episodes a task."""
    run_stage("rollouts")


if __name__ == "__main__":
    launch(rollouts)
