"""A program in isolation reaches nothing of ours, uses no more than its limits, and ends with all that it started."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from synthagent import isolation
from synthagent.errors import IsolationError
from synthagent.isolation import Finished, Limits, isolated, run_isolated, unavailable

PYTHON = Path(sys.executable)
pytestmark = pytest.mark.skipif(bool(unavailable()), reason=f"no isolation here: {unavailable()}")


def ran(code: str, wall_s: float = 20.0, limits: Limits = Limits(memory_mb=512, processes=16, file_mb=4)) -> Finished:  # noqa: B008
    return run_isolated(PYTHON, ["-I", "-c", code], limits=limits, wall_s=wall_s)


def refused(code: str) -> str:
    """The error that ends the code: its type and text."""
    finished = ran(code)
    assert finished.code == 1, finished
    return finished.stderr.decode().strip().splitlines()[-1]


def test_a_program_runs_and_reads_what_it_is_given() -> None:
    finished = run_isolated(PYTHON, ["-I", "-c", "print(input()[::-1])"], given=b"abc\n", wall_s=20)
    assert (finished.code, finished.stdout, finished.stderr) == (0, b"cba\n", b"")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("open('/etc/passwd')", "FileNotFoundError"),
        (f"open({str(Path(__file__).resolve())!r})", "FileNotFoundError"),
        ("open('/proc/1/environ').read()", "PermissionError"),
        ("open('/x', 'w')", "Read-only file system"),
        ("open('/dev/shm/x', 'w')", "Read-only file system"),
        ("open('/usr/x', 'w')", "Read-only file system"),
        ("import socket; socket.create_connection(('1.1.1.1', 80), 5)", "unreachable"),
        ("bytearray(10**10)", "MemoryError"),
        ("f = open('/box/x', 'wb')\nfor _ in range(99): f.write(bytes(10**5))", "File too large"),
        ("import os; os.setuid(0); open('/x', 'w')", "Error"),
        ("import os; os.kill(1, 0); os.kill(1, 9); os.kill(-1, 9)", "Error"),
    ],
)
def test_what_a_program_must_not_do_is_an_error(code: str, error: str) -> None:
    assert error in refused(code)


def test_a_server_of_ours_on_this_machine_is_not_reached() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        socket.create_connection(("127.0.0.1", port)).close()
        code = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
        assert "Connection refused" in refused(code)


def test_no_variable_of_the_environment_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    finished = ran("import os; print(sorted(os.environ))")
    assert finished.stdout == b"['HOME', 'LC_ALL', 'TMPDIR']\n"


def test_only_what_is_named_can_be_read_and_not_changed(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "a").write_text("text")
    (tmp_path / "other").write_text("text")
    folder = str(tmp_path.resolve())
    code = f"import os; print(os.listdir({folder!r}), open({folder!r} + '/given/a').read())"
    finished = run_isolated(PYTHON, ["-I", "-c", code], [tmp_path / "given"], wall_s=20)
    assert finished.stdout == b"['given'] text\n"
    code = f"open({folder!r} + '/given/a', 'w')"
    assert b"Read-only" in run_isolated(PYTHON, ["-I", "-c", code], [tmp_path / "given"], wall_s=20).stderr


def test_a_link_out_of_what_is_named_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "secret").write_text("text")
    (tmp_path / "given" / "link").symlink_to(tmp_path / "secret")
    code = f"open({str(tmp_path / 'given' / 'link')!r})"
    finished = run_isolated(PYTHON, ["-I", "-c", code], [tmp_path / "given"], wall_s=20)
    assert b"FileNotFoundError" in finished.stderr


def test_a_fork_bomb_is_stopped_by_the_limit_on_processes_and_dies_with_its_time() -> None:
    code = """
import os, time
made = 0
try:
    while made < 500:
        if os.fork() == 0:
            time.sleep(600)
        made += 1
except OSError:
    print(made, flush=True)
time.sleep(600)
"""
    finished = ran(code, wall_s=10)
    assert finished.code is None
    assert 0 < int(finished.stdout) < 16


def test_an_endless_loop_ends_with_its_time_and_endless_output_with_its_size() -> None:
    start = time.monotonic()
    assert ran("while True: pass", wall_s=2).code is None
    assert time.monotonic() - start < 30
    limits = Limits(memory_mb=512, processes=16, file_mb=4)
    finished = run_isolated(PYTHON, ["-I", "-c", "while True: print('a' * 999)"], limits=limits, most_bytes=5_000)
    assert finished.code == 1
    assert len(finished.stdout) == 5_000


def test_the_limit_on_cpu_time_ends_a_program() -> None:
    finished = ran("while True: pass", 60, Limits(memory_mb=512, processes=16, file_mb=4, cpu_s=1))
    assert finished.code not in (None, 0)


def test_a_process_that_outlives_the_call_is_killed_with_it() -> None:
    code = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(600)\nprint('gone', flush=True)"
    assert ran(code).stdout == b"gone\n"
    command = isolated(PYTHON, ["-I", "-c", "import time; print(1, flush=True); time.sleep(613)"])
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"1\n"
    process.kill()
    process.wait()
    for _ in range(100):
        if not running("time.sleep(613)"):
            break
        time.sleep(0.1)
    assert not running("time.sleep(613)")


def running(text: str) -> bool:
    """Whether there is a process with such a command."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and folder.name != str(os.getpid()):
            try:
                if text in (folder / "cmdline").read_text():
                    return True
            except OSError:
                continue
    return False


def test_where_no_isolation_can_be_had_a_program_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "_programs", lambda: iter(["/bin/false"]))
    isolation._way.cache_clear()
    try:
        with pytest.raises(IsolationError, match="does not run here") as told:
            isolated(PYTHON, ["-c", ""])
        assert "user namespaces" in str(told.value)
        assert "\n" not in str(told.value)
    finally:
        isolation._way.cache_clear()


def test_a_user_without_rights_is_isolated_by_a_user_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation.os, "geteuid", lambda: 1000)
    isolation._way.cache_clear()
    try:
        if unavailable():
            pytest.skip(f"no user namespaces here: {unavailable()}")
        assert ran("import os; print(os.getuid())").stdout == b"65534\n"
        assert "FileNotFoundError" in refused("open('/etc/passwd')")
        assert "Read-only file system" in refused("open('/x', 'w')")
    finally:
        monkeypatch.undo()
        isolation._way.cache_clear()
