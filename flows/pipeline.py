"""Flow `pipeline`: every stage of `dvc.yaml`, in order; those that are up to date take a second each.

Launch: `python -m flows.pipeline`.
"""

from prefect import flow

from flows.dvc_stage import run_stage
from flows.server import launch
from synthagent.cli import STAGES


@flow
def pipeline() -> None:
    """Bring all stages up to date, from personas to the report."""
    for stage in STAGES:
        run_stage(stage)


if __name__ == "__main__":
    launch(pipeline)
