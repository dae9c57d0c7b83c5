"""`synthagent serve`: a server that is ready when it says so, and of which nothing is left when it ends.

A small script stands for the server's interpreter; `test_vllm.py` uses the real one, where it is provisioned.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from helpers.processes import PATIENCE, eventually, free_port, is_alive
from helpers.projects import assert_one_message, synthagent, write_params

from synthagent.errors import EndpointError, ParamsError
from synthagent.ops.serve import endpoint_models, is_local, served
from synthagent.params_file import load_params

MODEL = "a-model"
INTERPRETER = """#!{python}
import json, os, pathlib, signal, subprocess, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
args = dict(zip(sys.argv[1:], sys.argv[2:]))
child = subprocess.Popen(["sleep", "600"])
if "--deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
told = {{"pids": [os.getpid(), child.pid], "argv": sys.argv[1:], "env": dict(os.environ)}}
pathlib.Path({told!r}).write_text(json.dumps(told))
print("loading the weights", flush=True)
if "--broken" in sys.argv:
    print("Traceback (most recent call last):\\n  many lines\\n\\x1b[31mRuntimeError: no such weights\\x1b[0m")
    sys.exit(3)

if "--buried" in sys.argv:
    print("WARNING [a.py:9] This can cause errors like `OSError: too many files`")
    print("(EngineCore pid=9) ERROR 11-26 10:57:04 [core.py:1231] ValueError: No available memory for the blocks.")
    print("(APIServer pid=8)     raise RuntimeError(\\n" * 20 + "RuntimeError: initialization failed. See above.")
    sys.exit(1)

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        models = {{"data": [{{"id": "another" if "--another" in sys.argv else args["--served-model-name"]}}]}}
        body = json.dumps(models).encode() if self.path == "/v1/models" else b""
        self.send_response(503 if "--sick" in sys.argv and self.path == "/health" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if "--short-lived" in sys.argv and self.path == "/v1/models":
            print("out of memory", flush=True)
            os._exit(9)

HTTPServer((args["--host"], int(args["--port"])), Handler).serve_forever()
"""


class Project:
    """A folder whose teacher is served by the script above; `change` sets more params."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.told_in = folder, free_port(), folder / "told.json"
        self.python = folder / "python"
        self.python.write_text(INTERPRETER.format(python=sys.executable, told=str(self.told_in)))
        self.python.chmod(0o755)
        self.change()

    def change(self, **serve: Any) -> None:
        teacher = {"backend": "openai", "base_url": f"http://127.0.0.1:{self.port}/v1", "model": MODEL}
        serve = {"python": str(self.python), "start_timeout_s": PATIENCE} | serve
        changes = {"roles.teacher": teacher} | {f"serve.{key}": value for key, value in serve.items()}
        self.path = write_params(self.folder, changes)

    def role(self, **keys: Any) -> None:
        raw = yaml.safe_load(self.path.read_text())
        raw["roles"]["teacher"] |= keys
        self.path.write_text(yaml.safe_dump(raw))

    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.told_in.read_text())
        return told

    def alive(self) -> list[int]:
        return [pid for pid in self.told()["pids"] if is_alive(pid)]

    @contextmanager
    def command(self) -> Iterator[subprocess.Popen[str]]:
        """`synthagent serve teacher`, ended at the latest on leaving."""
        command = [sys.executable, "-m", "synthagent", "serve", "teacher"]
        process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        with process:
            try:
                yield process
            finally:
                process.kill()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def read_until(process: subprocess.Popen[str], start: str) -> list[str]:
    """The lines of a process, to the first that starts so."""
    lines: list[str] = []
    assert process.stdout
    for line in process.stdout:
        lines.append(line.rstrip())
        if line.startswith(start):
            return lines
    raise AssertionError(f"never said {start!r}: {lines}")


def failure(project: Project, error: type[Exception] = EndpointError) -> str:
    with pytest.raises(error) as raised, served(load_params(project.path), "teacher", lambda _: None):
        pytest.fail("no server should be ready")
    message = str(raised.value)
    assert "\n" not in message
    assert len(message) < 1_000
    return message


def test_a_server_is_ready_on_entry_and_gone_with_its_children_on_exit(project: Project) -> None:
    lines: list[str] = []
    with served(load_params(project.path), "teacher", lines.append) as server:
        assert endpoint_models(server.base_url) == [server.model] == [MODEL]
        assert len(project.alive()) == 2
    assert project.alive() == []
    assert "loading the weights" in lines


def test_an_error_inside_ends_the_server_too(project: Project) -> None:
    with pytest.raises(ZeroDivisionError), served(load_params(project.path), "teacher", lambda _: None):
        _ = 1 / 0
    assert project.alive() == []


def test_the_command_says_what_role_and_params_say(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as our command line sets it, for the stages
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    project.change(weights="some/weights", args=["--dtype=float32", "--x", "y"], env={"DO_NOT_TRACK": "0", "A": "b"})
    with served(load_params(project.path), "teacher", lambda _: None):
        told = project.told()
    port = str(project.port)
    named = ["--model", "some/weights", "--served-model-name", MODEL, "--host", "127.0.0.1", "--port", port]
    assert told["argv"] == ["-m", "vllm.entrypoints.openai.api_server", *named, "--dtype=float32", "--x", "y"]
    expected = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "0", "A": "b"}
    assert {name: told["env"].get(name) for name in expected} == expected
    assert "OMP_NUM_THREADS" not in told["env"]


def test_without_weights_the_model_is_loaded_by_its_name(project: Project) -> None:
    with served(load_params(project.path), "teacher", lambda _: None):
        assert project.told()["argv"][3] == MODEL


