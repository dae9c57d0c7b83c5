"""What git and `dvc.lock` know of this run and of earlier ones: revisions, their files, stages, hashes. Reads only."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from synthagent.errors import InputError, StoreError

LOCK = Path("dvc.lock")
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Revision:
    """A commit."""

    commit: str
    date: str
    subject: str

    def __str__(self) -> str:
        return f"{self.commit[:10]} of {self.date}: {self.subject}"


@dataclass(frozen=True, slots=True)
class Locked:
    """A file or a folder as `dvc.lock` names it; of a folder, `md5` ends with `.dir`."""

    path: str
    md5: str
    size: int
    files: int


@dataclass(frozen=True, slots=True)
class LockedStage:
    """A stage that has run: what decided it, and what it wrote. `params`: `section.key` or `section` -> value."""

    name: str
    params: Mapping[str, Any]
    deps: tuple[Locked, ...]
    outs: tuple[Locked, ...]


Lock = Mapping[str, LockedStage]  # in the order of the pipeline


def git(*args: str) -> str | None:
    """What git prints; None where it refuses, or is not here."""
    found = git_bytes(*args)
    return None if found is None else found.decode("utf-8", "replace")


def git_bytes(*args: str, stdin: bytes = b"") -> bytes | None:
    """As `git`, in bytes."""
    try:
        done = subprocess.run(["git", *args], input=stdin, capture_output=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def revision(name: str = "HEAD") -> Revision | None:
    """The commit that a name stands for; None where there is none."""
    found = git("show", "-s", "--date=short", "--format=%H%n%cd%n%s", "--end-of-options", f"{name}^{{commit}}", "--")
    return Revision(*found.rstrip("\n").split("\n", 2)) if found and found.count("\n") >= 2 else None


def uncommitted() -> int | None:
    """How many files that git knows are not as they were committed; None outside of git."""
    status = git("--no-optional-locks", "status", "--porcelain", "--untracked-files=no")
    return None if status is None else len(status.splitlines())


def text_at(rev: str, path: Path) -> str | None:
    """A file of this folder as it was committed; None where there is none."""
    return git("show", "--end-of-options", f"{rev}:./{path.as_posix()}")


def lock_here() -> Lock:
    """`dvc.lock` as it is here.

    Raises:
        StoreError: it is missing, or not what DVC writes.
    """
    try:
        return lock_of(LOCK.read_text(encoding="utf-8"), str(LOCK))
    except FileNotFoundError:
        raise StoreError(f"{LOCK}: no such file; run from the project's root, after `dvc repro`") from None
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{LOCK}: not readable ({error}); `git checkout dvc.lock` restores it") from None


def lock_at(rev: str) -> Lock:
    """`dvc.lock` of a revision.

    Raises:
        InputError: no such revision, or it has no `dvc.lock`.
        StoreError: it is not what DVC writes.
    """
    if revision(rev) is None:
        raise InputError(f"revision {rev!r}: git has no such commit here; `git log -- dvc.lock` lists those with a run")
    text = text_at(rev, LOCK)
    if text is None:
        raise InputError(f"revision {rev!r}: has no dvc.lock; `git log -- dvc.lock` lists those with a run")
    return lock_of(text, f"{LOCK} of {rev}")


def lock_of(text: str, place: str) -> Lock:
    """The stages in the text of a `dvc.lock`; raises StoreError where it is not what DVC writes."""
    try:
        stages = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["stages"]
        return {name: _stage(name, content) for name, content in stages.items()}
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        said = " ".join(str(error).split())[:200]
        raise StoreError(f"{place}: not what DVC writes ({said}); `git checkout dvc.lock` restores it") from None


def _stage(name: str, content: Mapping[str, Any]) -> LockedStage:
    params = {key: value for file in content.get("params", {}).values() for key, value in file.items()}
    deps, outs = (tuple(map(_locked, content.get(kind, ()))) for kind in ("deps", "outs"))
    return LockedStage(name, params, deps, outs)


def _locked(content: Mapping[str, Any]) -> Locked:
    return Locked(content["path"].rstrip("/"), content["md5"], content.get("size", 0), content.get("nfiles", 1))


def upstream(lock: Lock, stage: str) -> list[LockedStage]:
    """A stage and all stages whose outs it rests on, in the order of the pipeline."""
    writers = {out.path: name for name, its in lock.items() for out in its.outs}
    wanted, open_ = set[str](), [stage]
    while open_:
        name = open_.pop()
        if name not in wanted:
            wanted.add(name)
            open_ += [writers[dep.path] for dep in lock[name].deps if dep.path in writers]
    return [its for name, its in lock.items() if name in wanted]


def folder_as_locked(folder: Path) -> Locked:
    """A folder with the hash that DVC gives it: of the list of its files, each with the md5 of its content.

    Raises:
        InputError: it cannot be read.
    """
    try:
        files = [path for path in folder.rglob("*") if path.is_file()]
        found = {path.relative_to(folder).as_posix(): _md5_of(path) for path in files}
        return Locked(str(folder), tree_md5(found), sum(path.stat().st_size for path in files), len(files))
    except OSError as error:
        raise InputError(f"{folder}: cannot be read: {error.strerror}; make it readable") from None


def tree_md5(files: Mapping[str, str]) -> str:
    """The hash of a folder, of the md5 of its files by their paths in it."""
    listed = [{"md5": files[path], "relpath": path} for path in sorted(files)]
    return f"{hashlib.md5(json.dumps(listed, sort_keys=True).encode(), usedforsecurity=False).hexdigest()}.dir"


def _md5_of(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.md5(usedforsecurity=False)
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def revisions_that_locked(md5: str) -> Iterator[str]:
    """The commits, newest first, that brought a hash into `dvc.lock`, or took it away; experiments are among them."""
    found = git("log", "--all", "--format=%H", f"-S{md5}", "--", LOCK.as_posix())
    yield from (found or "").split()


def not_as_committed(rev: str, deps: Iterable[Locked]) -> list[str]:
    """Of files of code, with the hashes that a stage ran with, those that a commit has otherwise."""
    committed = {dep.path: dep.md5 for dep in deps}
    listed = git("ls-tree", "-r", "-z", rev) or ""  # of a file: mode, type and name; a tab; its path
    parted = (line.partition("\t") for line in listed.split("\0") if line)
    blobs = {path: about.split()[2] for about, _, path in parted}
    wanted = {
        dep: {dep: blobs[dep]}
        if dep in blobs
        else {path.removeprefix(f"{dep}/"): blob for path, blob in blobs.items() if path.startswith(f"{dep}/")}
        for dep in committed
    }
    hashes = _md5_of_blobs({blob for files in wanted.values() for blob in files.values()})
    there = {
        dep: hashes[blobs[dep]] if dep in blobs else tree_md5({path: hashes[blob] for path, blob in files.items()})
        for dep, files in wanted.items()
    }
    return sorted(dep for dep, md5 in committed.items() if there[dep] != md5)


def _md5_of_blobs(blobs: set[str]) -> dict[str, str]:
    """The md5 of what git has under these names."""
    names = sorted(blobs)
    stream = git_bytes("cat-file", "--batch", stdin="".join(f"{name}\n" for name in names).encode()) or b""
    found, at = {}, 0
    for name in names:
        start = stream.index(b"\n", at) + 1  # after a line with the name, the type and the size
        end = start + int(stream[at:start].split()[2])
        found[name] = hashlib.md5(stream[start:end], usedforsecurity=False).hexdigest()
        at = end + 1
    return found
