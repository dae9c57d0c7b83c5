"""Reports of runs for a browser: a copy of each run's report under `.cache/reports`, and a server of that folder.

A dashboard cannot link to a file. Pages are only read from this machine, and run no script from elsewhere.
"""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from synthagent.stage import CACHE, Paths

ADDRESS = "SYNTHAGENT_REPORTS"  # in the environment: where the reports are served
REPORTS = CACHE / "reports"
KEPT = 20


def keep_report(name: str, folder: Path) -> str | None:
    """Copy the report of a run that worked in `folder`; its address, where reports are served and there is one."""
    address, report = os.environ.get(ADDRESS), folder / Paths.report
    if not address or not report.exists():
        return None
    copy = REPORTS / name
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(report.parent, copy)
    os.utime(copy)
    for old in sorted(REPORTS.iterdir(), key=lambda path: path.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return f"{address}/{name}/{report.name}"


@contextmanager
def serving_reports(port: int) -> Iterator[str]:
    """Serve the reports on `port`, or on any other that is free; yields the address."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    handler = partial(_Quiet, directory=str(REPORTS.absolute()))
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError:
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    """Says nothing of each request."""

    def log_message(self, *_: Any) -> None:
        return
