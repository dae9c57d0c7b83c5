"""Prefect's dashboard, with the pipeline and every stage ready to be started from it.

Uses the server at `PREFECT_API_URL`, or else starts one on `PREFECT_SERVER_API_PORT` (4200). All that it starts ends
with it: server, flow runs, stages. The reports of runs are served on the next port.

Launch: `python -m flows.serve` (`make ui`); Ctrl-C ends it.
"""

import os
import signal
import sys

from prefect.settings import PREFECT_SERVER_API_PORT

from flows.reports import ADDRESS, serving_reports
from flows.server import server
from synthagent.ops.guard import guarded


def main() -> None:
    """Serve until a signal arrives."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    with server() as url, serving_reports(PREFECT_SERVER_API_PORT.value() + 1) as reports:
        command = [sys.executable, "-m", "flows.deployments"]
        with guarded(command, {**os.environ, "PREFECT_API_URL": url, ADDRESS: reports}) as runner:
            sys.exit(runner.wait())


if __name__ == "__main__":
    main()
