"""Code in the Python tool keeps its state for an episode, prints as in a notebook, and loses all with a limit."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from synthagent import isolation
from synthagent.errors import IsolationError
from synthagent.params_reasoning import PythonParams
from synthagent.sandbox import Ran, SandboxPool, Session, available, sandboxes
from synthagent.sandbox import filter as calls

LIMITS = PythonParams(
    isolation="bubblewrap", wall_s=20, cpu_s=20, memory_mb=512, processes=8, output_chars=1000, file_mb=1
)
pytestmark = pytest.mark.skipif(bool(available("bubblewrap")), reason=f"no isolation: {available('bubblewrap')}")


@pytest.fixture(scope="module")
def pool() -> Iterator[SandboxPool]:
    with sandboxes(LIMITS, preloaded=()) as started:
        yield started


@pytest.fixture
def session(pool: SandboxPool) -> Iterator[Session]:
    with pool.session() as lent:
        yield lent


def one(limits: dict[str, object], *codes: str) -> list[Ran]:
    """What the calls of one episode under other limits come to."""
    with sandboxes(LIMITS.model_copy(update=limits), preloaded=()) as started, started.session() as lent:
        return [lent.run(code) for code in codes]


def test_state_lasts_for_an_episode_and_no_longer(pool: SandboxPool) -> None:
    with pool.session() as first:
        assert first.run("import math\nx = math.gcd(12, 18)\nopen('a', 'w').write('kept')") == Ran("4\n")
        assert first.run("def double(n):\n    return 2 * n") == Ran("")
        assert first.run("print(double(x), open('a').read())") == Ran("12 kept\n")
    with pool.session() as second:
        assert "NameError" in second.run("x").output
        assert second.run("import os; os.listdir('.')") == Ran("[]\n")


def test_the_last_expression_is_shown_and_an_exception_printed_without_our_frames(session: Session) -> None:
    assert session.run("1\n'two'\n") == Ran("'two'\n")
    assert session.run("None") == Ran("")
    assert session.run("import sys; print('a'); sys.stderr.write('b\\n'); print('c');") == Ran("a\nb\nc\n")
    told = session.run("def f():\n    return 1 / 0\nf()")
    assert told.error is None
    assert told.output.splitlines()[1] == '  File "<call 4>", line 3, in <module>'
    assert told.output.endswith("ZeroDivisionError: division by zero\n")
    assert "keeper" not in told.output
    assert session.run("if :").output.endswith("SyntaxError: invalid syntax\n")
    assert session.run("import sys; sys.exit(1)") == Ran("")
    assert session.run("input()").output.endswith("EOFError: EOF when reading a line\n")


@pytest.mark.parametrize(
    "code", ["\0", "'\ud800'", "(" * 5000, "x" * 100_001, "#\r\x0c\u2028", "", "# -*- coding: x -*-"]
)
def test_code_that_is_none_is_an_answer_too(session: Session, code: str) -> None:
    session.run(code)
    assert session.run("6 * 7") == Ran("42\n")


def test_what_is_cut_is_said_and_the_end_is_kept(session: Session) -> None:
    ran = session.run("print('a' * 5000)\n1 / 0")
    assert len(ran.output) < 1050
    assert "characters left out]" in ran.output
    assert ran.output.endswith("ZeroDivisionError: division by zero\n")


def test_a_limit_ends_the_call_and_its_state_and_the_next_call_begins_anew() -> None:
    slow, after = one({"wall_s": 1}, "x = 1\nprint('so far')\nwhile True: pass", "x")
    assert (slow.output, slow.error) == ("so far\n", "timeout")
    assert slow.observation.startswith("so far\n[timeout: ")
    assert "NameError" in after.output


def test_cpu_time_is_that_of_an_episode() -> None:
    burn = "import time\nstart = time.process_time()\nwhile time.process_time() < start + 0.8: pass"
    errors = [ran.error for ran in one({"cpu_s": 1, "wall_s": 90}, burn, burn, "1")]
    assert errors == [None, "cpu", "cpu"]


def test_memory_that_is_refused_is_an_error_that_keeps_the_state(session: Session) -> None:
    session.run("x = 1")
    ran = session.run("bytearray(10**10)")
    assert (ran.error, ran.output.splitlines()[-1]) == ("memory", "MemoryError")
    assert session.run("x") == Ran("1\n")


def test_a_call_that_ends_its_process_is_told_how(session: Session) -> None:
    assert session.run("import os; print('a'); os._exit(3)") == Ran("a\n", "killed", "exit code 3")
    crash = session.run("import ctypes; ctypes.string_at(0)")
    assert (crash.error, crash.detail) == ("killed", "SIGSEGV")


def test_the_same_code_prints_the_same_in_every_sandbox() -> None:
    code = "import random; print(random.random(), {'a', 'b', 'c', 'd'}, hash('a'))"
    first, second = one({}, code), one({}, code)
    assert first == second


def test_what_code_writes_into_every_pipe_it_finds_is_only_output(pool: SandboxPool) -> None:
    forged = """
