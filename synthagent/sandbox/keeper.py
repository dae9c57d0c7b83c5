"""Runs inside a sandbox, given as text: keeps an interpreter ready, and forks a process from it for each episode.

    python -c KEEPER SETTINGS      requests on stdin -> answers on stdout, a line of JSON each

    {"do": "run", "code": ..}  -> {"output": .., "fault": null | timeout | cpu | memory | output | killed, "detail": ..}
    {"do": "end"}              -> {"clean": true}: the episode's process is gone, and what it wrote

Standard library only. Two processes: this one, which reads requests, keeps time and counts output, and never runs
code that was given; and the episode's, which runs nothing else. What that one prints goes into a pipe that this one
reads, and its last word of a call is one byte in another. It has none of this one's pipes, may send no signal
(`filter.py`), and cannot look into this one's memory, which is not dumpable. So what code can forge is what it could
have printed anyway. Between calls the episode's process is stopped, threads and all.
"""

from __future__ import annotations

import ast
import ctypes
import gc
import json
import linecache
import os
import random
import resource
import select
import shutil
import signal
import struct
import sys
import time
import traceback
import types
from contextlib import suppress
from typing import Any, NoReturn

_DONE, _NO_MEMORY = b"d", b"m"
_LOOK_MS = 100  # so often a call that takes long is looked at
_SET_DUMPABLE, _SET_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 4, 38, 22, 2  # of prctl


class EpisodeProcess:
    """The process of an episode, as the keeper holds it."""

    def __init__(self, settings: dict[str, Any], cpu_s: int | None) -> None:
        self.cpu_s = cpu_s
        code_out, self.code = os.pipe()
        self.word, word_in = os.pipe()
        self.printed, printed_in = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _be_episode(settings, cpu_s, code_out, word_in, printed_in)
        for end in (code_out, word_in, printed_in):
            os.close(end)
        for end in (self.code, self.word, self.printed):
            os.set_blocking(end, False)

    def end(self) -> tuple[str, float]:
        """Kill it; how it ended, and the CPU time it took."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        _, status, usage = os.wait4(self.pid, 0)
        for pipe in (self.code, self.word, self.printed):
            os.close(pipe)
        how = f"exit code {os.WEXITSTATUS(status)}"
        if os.WIFSIGNALED(status):
            how = f"signal {os.WTERMSIG(status)}"
            with suppress(ValueError):
                how = signal.Signals(os.WTERMSIG(status)).name
        return how, usage.ru_utime + usage.ru_stime


class Keeper:
    """Answers requests, one after another, until stdin ends."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.episode: EpisodeProcess | None = None
        self.cpu_used = 0.0
        self.waiting = b""

    def serve(self) -> None:
        _say({"ready": True})
        while True:
            left = self._cpu_left()
            if self.episode is None and (left is None or left > 0):
                self.episode = EpisodeProcess(self.settings, left)  # ahead of the next call
            line = self._line()
            if line is None:
                break
            request = json.loads(line)
            _say(self._run(request["code"]) if request["do"] == "run" else self._end())
        if self.episode is not None:
            self.episode.end()

    def _line(self) -> bytes | None:
        while b"\n" not in self.waiting:
            chunk = os.read(0, 1 << 16)
            if not chunk:
                return None
            self.waiting += chunk
        line, _, self.waiting = self.waiting.partition(b"\n")
        return line

    def _end(self) -> dict[str, Any]:
        if self.episode is not None:
            self.episode.end()
        self.episode, self.cpu_used = None, 0.0
        return {"clean": _emptied(".")}

    def _run(self, code: str) -> dict[str, Any]:
        if self.episode is None:
            return {"output": "", "fault": "cpu", "detail": ""}
        printed = _Printed(self.settings["output_chars"], self.settings["most_bytes"])
        os.kill(self.episode.pid, signal.SIGCONT)
        text = json.dumps(code).encode()
        fault = self._follow(self.episode, struct.pack("<I", len(text)) + text, printed)
        over = fault not in ("", "memory")
        os.kill(self.episode.pid, signal.SIGKILL if over else signal.SIGSTOP)
        printed.drain(self.episode.printed)
        detail = ""
        if over:
            limit = self.episode.cpu_s
            detail, used = self.episode.end()
            self.episode, self.cpu_used = None, self.cpu_used + used
            if fault == "killed" and limit is not None and used > limit - 0.5:
                fault = "cpu"
        return {"output": printed.text(), "fault": fault or None, "detail": detail if fault == "killed" else ""}

    def _cpu_left(self) -> int | None:
        cpu_s = self.settings["cpu_s"]
        return None if cpu_s is None else int(cpu_s - self.cpu_used + 0.5)

    def _follow(self, episode: EpisodeProcess, sent: bytes, printed: _Printed) -> str:
        """Hand a call's code over and wait for its end: its fault, or nothing."""
        wall_s = self.settings["wall_s"]
        deadline = None if wall_s is None else time.monotonic() + wall_s
        poll = select.poll()
        for pipe, event in ((0, select.POLLIN), (episode.word, select.POLLIN), (episode.printed, select.POLLIN)):
            poll.register(pipe, event)
        poll.register(episode.code, select.POLLOUT)
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return "timeout"
            if self._too_many_files():
                return "killed"
            for pipe, _ in poll.poll(_LOOK_MS if left is None else min(left * 1000 + 1, _LOOK_MS)):
                if pipe == episode.word:
                    return {_DONE: "", _NO_MEMORY: "memory"}.get(os.read(pipe, 1), "killed")
                if pipe == 0:
                    self._heed_end(episode)
                elif pipe == episode.code:
                    sent = _written(pipe, sent)
                if (pipe == episode.printed and not printed.read(pipe)) or (pipe == episode.code and not sent):
                    poll.unregister(pipe)
            if printed.too_much:
                return "output"

    def _too_many_files(self) -> bool:
        """Files without content take memory that no limit counts."""
        if self.settings["most_files"] is None:
            return False
        room = os.statvfs(".")
        return bool(room.f_files - room.f_ffree > self.settings["most_files"])

    def _heed_end(self, episode: EpisodeProcess) -> None:
        """Whoever started the sandbox is gone where its requests end; then so is all in here."""
        chunk = os.read(0, 1 << 16)
        if not chunk:
            episode.end()
            os._exit(0)
        self.waiting += chunk


