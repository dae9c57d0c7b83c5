"""A Prefect server that ends with the process that needs it, and flows as programs.

`PREFECT_API_URL`, if a server answers there, is used as it is. Otherwise `prefect server start` is run; its log is
`.prefect/server.log`.
"""

import atexit
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit
from urllib.request import urlopen

from prefect import Flow
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_SERVER_API_HOST,
    PREFECT_SERVER_API_PORT,
    temporary_settings,
)

from synthagent.ops.guard import guarded

START_SECONDS = 120.0


def launch(flow: Flow[[], None]) -> None:
    """Run `flow` as a program that exits with 1 if the run fails; without `PREFECT_API_URL`, on a server of its own."""
    cleanup = ExitStack()
    atexit.register(cleanup.close)  # not earlier: Prefect sends its last logs when the interpreter ends
    if not PREFECT_API_URL.value():
        url = cleanup.enter_context(started_server(f"http://127.0.0.1:{_free_port()}/api"))
        cleanup.enter_context(temporary_settings({PREFECT_API_URL: url}))
    state = flow(return_state=True)
    sys.exit(0 if state.is_completed() else 1)


@contextmanager
def server() -> Iterator[str]:
    """Yield the URL of an API that answers: `PREFECT_API_URL`, else of a server started for it."""
    url = PREFECT_API_URL.value()
    if url and _answers(url):
        yield url
    else:
        configured = f"http://{PREFECT_SERVER_API_HOST.value()}:{PREFECT_SERVER_API_PORT.value()}/api"
        with started_server(url or configured) as started:
            yield started


@contextmanager
def started_server(url: str) -> Iterator[str]:
    """Start a server whose API is at `url`, wait until it answers, and on leaving end it."""
    if _answers(url):
        sys.exit(f"{url} is taken: set PREFECT_API_URL to it, to use that server, or another PREFECT_SERVER_API_PORT")
    log, address = PREFECT_HOME.value() / "server.log", urlsplit(url)
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "prefect", "server", "start"]
    command += ["--host", str(address.hostname), "--port", str(address.port)]
    with log.open("ab") as output, guarded(command, os.environ, output) as process:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"no Prefect server at {url}: it did not start, see {log}\n{log.read_text()[-2000:]}")
            time.sleep(0.2)
        yield url


def _answers(url: str) -> bool:
    try:
        with urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
