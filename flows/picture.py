"""Pictures of a run in the dashboard, taken by a headless Chromium: its page with the artifacts, and its summary.

Launch: `PREFECT_API_URL=http://127.0.0.1:4200/api python -m flows.picture docs/img` takes the last run that ended well.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_UI_URL

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
SIZE = (1400, 1300)
PAGE_SECONDS = 15  # of the page's own clock, which runs ahead of ours


def main(folder: Path) -> None:
    """Take `prefect-run.png` and `prefect.png`."""
    run = _last_run()
    take(f"{PREFECT_UI_URL.value()}/v2/runs/flow-run/{run}?tab=Artifacts", folder / "prefect-run.png")
    take(f"{PREFECT_UI_URL.value()}/v2/artifacts/artifact/{_summary_of(run)}", folder / "prefect.png")


def take(url: str, out: Path) -> None:
    """A picture of a page, as it is when its scripts have loaded what they show."""
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if chromium is None:
        sys.exit(f"no {', '.join(CHROMIUM)} here: `apt-get install chromium`, or another package of it")
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as profile:
        command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--user-data-dir={profile}", f"--window-size={SIZE[0]},{SIZE[1]}"]
        command += [f"--virtual-time-budget={PAGE_SECONDS * 1000}", f"--screenshot={out.absolute()}", url]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not out.exists():
        sys.exit(f"{out}: {chromium} took no picture: {done.stderr[-300:]}")


def _last_run() -> UUID:
    ended = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.COMPLETED])))
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_run_filter=ended, sort=FlowRunSort.START_TIME_DESC, limit=1)
    if not runs:
        sys.exit("no run has ended well on this server: `prefect deployment run pipeline/pipeline` starts one")
    return runs[0].id


def _summary_of(run: UUID) -> UUID:
    of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]), key=ArtifactFilterKey(any_=["summary"]))
    with get_client(sync_client=True) as client:
        return client.read_artifacts(artifact_filter=of_run)[0].id


if __name__ == "__main__":
    main(Path(sys.argv[1]))
