"""`synthagent serve ROLE`: the params of a role -> a vLLM server on this machine, which ends when we do.

The role says where and under which name (`base_url`, `model`), the section `serve` says how (`ServeParams`). The server
has an interpreter of its own, runs in a process group of its own under a guard (`synthagent.ops.guard`), and shares
nothing with this process but its log.

Launch: `synthagent serve teacher`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException
from ipaddress import ip_address
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from synthagent.errors import EndpointError, ParamsError
from synthagent.ops.guard import guarded
from synthagent.ops.serving import serving_of
from synthagent.params import Params, Role, ServeParams
from synthagent.stage import say

PROVISION = "`make vllm-cpu` (or `make vllm-gpu` on a CUDA machine)"
_DEFAULTS = {  # what the user or params set wins
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "PYTHONUNBUFFERED": "1",  # the log as it is written
    "PYTHONSAFEPATH": "1",  # vLLM must not import the project's folders
}
_PROBE_S = 5.0  # longest wait for one answer to a probe
_BETWEEN_PROBES_S = 0.25
_MOST_BYTES = 1_000_000  # of a list of models
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# The last line of a traceback, after what vLLM puts before each: `(EngineCore pid=9) ERROR 11-26 [core.py:1] `.
_EXCEPTION = re.compile(r"(?:^|\] |pid=\d+\) )(\w*(?:Error|Exception): .+)$")


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is ready. `process` ends when the server does."""

    base_url: str
    model: str
    start_s: float
    process: subprocess.Popen[bytes]


def serve(params: Params, name: str) -> None:
    """Serve a role's model until a signal arrives.

    Raises:
        ParamsError: the role, or `serve`, describes no server that can be started here.
        EndpointError: the port is taken, or the server ended or did not become ready.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # SIGINT too: a script's background job ignores it
        signal.signal(number, _interrupt)
    log = _Log(say)
    try:
        with _serving(params, name, log) as server:
            log.tell(f"ready after {server.start_s:.0f} s: {server.base_url} serves {server.model}; Ctrl-C stops it")
            while (code := server.process.poll()) is None:  # `wait` loses a signal that arrives as it begins
                time.sleep(_BETWEEN_PROBES_S)
            raise EndpointError(f"serve {name}: the server ended with exit code {code}; its last lines: {log.end()}")
    except KeyboardInterrupt:
        log.tell("stopped")


@contextmanager
def served(params: Params, name: str, log: Callable[[str], None] = say) -> Iterator[Server]:
    """A server for the role `name`, ready on entry, with all its processes gone on exit; `log` gets its lines.

    Raises as `serve` does.
    """
    with _serving(params, name, _Log(log)) as server:
        yield server


def endpoint_models(base_url: str, key: str | None = None) -> list[str]:
    """What an OpenAI-compatible endpoint says that it serves.

    Raises:
        EndpointError: it cannot be reached, refuses, or answers something else than a list of models.
    """
    try:
        answer: Any = json.loads(_get(f"{base_url.rstrip('/')}/models", key))
        return [str(model["id"]) for model in answer["data"]]
    except HTTPError as error:
        raise EndpointError(f"answers {error.code} {error.reason}") from None
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise EndpointError(f"not reachable: {getattr(reason, 'strerror', None) or reason}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise EndpointError("does not answer with a list of models; base_url usually ends in /v1") from None


def is_local(base_url: str | None) -> bool:
    """Whether an address is one of this machine's own."""
    with suppress(ValueError):
        host = urlsplit(base_url or "").hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    return False


def weights_folder(serve: ServeParams) -> Path | None:
    """The folder of the weights, where `serve.weights` is one rather than a hub's name."""
    is_folder = serve.weights and (serve.weights[0] in "./~" or Path(serve.weights).exists())
    return Path(serve.weights).expanduser() if serve.weights and is_folder else None


def interpreter(serve: ServeParams) -> str | None:
    """The path of the server's interpreter, or None where there is none."""
    return shutil.which(os.path.expanduser(serve.python))


@dataclass(frozen=True, slots=True)
class _Plan:
    """Where the server will be, and how it is started."""

    base_url: str
    model: str
    host: str
    port: int
    key: str | None
    command: tuple[str, ...]
    env: dict[str, str]


class _Log:
    """The server's log: every line goes to `show`; the first exception and the last lines are kept to be quoted.

    What ends vLLM is raised in a process of its own, dozens of lines before the last.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show, self._last, self._one_at_a_time = show, deque[str](maxlen=4), threading.Lock()
        self._first = ""
        self._reader: threading.Thread | None = None

    def read(self, pipe: IO[bytes]) -> None:
        """Follow `pipe` in a thread until it closes."""
        self._reader = threading.Thread(target=self._follow, args=(pipe,), daemon=True)
        self._reader.start()

    def tell(self, line: str) -> None:
        """Show a line, whole: ours, or one of the server's."""
        with self._one_at_a_time, suppress(OSError, ValueError):  # nobody reads any more, and a full pipe would block
            self._show(line)

    def end(self) -> str:
        """The last lines of a server that has ended."""
        if self._reader:
            self._reader.join(_PROBE_S)
        return self.last()

    def last(self) -> str:
        """The first exception and the last lines so far, as one."""
        last = " | ".join(line[:160] for line in self._last) or "none"
        return f"{self._first[:300]} .. {last}" if self._first and self._first not in last else last

    def _follow(self, pipe: IO[bytes]) -> None:
        for raw in pipe:
            line = raw.decode("utf-8", "replace").rstrip()
            if line:
                self._last.append(" ".join(_COLOUR.sub("", line).split()))
                if not self._first and (raised := _EXCEPTION.search(self._last[-1])):
                    self._first = raised[1]
                self.tell(line)


