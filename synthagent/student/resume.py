"""Checkpoints of a training that is not over yet -> where it goes on, should it be killed. Imports nothing heavy.

They lie in `.cache/training/<stage>-<key>/checkpoint-<step>`; the key is a digest of all that decides the training: its
job (params, starting weights, rows or tasks in their order), the code and the versions of the libraries. A checkpoint
counts once it is sealed: a file with the size and the sum of all others, which is written last and at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from synthagent.frozen import Record
from synthagent.params import Params
from synthagent.stage import CACHE, say
from synthagent.store import write_text

TRAINING = CACHE / "training"
AT_ONCE = 3  # the last, the best, and the one that is being written
_SEAL = "whole.json"
_OTHERS = 2  # trainings with other params, by stage, whose checkpoints are left alone
_LIBRARIES = ("accelerate", "torch", "transformers", "trl")
_UNDECISIVE: Any = {
    "evaluate": True,
    "llm": True,
    "serve": True,
    "roles": {"policy"},
    "compute": {"checkpoint_minutes", "runner", "ray_address"},
}


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Where a training saves, how often (0 minutes: whenever it logs), and the checkpoint it goes on from."""

    folder: Path
    minutes: float
    start: Path | None


def checkpoints_of(stage: str, job: Any, minutes: float | None) -> Checkpoints | None:
    """The checkpoints of a job, a dataclass of what decides the training; says what is there. None: none are wanted."""
    if minutes is None:
        return None
    folder = TRAINING / f"{stage}-{key_of(job)}"
    _bound_others(stage, folder)
    start = newest(folder)
    if start:
        say(f"{stage}: goes on after step {step_of(start)} ({start})")
    return Checkpoints(folder, minutes, start)


def remove(checkpoints: Checkpoints | None) -> None:
    """Free the disk: the training is over, and what it made has been taken."""
    if checkpoints:
        shutil.rmtree(checkpoints.folder, ignore_errors=True)


def key_of(job: Any) -> str:
    """The digest of a job's fields that decide, of the code of the package, and of the libraries that train."""
    digest = hashlib.sha256()
    for field in fields(job):
        value = getattr(job, field.name)
        if field.name in ("out", "checkpoints", "live"):
            continue
        content = list(_content(value)) or str(value) if isinstance(value, Path) else value
        digest.update(json.dumps([field.name, content], default=_plain, sort_keys=True).encode())
    code = list(_content(Path(__file__).parents[1]))
    digest.update(json.dumps([code, [version(library) for library in _LIBRARIES]]).encode())
    return digest.hexdigest()[:12]


def step_of(checkpoint: Path) -> int:
    """The number of steps that a checkpoint comes after."""
    return int(checkpoint.name.rpartition("-")[2])


def last_sealed(folder: Path) -> Path | None:
    """The last checkpoint that was written to its end."""
    return max((path.parent for path in folder.glob(f"checkpoint-*/{_SEAL}")), key=step_of, default=None)


def newest(folder: Path) -> Path | None:
    """The newest whole checkpoint. What a kill left half-written is removed; one that is corrupt, too, and told."""
    for checkpoint in sorted(folder.glob("checkpoint-*"), key=step_of, reverse=True):
        fault = _fault(checkpoint)
        if fault is None:
            return checkpoint
        if (checkpoint / _SEAL).exists():
            older = len(list(folder.glob(f"checkpoint-*/{_SEAL}"))) > 1
            then = "training goes on from an older one" if older else "training begins anew"
            say(f"{checkpoint}: corrupt ({fault}); it is removed, and {then}")
        shutil.rmtree(checkpoint, ignore_errors=True)
    return None


def seal(checkpoint: Path, score: float) -> None:
    """Declare a checkpoint whole, and remove those beside it that are neither the last nor the best by score.

    Raises:
        OSError, StoreError: the disk refuses; those beside it are still there.
    """
    sums = {name: _sum(checkpoint / name, sync=True) for name in _names(checkpoint)}
    write_text(checkpoint / _SEAL, json.dumps({"score": score, "files": sums}))
    scores = {path.parent: json.loads(path.read_text())["score"] for path in checkpoint.parent.glob(f"*/{_SEAL}")}
    best = max(scores, key=lambda path: (scores[path], step_of(path)))
    for path in checkpoint.parent.glob("checkpoint-*"):
        if path not in (checkpoint, best):
            shutil.rmtree(path, ignore_errors=True)


def _fault(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint."""
    try:
        sums = json.loads((checkpoint / _SEAL).read_text())["files"]
        for name, wanted in sums.items():
            if _sum(checkpoint / name) != wanted:
                return f"{name} has changed"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{_SEAL} cannot be read"
    return None


def _sum(path: Path, sync: bool = False) -> list[int]:
    """The size and CRC of a file, which is on the disk for good where `sync` is asked for."""
    crc, size = 0, 0
    with path.open("r+b" if sync else "rb") as file:
        while block := file.read(1 << 22):
            crc, size = zlib.crc32(block, crc), size + len(block)
        if sync:
            os.fsync(file.fileno())
    return [size, crc]


def _names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != _SEAL)


def _content(folder: Path) -> Iterator[list[str]]:
    """The files in a folder, by name and hash."""
    for name in _names(folder):
        if "__pycache__" not in name:
            yield [name, hashlib.sha256((folder / name).read_bytes()).hexdigest()]


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.model_dump(mode="json", exclude=_UNDECISIVE if isinstance(value, Params) else None)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} cannot be a part of a job's key")


def _bound_others(stage: str, folder: Path) -> None:
    """Leave the newest checkpoints of other params alone, remove those of older trainings, say what is there."""
    others = [path for path in TRAINING.glob(f"{stage}-*") if path != folder]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in others[_OTHERS:]:
        shutil.rmtree(path, ignore_errors=True)
    left = others[:_OTHERS]
    if left:
        size = sum(file.stat().st_size for path in left for file in path.rglob("*") if file.is_file()) / 1e6
        say(
            f"{stage}: {TRAINING} has unfinished trainings of other params, data or code ({size:.1f} MB): "
            f"{', '.join(path.name for path in left)}; `rm -r {TRAINING}` frees that"
        )
