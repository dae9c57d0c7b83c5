"""Flow `grpo`: the stage of that name in `dvc.yaml`.

Launch: `python -m flows.grpo`.
"""

from prefect import flow

from flows.dvc_stage import run_stage
from flows.server import launch


@flow
def grpo() -> None:
    """Train the student by GRPO on live episodes."""
    run_stage("grpo")


if __name__ == "__main__":
    launch(grpo)
