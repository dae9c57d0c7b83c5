"""Flow `report`: the stage of that name in `dvc.yaml`.

Launch: `python -m flows.report`.
"""

from prefect import flow

from flows.dvc_stage import run_stage
from flows.server import launch


@flow
def report() -> None:
    """Write the report page."""
    run_stage("report")


if __name__ == "__main__":
    launch(report)
