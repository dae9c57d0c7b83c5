"""Flow `rubrics`: the stage of that name in `dvc.yaml`.

Launch: `python -m flows.rubrics`.
"""

from prefect import flow

from flows.dvc_stage import run_stage
from flows.server import launch


@flow
def rubrics() -> None:
    """Roll out the teacher's demonstrations and write a rubric for every task."""
    run_stage("rubrics")


if __name__ == "__main__":
    launch(rubrics)
