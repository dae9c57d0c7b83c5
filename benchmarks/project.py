"""A copy of the project under `.cache`, in which experiments run: the workspace stays as it is.

It shares DVC's cache with the workspace, so that a stage that has run there with equal params, code and deps is not run
again. The copy has a git of its own, since `dvc exp run` resets the workspace that it is called in.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from synthagent.errors import LockedError, SynthAgentError
from synthagent.ops.experiment import environment, link
from synthagent.ops.guard import guarded
from synthagent.stage import CACHE

FOUND = "replication"  # where tables go
# Cells are about tasks alone: their tables stay comparable with those from before there were problems.
WITHOUT_PROBLEMS: Mapping[str, Any] = {
    "reasoning.count": 0,
    "sft.reasoning_share": 0.0,
    "grpo.reasoning_share": 0.0,
    "evaluate.reasoning": 0,
    "student.tiny.vocab_size": 1800,
}
_CODE = ("synthagent", "dvc.yaml")  # what decides a cell, besides its params and what evaluates it


@dataclass(frozen=True, slots=True)
class Project:
    """The copy. `params`: those of the scale; `code`: a digest of the code that decides the figures."""

    folder: Path
    params: Mapping[str, Any]
    code: str

    def experiment(
        self, name: str, target: str, changes: Mapping[str, Any], log: Path, tell: Callable[[str], None]
    ) -> list[str]:
        """Run stages up to `target` as the DVC experiment `name`; the stages that ran, each told to `tell` at once.

        Raises:
            SynthAgentError: it failed; the message has its last line, and where the rest is.
        """
        _git(self.folder, "reset", "--hard", "--quiet")
        if _git(self.folder, "for-each-ref", f"refs/exps/*/*/{name}"):
            _dvc(self.folder, "exp", "remove", name)
        sets = [part for key, value in changes.items() for part in ("-S", f"{key}={_hydra(value)}")]
        command = [sys.executable, "-m", "dvc", "exp", "run", target, "--name", name, *sets]
        last, ran = "", list[str]()
        log.parent.mkdir(parents=True, exist_ok=True)
        with chdir(self.folder), guarded(command, _env(self.folder), subprocess.PIPE) as running, log.open("w") as file:
            assert running.stdout
            for line in running.stdout:
                text = line.decode(errors="replace").rstrip()
                file.write(f"{text}\n")
                file.flush()
                last = text or last
                if text.startswith("Running stage "):
                    ran.append(text.split("'")[1])
                    tell(ran[-1])
            code = running.wait()
        if code:
            raise SynthAgentError(f"{name}: `dvc exp run` failed: {last}; all it said is in {log}")
        return ran


def copy_of(
    root: Path, folder: Path, changes: Mapping[str, Any], measured_by: str, profiles: Sequence[str] = ("embedded",)
) -> Project:
    """The copy of the project in `root`, as its files are now, with the params of profiles, one over the other.

    `changes` lie over these. `measured_by`: the file that evaluates a cell, and so decides its figures as well. What
    git ignores and a cell may need, models and environments of benchmarks, is linked.

    Raises:
        SynthAgentError: `root` is not the root of the project, under git.
    """
    if not (root / "dvc.yaml").is_file() or not (root / "synthagent").is_dir():
        raise SynthAgentError(f"{root} is not the project's root; run it where dvc.yaml is")
    names = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    # What was found is no part of it: experiments are listed by the commit that they start from.
    files = [name for name in names if (root / name).is_file() and not name.startswith(f"{FOUND}/")]
    folder.mkdir(parents=True, exist_ok=True)
    _git(folder, "init", "--quiet")
    for key, value in (("user.name", "synthagent"), ("user.email", "synthagent@localhost")):
        _git(folder, "config", key, value)
    if _git(folder, "for-each-ref", "refs/heads"):
        _git(folder, "reset", "--hard", "--quiet")
    for name in _git(folder, "ls-files", "-z").split("\0"):
        if name and name not in files:
            (folder / name).unlink(missing_ok=True)
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, folder / name)
    link(root, folder, (root / CACHE / "models", *root.glob(".venv-*")))
    params = params_of(profiles, changes)
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    _dvc(folder, "cache", "dir", "--local", _dvc(root, "cache", "dir"))
    _git(folder, "add", "--all")
    if _git(folder, "status", "--porcelain"):
        _git(folder, "commit", "--quiet", "--message", "the project as it was")
    code = _git(folder, "rev-parse", *(f"HEAD:{place}" for place in (*_CODE, measured_by)))
    return Project(folder, params, " ".join(code.split()))


def params_of(profiles: Sequence[str], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The params of profiles, one over the other, whatever params.yaml says now, with some changed, by dotted keys."""
    params: dict[str, Any] = {}
    for profile in profiles:
        text = resources.files("synthagent.ops").joinpath("profiles", f"{profile}.yaml").read_text(encoding="utf-8")
        for section, content in yaml.safe_load(text).items():
            whole = isinstance(content, dict) and isinstance(params.get(section), dict)
            params[section] = {**params[section], **content} if whole else content
    return changed(params, changes)


def changed(params: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Params with some changed, by dotted keys."""
    found: dict[str, Any] = json.loads(json.dumps(params))
    for place, value in changes.items():
        *sections, key = place.split(".")
        content = found
        for section in sections:
            content = content[section]
        content[key] = value
    return found


def key_of(value: Any) -> str:
    """What a cell that is done is kept by: a digest of all that decides it, as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def run_alone(name: str, folder: Path, work: Callable[[], None]) -> int:
    """Do the work of an experiment unless another process is at it, and say in a line what ended it; the exit code.

    `folder`: where its cells are kept, and the lock lies.
    """
    lock = FileLock(folder / "lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with lock.acquire(timeout=0):
            work()
    except Timeout:
        held = LockedError(f"{name}: another process is at it ({lock.lock_file}); wait for it to end")
        print(held, file=sys.stderr)
        return 1
    except SynthAgentError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: stopped; cells and stages that are done are kept: run it again to go on", file=sys.stderr)
        return 130
    return 0


def stop_by_signals() -> None:
    """Let SIGINT and SIGTERM both stop this process as Ctrl-C does, wherever it was started from."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def _hydra(value: Any) -> str:
    """A value as `-S` takes it."""
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def _env(folder: Path) -> dict[str, str]:
    """The environment of the copy: its own code, by this interpreter's programs."""
    return {**environment(folder), "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}


def _git(folder: Path, *args: str) -> str:
    return _said(folder, "git", *args)


def _dvc(folder: Path, *args: str) -> str:
    return _said(folder, sys.executable, "-m", "dvc", *args).strip()


def _said(folder: Path, *command: str) -> str:
    """What a command that goes well prints."""
    done = subprocess.run(command, cwd=folder, env=_env(folder), capture_output=True, text=True, check=False)
    if done.returncode:
        what = " ".join(command).replace(sys.executable, "python")
        raise SynthAgentError(f"`{what}` failed in {folder}: {' '.join(done.stderr.split())[-300:]}")
    return done.stdout
