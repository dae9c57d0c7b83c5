"""A run with other params, as a DVC experiment of its own: the worktree and its params.yaml stay as they are.

The run works in a second worktree of the same git repository, `.cache/runs/NAME`, which begins with the files as they
are now, what is not committed included, and is removed at the end. DVC's cache, the response store, checkpoints of
trainings, models and locks are shared with it. `save` makes it an experiment: `dvc exp show` lists it beside others.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthagent.errors import InputError, SynthAgentError
from synthagent.ops.params_text import check_text, check_types, override, read_document
from synthagent.ops.profile import lay_profile
from synthagent.params_file import load_params
from synthagent.stage import CACHE, Paths

RUNS = CACHE / "runs"
_SHARED = ("llm", "locks", "models", "suites", "training")  # folders of `.cache`
_PARAMS = Path("params.yaml")
_DVC = (sys.executable, "-m", "dvc")
_GIT = ("git", "-c", "core.hooksPath=/dev/null")  # without the hooks of `dvc install`


@dataclass(frozen=True, slots=True)
class Experiment:
    """A worktree for one run. `commit`: that it starts from; `uncommitted`: files of it that git does not have so.

    `untracked`: files that git does not know at all, which the run reads and `save` does not keep.
    """

    name: str
    folder: Path
    commit: str
    uncommitted: tuple[str, ...]
    untracked: tuple[str, ...]


def params_with(overrides: Mapping[str, Any], profile: str | None, path: Path = _PARAMS) -> str:
    """The text of a params file with a profile and then `overrides` laid over it; the file itself is left alone.

    Raises:
        ParamsError: the file, a key or a value is not valid; place, rule and remedy.
    """
    document = read_document(path)
    if profile is None:
        load_params(path)  # so that its own faults are not told as those of `overrides`
    else:
        lay_profile(document, profile)
        check_text(document.text(), path, f"{path} with profile {profile}")
    override(document, overrides, "overrides")
    text = document.text()
    check_text(text, path, "overrides", document)
    check_types(text, overrides, "overrides")
    return text


@contextmanager
def experiment(name: str, params: str, root: Path = Path()) -> Iterator[Experiment]:
    """A worktree for the run `name` with `params` in it, removed at the end. One at a time: what others left goes, too.

    Raises:
        InputError: `root` is no git repository with a commit.
        SynthAgentError: git or DVC cannot make it.
    """
    root = root.absolute()
    if not _succeeds(root, "git", "rev-parse", "--quiet", "--verify", "HEAD"):
        raise InputError(
            "overrides: such a run is a DVC experiment, which starts from a commit, and there is none here; "
            "run `git init`, `git add --all` and `git commit`, or change params.yaml itself"
        )
    remove_left(root)
    folder = root / RUNS / name
    try:
        _run(root, *_GIT, "worktree", "add", "--quiet", "--detach", str(folder), "HEAD")
        changed, untracked = _take_along(root, folder)
        (folder / _PARAMS).write_text(params, encoding="utf-8")
        _share(root, folder)
        _run(folder, *_DVC, "checkout", "--quiet", "--force", "--allow-missing")
        commit = _run(root, "git", "rev-parse", "--short", "HEAD").strip()
        yield Experiment(name, folder, commit, changed, untracked)
    finally:
        remove_left(root)


def save(made: Experiment, stages: Sequence[str], message: str) -> None:
    """Keep what these stages made as the DVC experiment of its name, on the commit that it started from.

    Raises:
        SynthAgentError: DVC cannot.
    """
    metrics = str(Paths.metrics(stages[0]).parent)  # of a stage that is new, git does not know them yet
    command = ("exp", "save", "--name", made.name, "--message", message, "--include-untracked", metrics)
    _run(made.folder, *_DVC, *command, *stages)


def remove_left(root: Path) -> None:
    """Remove the worktrees of runs: of this one, and of any that were killed."""
    shutil.rmtree(root / RUNS, ignore_errors=True)
    _succeeds(root, "git", "worktree", "prune")


def environment(folder: Path) -> dict[str, str]:
    """The environment of what runs in a folder: its own code, by the programs beside this Python."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    code = os.pathsep.join((str(folder.absolute()), *filter(None, [os.environ.get("PYTHONPATH")])))
    return {**os.environ, "PATH": path, "PYTHONPATH": code, "DO_NOT_TRACK": "1", "DVC_NO_ANALYTICS": "1"}


def link(root: Path, folder: Path, places: Iterable[Path]) -> None:
    """Let `folder`, another tree of the project, use these places of `root`, those that are there."""
    for made in places:
        place = folder / made.relative_to(root)
        if made.exists() and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(made.resolve())


def _take_along(root: Path, folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Make the files of `folder` those of `root`; which of them git has otherwise, and which it does not know."""
    changed = _names(root, "diff", "--name-only", "--relative", "-z", "HEAD")
    untracked = _names(root, "ls-files", "-z", "--others", "--exclude-standard")
    for name in (*changed, *untracked):
        if (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
    return changed, untracked


def _share(root: Path, folder: Path) -> None:
    """Let the worktree use what git and DVC do not bring: caches, models, virtual environments, DVC's own settings."""
    (root / CACHE / "locks").mkdir(parents=True, exist_ok=True)
    problems = root / "data" / "problems"
    link(root, folder, (*(root / CACHE / name for name in _SHARED), *root.glob(".venv*"), problems))
    if (local := root / ".dvc" / "config.local").is_file():
        shutil.copy2(local, folder / ".dvc" / "config.local")
    _run(folder, *_DVC, "cache", "dir", "--local", _run(root, *_DVC, "cache", "dir").strip())


def _names(root: Path, *command: str) -> tuple[str, ...]:
    return tuple(filter(None, _run(root, "git", *command).split("\0")))


def _run(folder: Path, *command: str) -> str:
    """What a command that goes well prints."""
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False)
    if done.returncode:
        what = " ".join(command).replace(f"{sys.executable} -m ", "")
        raise SynthAgentError(f"`{what}` failed in {folder}: {' '.join(done.stderr.split())[-300:]}")
    return done.stdout


def _succeeds(folder: Path, *command: str) -> bool:
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0
