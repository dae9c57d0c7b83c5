"""The learning curve in the dashboard: rows of steps -> a picture inside markdown, redrawn while GRPO trains."""

import base64
import time
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from httpx import HTTPError
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate

from synthagent.errors import SynthAgentError
from synthagent.showing.pictures import learning_curve, read_steps, svg
from synthagent.stage import Paths
from synthagent.student.watch import LIVE

REDRAWN_SECONDS = 20.0


def picture(steps: Path) -> str | None:
    """The learning curve as markdown that loads nothing; None: there are no steps to draw.

    Prefect's artifacts of the kind image would print their address, which is the picture, below it.
    """
    try:
        rows = read_steps(steps)
    except SynthAgentError:
        return None
    if not rows:
        return None
    drawn = base64.b64encode(svg(learning_curve(rows)).encode()).decode()
    return f"![learning curve](data:image/svg+xml;base64,{drawn})"


class LiveCurve:
    """The artifact `learning-curve` of a run of the stage `grpo`; other stages have none."""

    def __init__(self, stage: str, folder: Path) -> None:
        self._steps, self._table = folder / LIVE / f"{stage}.csv", folder / Paths.plots / f"{stage}.csv"
        self._artifact: UUID | None = None
        self._drawn = time.time() if stage == "grpo" else float("inf")  # what was there before is of another run

    def update(self) -> None:
        """Redraw it where steps came in, at most once in `REDRAWN_SECONDS`."""
        if time.time() - self._drawn > REDRAWN_SECONDS:
            with suppress(OSError):
                if self._steps.stat().st_mtime > self._drawn:
                    self._show(self._steps)

    def finish(self) -> None:
        """Draw it whole, where it was begun."""
        if self._artifact is not None:
            self._show(self._table)

    def _show(self, steps: Path) -> None:
        self._drawn = time.time()
        if (drawn := picture(steps)) is None:
            return
        with suppress(HTTPError):  # the server is gone, the stage goes on without it
            if self._artifact is None:
                made = create_markdown_artifact(drawn, key="learning-curve", description="GRPO by step, as it trains")
                assert isinstance(made, UUID)  # outside of an event loop Prefect returns no coroutine
                self._artifact = made
            else:
                with get_client(sync_client=True) as client:
                    client.update_artifact(self._artifact, ArtifactUpdate(data=drawn))