def test_a_server_that_does_not_heed_sigterm_is_killed(project: Project) -> None:
    project.change(args=["--deaf"])
    with served(load_params(project.path), "teacher", lambda _: None):
        assert len(project.alive()) == 2
    assert project.alive() == []


def test_a_server_that_ends_early_is_quoted(project: Project) -> None:
    project.change(args=["--broken"])
    message = failure(project)
    for part in ("serve teacher", "exit code 3", "loading the weights", "RuntimeError: no such weights"):
        assert part in message
    assert "\x1b" not in message
    assert project.alive() == []


def test_the_first_exception_is_quoted_however_far_from_the_end_it_is(project: Project) -> None:
    project.change(args=["--buried"])
    message = failure(project)
    assert "its last lines: ValueError: No available memory for the blocks. .. " in message
    assert "initialization failed" in message


@pytest.mark.parametrize(("fault", "said"), [("--sick", "503"), ("--another", f"serves another rather than {MODEL}")])
def test_a_server_that_does_not_become_ready_is_ended(fault: str, said: str, project: Project) -> None:
    project.change(args=[fault], start_timeout_s=2)
    message = failure(project)
    for part in ("serve.start_timeout_s", said):
        assert part in message
    assert not project.told_in.exists() or project.alive() == []


def test_a_taken_port_is_told_before_anything_starts(project: Project) -> None:
    with socket.create_server(("127.0.0.1", project.port)):
        message = failure(project)
    for part in (f"port {project.port}", "taken", "roles.teacher.base_url"):
        assert part in message
    assert not project.told_in.exists()


def test_a_port_that_a_server_has_is_told_with_what_it_serves(project: Project) -> None:
    params = load_params(project.path)
    with served(params, "teacher", lambda _: None):
        assert f"taken by a server of {MODEL}" in failure(project)
        assert len(project.alive()) == 2


def test_a_missing_interpreter_is_told_with_the_command_that_makes_it(project: Project) -> None:
    project.change(python="none/bin/python")
    message = failure(project, ParamsError)
    for part in ("serve.python", "none/bin/python", "`make vllm-cpu`"):
        assert part in message


def test_missing_weights_are_told_with_the_command_that_makes_them(project: Project) -> None:
    project.change(weights="./none")
    message = failure(project, ParamsError)
    for part in ("serve.weights", "none", "`make vllm-cpu`"):
        assert part in message


@pytest.mark.parametrize(
    "base_url",
    [
        None,
        "",
        "http://127.0.0.1/v1",
        "https://127.0.0.1:8000/v1",
        "http://example.com:8000/v1",
        "http://127.0.0.1:8000",
        "http://127.0.0.1:99999/v1",
        "http://[::1:8000/v1",
        "127.0.0.1:8000/v1",
        "http://user:secret@127.0.0.1:8000/v1",
    ],
)
def test_an_address_that_cannot_be_served_from_here_is_told(base_url: str | None, project: Project) -> None:
    project.role(base_url=base_url)
    message = failure(project, ParamsError)
    for part in ("roles.teacher.base_url", "http://127.0.0.1:8000/v1"):
        assert part in message
    assert "secret" not in message


@pytest.mark.parametrize(
    ("base_url", "local"),
    [
        ("http://localhost:1/v1", True),
        ("http://127.0.0.9:1/v1", True),
        ("http://[::1]:1/v1", True),
        ("http://10.0.0.1:1/v1", False),
        ("http://localhost.example.com:1/v1", False),
        ("http://[", False),
        (None, False),
    ],
)
def test_local_means_this_machine(base_url: str | None, local: bool) -> None:
    assert is_local(base_url) is local


def test_roles_that_need_no_server_and_unknown_ones_are_told(tmp_path: Path) -> None:
    write_params(tmp_path, {})
    assert_one_message(synthagent("serve", "judge", cwd=tmp_path), "roles.judge.backend", "'embedded'", "openai")
    assert_one_message(synthagent("serve", "cook", cwd=tmp_path), "'cook'", "teacher", "policy")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_command_stops_the_server(number: signal.Signals, project: Project) -> None:
    with project.command() as process:
        lines = read_until(process, "ready after ")
        assert "loading the weights" in lines
        assert f"http://127.0.0.1:{project.port}/v1 serves {MODEL}" in lines[-1]
        assert len(project.alive()) == 2
        process.send_signal(number)
        out, error = process.communicate()
        assert (process.returncode, error) == (0, "")
        assert out.splitlines()[-1] == "stopped"
    assert project.alive() == []


def test_a_signal_while_the_server_loads_stops_it(project: Project) -> None:
    project.change(args=["--sick"])
    with project.command() as process:
        read_until(process, "loading the weights")
        process.terminate()
        process.communicate()
        assert process.returncode == 0
    assert project.alive() == []


def test_the_server_does_not_outlive_a_command_that_was_killed(project: Project) -> None:
    with project.command() as process:
        read_until(process, "ready after ")
        process.kill()
    eventually("the end of the server", lambda: not project.alive())


def test_a_server_that_dies_later_ends_the_command_with_its_last_lines(project: Project) -> None:
    project.change(args=["--short-lived"])
    with project.command() as process:
        _, error = process.communicate()
        assert process.returncode == 1
        assert len(error.splitlines()) == 1
        for part in ("synthagent: serve teacher", "exit code 9", "out of memory"):
            assert part in error
    assert project.alive() == []


@pytest.mark.parametrize("body", [b"", b"[]", b'{"data": 1}', b'{"data": [{}]}', b"\xff", b"[" * 100_000])
def test_an_answer_that_is_no_list_of_models_is_told(body: bytes) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            with pytest.raises(EndpointError, match="list of models"):
                endpoint_models(f"http://127.0.0.1:{server.server_port}/v1")
        finally:
            server.shutdown()
            thread.join()
