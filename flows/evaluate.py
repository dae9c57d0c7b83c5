"""Flow `evaluate`: the stage of that name in `dvc.yaml`.

Launch: `python -m flows.evaluate`.
"""

from prefect import flow

from flows.dvc_stage import run_stage
from flows.server import launch


@flow
def evaluate() -> None:
    """Evaluate baselines, student and expert on held-out tasks."""
    run_stage("evaluate")


if __name__ == "__main__":
    launch(evaluate)
