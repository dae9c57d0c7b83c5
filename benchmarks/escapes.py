"""What code in the Python tool might try, and what comes of it -> a table; exit 1 if anything succeeds.

    .venv/bin/python -m benchmarks.escapes
    .venv/bin/python -m benchmarks.escapes --isolation rlimits    (what the weaker one lets through)

The programs are in `escape_attacks.txt`, the limits those of params.yaml with two seconds for a call. Each runs in an
episode of its own, and the next episode in the same sandbox looks for what is left. An attack has succeeded if either
says so, but that is not taken on trust: it has as well if what was printed is longer than it may be or holds a secret
of ours, if a server of ours was reached, if our files have changed, if a process is left, or if the tool no longer
answers.
"""

from __future__ import annotations

import argparse
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from synthagent.errors import IsolationError
from synthagent.params_file import load_params
from synthagent.params_reasoning import PythonParams
from synthagent.sandbox import Ran, SandboxPool, sandboxes
from synthagent.text import visible

ROOT = Path(__file__).resolve().parents[1]
ATTACKS = Path(__file__).with_name("escape_attacks.txt")
LEFT_BEHIND = "987654"  # in the command of a process that is meant to stay
_ONLY = " (in bubblewrap only)"
_SYSCALL = """
import ctypes, os, platform
libc = ctypes.CDLL(None, use_errno=True)
def syscall(x86, arm, *args):
    result = libc.syscall(x86 if platform.machine() == "x86_64" else arm, *args)
    print(ESCAPED if result >= 0 else os.strerror(ctypes.get_errno()))
"""


@dataclass(frozen=True, slots=True)
class Attack:
    """A program and, if anything could be left of it, what looks for that in the next episode.

    `harmful`: to this machine, if it succeeds.
    """

    kind: str
    name: str
    code: str
    then: str
    harmful: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attack, and why it counts as a success, if it does."""

    attack: Attack
    text: str
    success: str


@dataclass(frozen=True, slots=True)
class Outside:
    """What there is to be reached: servers, a file, a variable of the environment. `word`: said by what succeeds."""

    folder: Path
    server: socket.socket
    unix: socket.socket
    secret: str
    word: str

    @property
    def file(self) -> Path:
        return self.folder / "secret"

    def fill_in(self, code: str) -> str:
        """The program with what is here in the place of its marks."""
        code = f"ESCAPED = {self.word!r}\n{_SYSCALL if 'syscall(' in code else ''}{code}"
        marks = {
            "@ROOT@": str(ROOT),
            "@SECRET@": str(self.file),
            "@PORT@": str(self.server.getsockname()[1]),
            "@SOCKET@": self.unix.getsockname(),
        }
        for mark, value in marks.items():
            code = code.replace(mark, value)
        return code

    def harm(self) -> str:
        """What has been done to it since the last time; nothing if nothing."""
        for server in (self.server, self.unix):
            try:
                server.accept()[0].close()
            except BlockingIOError:
                continue
            return "a server of ours was reached"
        if self.file.read_text() != self.secret:
            self.file.write_text(self.secret)
            return "a file of ours has changed"
        return "a process is left" if _running(LEFT_BEHIND) else ""


@lru_cache(maxsize=1)
def attacks() -> tuple[Attack, ...]:
    """The programs of the file."""
    _, *parts = ATTACKS.read_text(encoding="utf-8").split("\n=== ")
    found = []
    for part in parts:
        title, _, rest = part.partition("\n")
        kind, _, name = title.partition(": ")
        code, _, then = rest.partition("--- next\n")
        found.append(Attack(kind, name.removesuffix(_ONLY), code, then, name.endswith(_ONLY)))
    return tuple(found)


@contextmanager
def outside() -> Iterator[Outside]:
    """Set up what there is to be reached."""
    secret = f"SECRET-{secrets.token_hex(8)}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="outside-")))
        (folder / "secret").write_text(secret)
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(str(folder / "socket"))
        unix.listen()
        for one in (server, unix):
            one.setblocking(False)
        os.environ["ESCAPES_API_KEY"] = secret
        stack.callback(os.environ.pop, "ESCAPES_API_KEY", None)
        yield Outside(folder, server, unix, secret, f"ESCAPED-{secrets.token_hex(8)}")


def attempt(attack: Attack, pool: SandboxPool, limits: PythonParams, there: Outside) -> Outcome:
    """Let one program try."""
    with pool.session() as session:
        ran = session.run(there.fill_in(attack.code))
    with pool.session() as session:
        found = session.run(there.fill_in(attack.then)) if attack.then else Ran("")
        alive = session.run("6 * 7") == Ran("42\n")
    printed = ran.output + found.output
    success = there.harm()
    if there.word in printed:
        success = "it says so"
    elif there.secret in printed:
        success = "a secret of ours was printed"
    elif max(len(ran.output), len(found.output)) > limits.output_chars + 100:
        success = "more was printed than may be"
    elif not alive:
        success = "the tool no longer answers"
    return Outcome(attack, _told(ran), success)


def _told(ran: Ran) -> str:
    lines = ran.output.strip().splitlines()
    last = lines[-1][:80] if lines else ""
    if ran.error is None:
        return last or "nothing printed"
    return f"{ran.error}{f' ({ran.detail})' if ran.detail else ''}"


def _running(text: str) -> bool:
    """Whether there is a process that was forked for one, by the time that it sleeps or by its command."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and folder.name != str(os.getpid()):
            try:
                if text in (folder / "cmdline").read_text(errors="replace"):
                    return True
            except OSError:
                continue
    return False


def table(outcomes: Sequence[Outcome]) -> Table:
    """The table attack x outcome. What programs printed is shown with its control characters visible."""
    shown = Table("kind", "attack", "outcome", "")
    for outcome in outcomes:
        verdict = f"SUCCEEDED: {outcome.success}" if outcome.success else "held"
        shown.add_row(outcome.attack.kind, outcome.attack.name, Text(visible(outcome.text)), verdict)
    return shown


def main(argv: Sequence[str] | None = None) -> int:
    """Attack, and print the table; 0 if all is held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--isolation", choices=("bubblewrap", "rlimits"), default="bubblewrap")
    parser.add_argument("--kinds", nargs="+", help="only attacks of these kinds")
    given = parser.parse_args(argv)
    limits = load_params(ROOT / "params.yaml").reasoning.python
    limits = limits.model_copy(update={"isolation": given.isolation, "wall_s": 2.0})
    chosen = [attack for attack in attacks() if not given.kinds or attack.kind in given.kinds]
    if given.isolation != "bubblewrap":
        chosen = [attack for attack in chosen if not attack.harmful]
    try:
        with outside() as there, sandboxes(limits) as pool:
            outcomes = [attempt(attack, pool, limits, there) for attack in tqdm(chosen, disable=None)]
    except IsolationError as error:
        print(error, file=sys.stderr)
        return 1
    Console(width=150).print(table(outcomes))
    through = sum(bool(outcome.success) for outcome in outcomes)
    print(f"{limits.isolation}: {len(outcomes)} attacks, {len(outcomes) - through} held, {through} succeeded")
    return 1 if through else 0


if __name__ == "__main__":
    sys.exit(main())
