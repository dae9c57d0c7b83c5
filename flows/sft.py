"""Flow `sft`: the stage of that name in `dvc.yaml`.

Launch: `python -m flows.sft`.
"""

from prefect import flow

from flows.dvc_stage import run_stage
from flows.server import launch


@flow
def sft() -> None:
    """Warm-start the student on the demonstrations."""
    run_stage("sft")


if __name__ == "__main__":
    launch(sft)
