"""Flow `rewards`: the stage of that name in `dvc.yaml`.

Launch: `python -m flows.rewards`.
"""

from prefect import flow

from flows.dvc_stage import run_stage
from flows.server import launch


@flow
def rewards() -> None:
    """Judge the rollouts by the rubrics."""
    run_stage("rewards")


if __name__ == "__main__":
    launch(rewards)
