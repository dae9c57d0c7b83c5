"""Flow `tasks`: the stage of that name in `dvc.yaml`.

Launch: `python -m flows.tasks`.
"""

from prefect import flow

from flows.dvc_stage import run_stage
from flows.server import launch


@flow
def tasks() -> None:
    """Invent tasks with their own tools and worlds, and prove each by running it."""
    run_stage("tasks")


if __name__ == "__main__":
    launch(tasks)