class _Printed:
    """What a call has printed: its first and last characters, and how much it was."""

    def __init__(self, chars: int, most_bytes: int) -> None:
        self._chars, self._most, self._bytes = chars, most_bytes, bytearray()

    @property
    def too_much(self) -> bool:
        return len(self._bytes) > self._most

    def read(self, pipe: int) -> bool:
        """Read what is there; whether the pipe is open."""
        chunk = os.read(pipe, 1 << 16)
        self._bytes += chunk
        return bool(chunk)

    def drain(self, pipe: int) -> None:
        with suppress(BlockingIOError):
            while not self.too_much and self.read(pipe):
                pass

    def text(self) -> str:
        text = self._bytes.decode("utf-8", "replace")
        left_out = len(text) - self._chars
        if left_out <= 0:
            return text
        tail = self._chars // 4  # where an exception stands
        return f"{text[: self._chars - tail]}\n[{left_out:,} characters left out]\n{text[len(text) - tail :]}"


def _emptied(folder: str) -> bool:
    """Remove what is in a folder; whether nothing is left."""
    with os.scandir(folder) as entries:
        for entry in list(entries):
            with suppress(OSError, RecursionError):
                if entry.is_dir(follow_symlinks=False):
                    os.chmod(entry.path, 0o700)
                    shutil.rmtree(entry.path)
                else:
                    os.unlink(entry.path)
    return not os.listdir(folder)


