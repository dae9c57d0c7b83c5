"""A Prefect server that ends with the process that needs it, and flows as programs.

The server at `PREFECT_API_URL` is used as it is, and has to be there. Without that, `prefect server start` is run; its
log is `.prefect/server.log`.
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
from prefect.client.schemas.objects import State
from prefect.exceptions import Abort
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_SERVER_API_HOST,
    PREFECT_SERVER_API_PORT,
    temporary_settings,
)

from synthagent.ops.guard import guarded

START_SECONDS = 300.0  # on a machine that is busy; ten on one that is not


def launch(flow: Flow[..., State[None]]) -> None:
    """Run `flow` as a program that exits with 1 if the run fails; without `PREFECT_API_URL`, on a server of its own."""
    cleanup = ExitStack()
    atexit.register(cleanup.close)  # not earlier: Prefect sends its last logs when the interpreter ends
    if url := PREFECT_API_URL.value():
        _need(url)
    else:
        url = cleanup.enter_context(started_server(f"http://127.0.0.1:{_free_port()}/api"))
        cleanup.enter_context(temporary_settings({PREFECT_API_URL: url}))
    try:
        flow()
    except Abort as ended:
        sys.exit(str(ended))


@contextmanager
def server() -> Iterator[str]:
    """Yield the URL of an API that answers: `PREFECT_API_URL`, or else of a server started for it."""
    if url := PREFECT_API_URL.value():
        _need(url)
        yield url
    else:
        with started_server(
            f"http://{PREFECT_SERVER_API_HOST.value()}:{PREFECT_SERVER_API_PORT.value()}/api"
        ) as started:
            yield started


@contextmanager
def started_server(url: str) -> Iterator[str]:
    """Start a server whose API is at `url`, wait until it answers, and on leaving end it."""
    address = urlsplit(url)
    host, port = str(address.hostname), int(address.port or 0)
    if _answers(url):
        sys.exit(
            f"port {port} is taken: a Prefect server answers at {url}; set PREFECT_API_URL={url} to use it, "
            "or PREFECT_SERVER_API_PORT to another port"
        )
    if not _is_free(host, port):
        sys.exit(f"port {port} of {host} is taken, by another program: set PREFECT_SERVER_API_PORT to another port")
    log = PREFECT_HOME.value() / "server.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", host, "--port", str(port)]
    env = {"PREFECT_UI_API_URL": "/api", **os.environ}  # the dashboard asks the server that it came from
    with log.open("ab") as output, guarded(command, env, output) as process:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"no Prefect server at {url}: it did not start, see {log}\n{log.read_text()[-2000:]}")
            time.sleep(0.2)
        yield url


def _need(url: str) -> None:
    if not _answers(url):
        sys.exit(
            f"PREFECT_API_URL: no Prefect server answers at {url}; start it (`prefect server start`), "
            "or unset PREFECT_API_URL: one is then started here"
        )


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that has just ended does not count
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _answers(url: str) -> bool:
    try:
        with urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):  # nobody listens, or that is no address
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
