"""Nothing that code in the Python tool might try succeeds; and where something does, the table says so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from helpers.projects import default_params

from benchmarks.escapes import Attack, Outside, attacks, attempt, main, outside
from synthagent.sandbox import SandboxPool, available, sandboxes

LIMITS = default_params().reasoning.python.model_copy(update={"wall_s": 2.0})
isolated = pytest.mark.skipif(bool(available("bubblewrap")), reason=f"no isolation: {available('bubblewrap')}")


@pytest.fixture(scope="module")
def pool() -> Iterator[SandboxPool]:
    with sandboxes(LIMITS) as started:
        yield started


@pytest.fixture(scope="module")
def there() -> Iterator[Outside]:
    with outside() as set_up:
        yield set_up


@isolated
@pytest.mark.parametrize("attack", attacks(), ids=lambda attack: f"{attack.kind}: {attack.name}")
def test_an_attack_is_held(attack: Attack, pool: SandboxPool, there: Outside) -> None:
    assert attempt(attack, pool, LIMITS, there).success == ""


def test_the_attacks_are_those_that_were_asked_for() -> None:
    kinds = {attack.kind for attack in attacks()}
    assert kinds >= {"processes", "signals", "memory", "time", "output", "network", "files", "environment", "kernel"}
    assert len({(attack.kind, attack.name) for attack in attacks()}) == len(attacks()) > 90


@isolated
@pytest.mark.parametrize(
    ("code", "then", "success"),
    [
        ("print(ESCAPED)", "", "it says so"),
        ("print('ESCAPED')", "print(ESCAPED)", "it says so"),
        ("raise ValueError('ESCAPED')", "", ""),
        ("print('SECRET')", "", ""),
    ],
)
def test_an_attack_succeeds_when_it_says_its_word(
    pool: SandboxPool, there: Outside, code: str, then: str, success: str
) -> None:
    assert attempt(Attack("a", "b", code, then, False), pool, LIMITS, there).success == success


@pytest.mark.skipif(bool(available("rlimits")), reason="no limits here")
@pytest.mark.parametrize(
    ("code", "success"),
    [
        ("print(open('@SECRET@').read())", "a secret of ours was printed"),
        ("open('@SECRET@', 'w').write('changed')", "a file of ours has changed"),
        ("import socket; socket.create_connection(('127.0.0.1', @PORT@))", ""),
        ("import os; os.fork()", ""),
    ],
)
def test_what_a_weaker_isolation_lets_through_is_seen_from_outside(code: str, success: str) -> None:
    weak = LIMITS.model_copy(update={"isolation": "rlimits"})
    with outside() as there, sandboxes(weak, preloaded=()) as pool:
        assert attempt(Attack("a", "b", code, "", False), pool, weak, there).success == success


@pytest.mark.skipif(bool(available("none")), reason="not even a process here")
def test_a_server_that_is_reached_and_a_process_that_is_left_are_seen_from_outside() -> None:
    none = LIMITS.model_copy(update={"isolation": "none"})
    with outside() as there, sandboxes(none, preloaded=()) as pool:
        reach = "import socket; socket.create_connection(('127.0.0.1', @PORT@))"
        assert attempt(Attack("a", "b", reach, "", False), pool, none, there).success == "a server of ours was reached"
        stay = "import subprocess; subprocess.Popen(['sleep', '987654'], start_new_session=True).pid"
        assert attempt(Attack("a", "b", stay, "import os", False), pool, none, there).success == "a process is left"
        with pool.session() as session:
            session.run("import os; os.system('pkill -x -f \"sleep 987654\"')")
        assert there.harm() == ""


@pytest.mark.skipif(bool(available("rlimits")), reason="no limits here")
def test_the_command_says_what_succeeded_and_exits_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--isolation", "rlimits", "--kinds", "rights", "environment"]) == 1
    told = capsys.readouterr().out
    assert "SUCCEEDED: it says so" in told
    assert "rlimits: " in told.splitlines()[-1]