def _be_episode(settings: dict[str, Any], cpu_s: int | None, code: int, word: int, printed: int) -> NoReturn:
    """Run what comes in as code, for ever."""
    try:
        empty = os.open(os.devnull, os.O_RDONLY)
        for ours, place in ((empty, 0), (printed, 1), (printed, 2), (code, 3), (word, 4)):
            os.dup2(ours, 64 + place)
        for place in range(5):
            os.dup2(64 + place, place, inheritable=False)
        os.closerange(5, 256)
        _limit(settings, cpu_s)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", errors="replace", buffering=1, closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", errors="replace", buffering=1, closefd=False)  # noqa: SIM115
        sys.argv = [""]
        random.seed(0)  # so that the same code prints the same
        if "numpy.random" in sys.modules:
            sys.modules["numpy.random"].seed(0)
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        if settings["filter"]:
            _install(bytes.fromhex(settings["filter"]))
        number = 0
        while True:
            (length,) = struct.unpack("<I", _exactly(4))
            number += 1
            os.write(4, _run(json.loads(_exactly(length)), main.__dict__, f"<call {number}>"))
    except BaseException as error:
        os.write(2, repr(error).encode())
    finally:
        os._exit(70)


def _run(text: str, names: dict[str, Any], title: str) -> bytes:
    """Run a call's code as a notebook would: its last expression is shown, an exception printed."""
    word = _DONE
    try:
        lines = text.splitlines(keepends=True)
        linecache.cache[title] = (len(text), None, lines, title)
        tree = ast.parse(text, title)
        last = [ast.Interactive([tree.body.pop()])] if tree.body and isinstance(tree.body[-1], ast.Expr) else []
        exec(compile(tree, title, "exec"), names)
        for shown in last:
            exec(compile(shown, title, "single"), names)
    except SystemExit:
        pass
    except BaseException as error:
        if isinstance(error, MemoryError):
            word = _NO_MEMORY
        _tell(error, title)
    for stream in (sys.stdout, sys.stderr):
        with suppress(BaseException):
            stream.flush()
    return word


def _tell(error: BaseException, title: str) -> None:
    """Print an exception without the frames of this module."""
    try:
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename != title:
            frames = frames.tb_next
        traceback.print_exception(type(error), error.with_traceback(frames), frames, file=sys.stdout)
    except BaseException:  # an exception that cannot be printed
        os.write(1, f"{type(error).__name__}\n".encode(errors="replace"))


def _exactly(length: int) -> bytes:
    data = b""
    while len(data) < length:
        chunk = os.read(3, length - len(data))
        if not chunk:
            os._exit(0)
        data += chunk
    return data


def _limit(settings: dict[str, Any], cpu_s: int | None) -> None:
    for name, value in {**settings["limits"], "RLIMIT_CPU": cpu_s, "RLIMIT_CORE": 0}.items():
        if value is not None:
            resource.setrlimit(getattr(resource, name), (value, value))


def _install(program: bytes) -> None:
    """Hand a filter of system calls to the kernel, which keeps it for good."""

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("records", ctypes.c_char_p))

    _prctl(_SET_NO_NEW_PRIVS, 1)
    _prctl(_SET_SECCOMP, _FILTER, ctypes.byref(Program(len(program) // 8, program)))


def _prctl(option: int, value: int, pointer: Any = None) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), pointer or ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)):
        raise OSError(ctypes.get_errno(), f"prctl({option}) is refused")


def _written(pipe: int, data: bytes) -> bytes:
    """Write what there is room for, and return the rest; nothing if nobody reads it any more."""
    with suppress(BrokenPipeError):
        return data[os.write(pipe, data) :]
    return b""


def _say(answer: dict[str, Any]) -> None:
    text = json.dumps(answer).encode() + b"\n"
    while text:
        text = text[os.write(1, text) :]


def main() -> None:
    settings = json.loads(sys.argv[1])
    if sys.platform == "linux":
        _prctl(_SET_DUMPABLE, 0)
    sys.path[:0] = settings["packages"]
    for name in settings["preloaded"]:
        __import__(name)
    gc.collect()
    gc.freeze()  # what is shared with the episodes' processes stays shared
    Keeper(settings).serve()


if __name__ == "__main__":
    main()
