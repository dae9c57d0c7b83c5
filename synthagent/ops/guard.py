"""Runs a command that ends when its caller ends, even if the caller is killed.

`guarded(COMMAND)` starts a guard, which runs COMMAND in a process group of its own and reads a pipe that only the
caller holds open. When the caller closes it or dies, even by SIGKILL, the guard interrupts the whole group, so that a
stage can put its outs back, and kills what is left after `GRACE` seconds. It uses the standard library only, as it runs
without the package.

Launch (by `guarded`): `python synthagent/ops/guard.py SIGNAL COMMAND...`.
"""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

GRACE = 10.0


@contextmanager
def guarded(
    command: Sequence[str],
    env: Mapping[str, str],
    output: int | IO[bytes] | None = None,
    ending: signal.Signals = signal.SIGINT,
    folder: Path | None = None,
    held: Sequence[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command`; on leaving, end what still runs of it, by the signal `ending` first.

    Yields the guard, which ends as `command` does. `folder`: where it runs; `held`: descriptors of locks, which stay
    held until it has ended, even if we are killed.
    """
    guard = subprocess.Popen(
        [sys.executable, "-I", __file__, str(ending.value), *command],
        cwd=folder,
        env=env,
        pass_fds=held,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
    )
    try:
        yield guard
    finally:
        end(guard)
        guard.wait()


def end(guard: "subprocess.Popen[bytes]") -> None:
    """Tell a guard to end its command; what that still says can be read."""
    assert guard.stdin
    guard.stdin.close()


def main(ending: signal.Signals, command: Sequence[str]) -> int:
    """Run `command` until it ends, stdin closes or a signal arrives; return its exit code."""
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # the number arrives in `wake`
    leader = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    while leader.poll() is None:
        ready, _, _ = select.select([sys.stdin, wake], [], [])
        if sys.stdin in ready or set(os.read(wake, 64)) != {signal.SIGCHLD}:
            _signal_group(leader, ending)
            with suppress(subprocess.TimeoutExpired):
                leader.wait(GRACE)
            break
    _signal_group(leader, signal.SIGKILL)
    code = leader.wait()
    return code if code >= 0 else 128 - code


def _signal_group(leader: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader.pid, number)


if __name__ == "__main__":
    sys.exit(main(signal.Signals(int(sys.argv[1])), sys.argv[2:]))
