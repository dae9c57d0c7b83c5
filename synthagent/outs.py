"""Outs that outlive a failed run: those that were there are kept by hard link, those that DVC removed are in its cache.

outs of a stage -> a folder that has all of them (`keep`, `copy_from_dvc`) -> the outs again (`put_back`). All or none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from synthagent.errors import StoreError


@dataclass(frozen=True, slots=True)
class CachedFile:
    """A file of an out in DVC's cache. `path`: within the out, which may be a file itself."""

    source: Path
    path: str


def keep(outs: Sequence[Path], folder: Path) -> bool:
    """Link the outs into `folder` if all of them are there; return whether they are.

    Raises:
        StoreError: the disk refuses.
    """
    shutil.rmtree(folder, ignore_errors=True)
    if not all(out.exists() for out in outs):
        return False
    try:
        for out in outs:
            _link(out, folder / out)
    except OSError as error:
        reason = f"cannot be written: {error.strerror}"
        raise StoreError(f"{folder}: {reason}; free some space, or make the folder writable") from None
    return True


def copy_from_dvc(stage: str, outs: Sequence[Path], folder: Path) -> bool:
    """Copy the outs that `dvc.lock` names for a stage from DVC's cache into `folder`; return whether all were there.

    Metrics may be in git instead: a clone has them from there, and `dvc pull` does not bring them.
    """
    named = _named_in_lock(stage)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        cache = _cache_folder()
        for out in outs:
            for file in _files_of(named[out], cache):
                target = folder / out / file.path
                target.parent.mkdir(parents=True, exist_ok=True)
                if file.source.exists() or not _copy_from_git(out, named[out], target):
                    shutil.copyfile(file.source, target)
    except (OSError, KeyError):
        return False
    return True


def put_back(outs: Sequence[Path], folder: Path) -> None:
    """Put what is in `folder` in the outs' place."""
    for out in outs:
        with contextlib.suppress(OSError):  # a folder that cannot be written still has what it had
            remove(out)
            _link(folder / out, out)


def remove(path: Path) -> None:
    """Remove a file or a folder, if there is one."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _named_in_lock(stage: str) -> Mapping[Path, str]:
    """The md5 of a stage's outs, as DVC has locked them."""
    try:
        lock: Any = yaml.safe_load(Path("dvc.lock").read_text(encoding="utf-8"))
        return {Path(out["path"]): out["md5"] for out in lock["stages"][stage]["outs"]}
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return {}


def _cache_folder() -> Path:
    """Where DVC keeps outs by their md5."""
    from dvc.config import Config

    return Path(Config(".dvc").get("cache", {}).get("dir") or ".dvc/cache") / "files" / "md5"


def cached(md5: str) -> Path:
    """Where DVC's cache keeps a file, or the list of a folder's files."""
    return _cache_folder() / md5[:2] / md5[2:]


def _files_of(md5: str, cache: Path) -> Iterator[CachedFile]:
    """The files of an out; DVC keeps a folder as a list of them."""
    stored = cache / md5[:2] / md5[2:]
    if not md5.endswith(".dir"):
        yield CachedFile(stored, "")
        return
    for file in json.loads(stored.read_text(encoding="utf-8")):
        yield CachedFile(cache / file["md5"][:2] / file["md5"][2:], file["relpath"])


def _copy_from_git(out: Path, md5: str, target: Path) -> bool:
    """Copy an out as it was committed, if it is the one wanted; return whether it is."""
    found = subprocess.run(["git", "show", f"HEAD:./{out.as_posix()}"], capture_output=True, check=False).stdout
    wanted = hashlib.md5(found, usedforsecurity=False).hexdigest() == md5
    if wanted:
        target.write_bytes(found)
    return wanted


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_link_or_copy)
    else:
        _link_or_copy(source, target)


def _link_or_copy(source: Path | str, target: Path | str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