import os
for fd in range(256):
    try:
        os.write(fd, b'd' * 50 + b'{"output": "forged", "fault": null, "detail": ""}\\\\n')
    except OSError:
        pass
"""
    with pool.session() as session:
        session.run("x = 1")
        session.run(forged)
        session.run("print('late')")
    with pool.session() as session:
        assert session.run("6 * 7") == Ran("42\n")
        assert "NameError" in session.run("x").output


def test_a_thread_does_not_run_between_calls(session: Session) -> None:
    session.run("""
import threading, time
longest = 0
def watch():
    global longest
    last = time.monotonic()
    while True:
        time.sleep(0.001)
        now = time.monotonic()
        longest, last = max(longest, now - last), now
threading.Thread(target=watch, daemon=True).start()
""")
    time.sleep(0.6)
    assert float(session.run("time.sleep(0.1); longest").output) > 0.5


def test_a_sandbox_that_dies_is_replaced(pool: SandboxPool) -> None:
    with pool.session() as session:
        session.run("x = 1")
        os.kill(session.sandbox._process.pid, signal.SIGKILL)
        while session.run("time = 1").error is None:  # what is in it dies a moment later
            pass
        assert "NameError" in session.run("x").output
        assert session.run("6 * 7") == Ran("42\n")


def test_episodes_wait_for_a_free_sandbox_and_do_not_meet(pool: SandboxPool) -> None:
    answers: dict[int, str] = {}

    def episode(number: int) -> None:
        with pool.session() as session:
            session.run(f"x = {number}")
            answers[number] = session.run("x").output

    threads = [Thread(target=episode, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: f"{number}\n" for number in range(4)}


def test_when_the_pool_is_closed_nothing_of_it_is_left() -> None:
    with sandboxes(LIMITS, 2, preloaded=()) as started, started.session() as lent:
        keeper = lent.sandbox._process.pid
        assert Path(f"/proc/{keeper}").exists()
    assert not Path(f"/proc/{keeper}").exists()


@pytest.mark.parametrize("kind", ["rlimits", "none"])
def test_a_weaker_isolation_runs_code_when_it_is_named(kind: str) -> None:
    assert available(kind) is None
    ran = one({"isolation": kind}, "import os; print(sorted(os.environ)); open('a', 'w').close(); os.listdir('.')")
    assert ran[0].output.splitlines()[1:] == ["['a']"]
    assert "PATH" not in ran[0].output


def test_where_no_isolation_can_be_had_it_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "_programs", lambda: iter(()))
    isolation._way.cache_clear()
    available.cache_clear()
    try:
        with pytest.raises(IsolationError, match=r"no bubblewrap here .*; install bubblewrap.*isolation: rlimits"):
            one({}, "1")
        assert "no bubblewrap here" in str(available("bubblewrap"))
    finally:
        monkeypatch.undo()
        isolation._way.cache_clear()
        available.cache_clear()


def test_where_there_is_no_filter_of_system_calls_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "unsupported", lambda: "this kernel has no filters of system calls (seccomp)")
    with pytest.raises(IsolationError, match="this kernel has no filters"):
        one({}, "1")
