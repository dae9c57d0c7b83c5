"""Prefect's dashboard, with the pipeline and every stage ready to be started from it.

Uses the server at `PREFECT_API_URL`, else starts one on `PREFECT_SERVER_API_PORT` (4200). All that it starts ends with
it: server, flow runs, stages. A schedule made in the dashboard lasts until the next start, when Prefect replaces it.

Launch: `python -m flows.serve` (`make ui`); Ctrl-C ends it.
"""

import os
import signal
import sys

from flows.server import server
from synthagent.ops.guard import guarded


def main() -> None:
    """Serve until a signal arrives."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    with server() as url:
        command = [sys.executable, "-m", "flows.deployments"]
        with guarded(command, {**os.environ, "PREFECT_API_URL": url}) as runner:
            sys.exit(runner.wait())


if __name__ == "__main__":
    main()
