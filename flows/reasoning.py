"""Flow `reasoning`: the stage of that name in `dvc.yaml`.

Launch: `python -m flows.reasoning`.
"""

from prefect import flow

from flows.dvc_stage import run_stage
from flows.server import launch


@flow
def reasoning() -> None:
    """Pose problems with a known answer, and solve them with real tools."""
    run_stage("reasoning")


if __name__ == "__main__":
    launch(reasoning)