@contextmanager
def _serving(params: Params, name: str, log: _Log) -> Iterator[Server]:
    plan = _plan(params, name)
    _check_port(plan, name)
    start = time.monotonic()
    with guarded(plan.command, plan.env, subprocess.PIPE, signal.SIGTERM) as process:
        assert process.stdout
        log.read(process.stdout)
        _wait_until_ready(plan, name, process, log, start + params.serve.start_timeout_s)
        yield Server(plan.base_url, plan.model, time.monotonic() - start, process)


def _plan(params: Params, name: str) -> _Plan:
    serve = serving_of(params, name)
    role: Role = getattr(params.roles, name)
    base_url, model = role.base_url or "", role.model or ""
    host, port = _local_address(name, base_url)
    python = interpreter(serve)
    if not python:
        raise ParamsError(f"params.yaml: serve.python: {serve.python}: no such interpreter; run {PROVISION}")
    folder = weights_folder(serve)
    if folder and not folder.is_dir():
        raise ParamsError(f"params.yaml: serve.weights: {folder}: no such folder; run {PROVISION}, or name another")
    weights = str(folder) if folder else serve.weights or model
    module = ("-m", "vllm.entrypoints.openai.api_server")
    named = ("--model", weights, "--served-model-name", model, "--host", host, "--port", str(port))
    key = os.environ.get(role.api_key_env) if role.api_key_env else None
    env = _environment(serve, python)
    return _Plan(base_url, model, host, port, key, (python, *module, *named, *serve.args), env)


def _local_address(name: str, base_url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(base_url)
        port = parts.port
    except ValueError:
        port = None
    if (
        not port
        or parts.username
        or parts.scheme != "http"
        or parts.path.rstrip("/") != "/v1"
        or not is_local(base_url)
    ):
        raise ParamsError(
            f"params.yaml: roles.{name}.base_url: {shown(base_url)} is no address that can be served from here; "
            "it must be like http://127.0.0.1:8000/v1"
        )
    return parts.hostname or "", port


def shown(base_url: str) -> str:
    """An address without a password that somebody wrote into it."""
    return re.sub(r"//[^/]*@", "//", base_url)[:100] or "null"


def _environment(serve: ServeParams, python: str) -> dict[str, str]:
    # Our command line sets OMP_NUM_THREADS=1 for the stages; a server may use all cores. The interpreter's own
    # folder comes first, as in an activated environment: vLLM compiles with the ninja that lies there.
    inherited = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    path = f"{Path(python).absolute().parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return _DEFAULTS | inherited | {"PATH": path} | serve.env


def _check_port(plan: _Plan, name: str) -> None:
    try:
        family, kind, proto, _, address = socket.getaddrinfo(plan.host, plan.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, proto) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        by = ""
        with suppress(EndpointError):
            by = f" by a server of {', '.join(endpoint_models(plan.base_url, plan.key))[:100]}"
        raise EndpointError(
            f"serve {name}: port {plan.port} of {plan.host} is taken{by} ({error.strerror}); "
            f"end what listens there, or give roles.{name}.base_url another port"
        ) from None


def _wait_until_ready(plan: _Plan, name: str, process: subprocess.Popen[bytes], log: _Log, deadline: float) -> None:
    while True:
        if process.poll() is not None:
            code = process.returncode
            raise EndpointError(f"serve {name}: the server ended with exit code {code}; its last lines: {log.end()}")
        state = _state(plan)
        if not state:
            return
        if time.monotonic() > deadline:
            raise EndpointError(
                f"serve {name}: not ready within serve.start_timeout_s: {plan.base_url} {state}; "
                f"raise it, or see its last lines: {log.last()}"
            )
        time.sleep(_BETWEEN_PROBES_S)


def _state(plan: _Plan) -> str:
    """What the server still lacks; empty if it is ready."""
    try:
        _get(f"http://{urlsplit(plan.base_url).netloc}/health", None)
        models = endpoint_models(plan.base_url, plan.key)
    except EndpointError as error:
        return str(error)
    except (OSError, HTTPException) as error:
        return f"has no health yet ({error})"
    return "" if plan.model in models else f"serves {', '.join(models)[:100]} rather than {plan.model}"


def _get(url: str, key: str | None) -> bytes:
    proxies = ProxyHandler({}) if is_local(url) else ProxyHandler()
    request = Request(url, headers={"Authorization": f"Bearer {key}"} if key else {})
    with build_opener(proxies).open(request, timeout=_PROBE_S) as response:
        body: bytes = response.read(_MOST_BYTES)
    return body


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
