"""`synthagent lineage CHECKPOINT`: what a checkpoint's folder comes from.

A folder -> the stage whose out has its content, by `dvc.lock` here or in history -> code, params, personas, tasks,
data, and what language models answered. A copy elsewhere is as good as the folder itself: it is found by its hash.

Launch: `synthagent lineage data/models/grpo`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from synthagent.differing import Changed, default_values, differing, nested
from synthagent.errors import InputError
from synthagent.history import (
    LOCK,
    Lock,
    Locked,
    LockedStage,
    Revision,
    folder_as_locked,
    git,
    lock_at,
    lock_here,
    lock_of,
    not_as_committed,
    revision,
    revisions_that_locked,
    text_at,
    upstream,
)
from synthagent.llm.cache import opened
from synthagent.llm.store import FILE, FOLDER
from synthagent.outs import cached
from synthagent.params import Roles
from synthagent.stage import Paths
from synthagent.text import visible

_SHOWN = 5  # files of code, where they are not as committed
_MODELS = Paths.data / "models"


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model answered in a role, as the response store here has it. `keys`: the sha256 of them, in order."""

    role: str
    model: str
    base_url: str | None
    replies: int
    keys: str


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a checkpoint comes from. `recorded`: the commit with this `dvc.lock`; None: it is not committed.

    `differ`: of the code that `stages` ran with, what the commit (HEAD, where none recorded it) has otherwise; None:
    there is no commit here.
    `personas`, `tasks`: how many, by what made them; None where their file is not in DVC's cache.
    """

    folder: Locked
    out: Locked
    stage: str
    recorded: Revision | None
    stages: tuple[LockedStage, ...]
    differ: tuple[str, ...] | None
    changed: tuple[Changed, ...]
    personas: Mapping[str, int] | None
    tasks: Mapping[str, int] | None
    answers: tuple[Answers, ...]
    store: bool

    @property
    def params(self) -> dict[str, Any]:
        """All params that decided it."""
        return nested({key: value for stage in self.stages for key, value in stage.params.items()})

    @property
    def data(self) -> list[Locked]:
        """The datasets and models that the stage read."""
        return [dep for dep in self.stages[-1].deps if not _is_code(dep)]


@dataclass(frozen=True, slots=True)
class _InLock:
    lock: Lock
    stage: str
    out: Locked
    recorded: Revision | None


def lineage(folder: Path, rev: str | None = None) -> Lineage:
    """Find out where a folder comes from. `rev`: only the `dvc.lock` of this revision is asked.

    Raises:
        InputError: no such folder or revision; no checkpoint; or no stage is known to have written it.
        StoreError: `dvc.lock`, or the response store, cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; `dvc checkout` or `dvc pull` brings {_MODELS}/sft and grpo here")
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: not a checkpoint, since it has no config.json; name a folder such as {Paths.grpo}")
    there = folder_as_locked(folder)
    found = _found(there, rev)
    stages = tuple(upstream(found.lock, found.stage))
    params = nested({key: value for stage in stages for key, value in stage.params.items()})
    code = {dep for stage in stages for dep in stage.deps if _is_code(dep)}
    base = found.recorded.commit if found.recorded else "HEAD"
    store = (FOLDER / FILE).exists()
    return Lineage(
        folder=there,
        out=found.out,
        stage=found.stage,
        recorded=found.recorded,
        stages=stages,
        differ=tuple(not_as_committed(base, code)) if revision(base) else None,
        changed=tuple(differing({k: v for k, v in params.items() if k != "seed"}, default_values())),
        personas=_counted(stages, Paths.personas, "source", str),
        tasks=_counted(stages, Paths.tasks, "provenance", _made_by),
        answers=tuple(_answers(params.get("roles", {}), store)),
        store=store,
    )


def lines(found: Lineage) -> Iterator[str]:
    """What a person reads."""

    def line(name: str, text: str) -> str:
        return f"{name:<12}{visible(text)}"

    yield line("checkpoint", f"{found.folder.path}: {_size(found.folder)}, md5 {found.folder.md5}")
    yield line("written as", f"{found.out.path} by stage {found.stage}")
    where = f"{found.recorded}" if found.recorded else "dvc.lock here, which is not committed"
    yield line("recorded in", where)
    code = {dep.path for stage in found.stages for dep in stage.deps if _is_code(dep)}
    yield line("code", f"{len(code)} files and folders of {', '.join(stage.name for stage in found.stages)}")
    yield line("", _compared(found))
    yield line("seed", f"{found.params.get('seed')}")
    yield line("params", "the defaults of this version" if not found.changed else "other than the defaults:")
    for change in found.changed:
        default = f" (default {json.dumps(change.default[0])})" if change.default else " (there is no such default)"
        yield line("", f"{change.key}: {json.dumps(change.value)}{default}")
    yield line("personas", _told(found.personas, Paths.personas))
    yield line("tasks", _told(found.tasks, Paths.tasks))
    for dep in found.data:
        yield line("read", f"{dep.path}: {_size(dep)}, md5 {dep.md5}")
    if not found.answers:
        yield line("responses", "none: in these stages every role is code, or the student")
    for each in found.answers:
        at = each.base_url or "api.openai.com"
        kept = (
            f"{each.replies:,} replies in {FOLDER}, sha256 of their keys {each.keys}"
            if each.replies
            else (f"none in {FOLDER} here; `synthagent cache import FILE` brings an export of them")
        )
        yield line("responses", f"{each.role}: {each.model} at {at}: {kept}")


def as_json(found: Lineage) -> str:
    """All of it: every hash of code and data, every param."""
    return json.dumps({**asdict(found), "params": found.params}, indent=2)


def _found(there: Locked, rev: str | None) -> _InLock:
    """The `dvc.lock` that names this content, and where it is recorded."""
    if rev is not None:
        candidates: Iterator[tuple[Lock, Revision | None]] = iter([(lock_at(rev), _recorded(rev))])
    else:
        candidates = _candidates(there.md5)
    for lock, recorded in candidates:
        outs = [(name, out) for name, stage in lock.items() for out in stage.outs if out.md5 == there.md5]
        if outs:  # two of them have the same content where a training took no step; the path then tells them apart
            stage, out = next((pair for pair in outs if Path(pair[1].path).name == Path(there.path).name), outs[0])
            return _InLock(lock, stage, out, recorded)
    searched = f"dvc.lock of {rev}" if rev else "dvc.lock here, nor in any commit or experiment of this repository"
    remedy = (
        "leave --rev out to search all of history"
        if rev
        else "a checkpoint that was changed, or comes from elsewhere, has no lineage here"
    )
    raise InputError(f"{there.path}: its content (md5 {there.md5}) is no out in {searched}; {remedy}")


def _candidates(md5: str) -> Iterator[tuple[Lock, Revision | None]]:
    """`dvc.lock` as it is here; then, from the newest commit on, as it was when this content came into it."""
    if LOCK.exists():
        committed = text_at("HEAD", LOCK) == LOCK.read_text(encoding="utf-8")
        yield lock_here(), _recorded("HEAD") if committed else None
    for commit in revisions_that_locked(md5):
        text = text_at(commit, LOCK)
        if text is not None and md5 in text:
            yield lock_of(text, f"{LOCK} of {commit}"), revision(commit)


def _recorded(rev: str) -> Revision | None:
    """The last commit, up to a revision, that wrote `dvc.lock`."""
    commit = git("log", "-1", "--format=%H", "--end-of-options", rev, "--", LOCK.as_posix())
    return revision(commit.strip()) if commit and commit.strip() else None


def _is_code(dep: Locked) -> bool:
    return dep.path.partition("/")[0] == "synthagent"


def _counted(
    stages: Sequence[LockedStage], path: Path, column: str, named: Callable[[str], str]
) -> dict[str, int] | None:
    """How many rows of a dataset there are of each kind; None: it is not in DVC's cache here."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    locked = next((out for stage in stages for out in stage.outs if Path(out.path) == path), None)
    if locked is None or not (file := cached(locked.md5)).exists():
        return None
    try:
        return dict(Counter(map(named, pq.read_table(file, columns=[column]).column(column).to_pylist())).most_common())
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError):
        return None


def _made_by(provenance: str) -> str:
    """Who wrote a task, of its provenance."""
    content = json.loads(provenance)
    parts = [str(content[key]) for key in ("backend", "model", "version", "source") if content.get(key)]
    return " ".join(parts) or "unknown"


def _answers(roles: Mapping[str, Any], store: bool) -> Iterator[Answers]:
    """What the store has of each role that a language model played."""
    for role in Roles.model_fields:
        given = roles.get(role, {})
        if given.get("backend") == "openai":
            model, digest, count = str(given.get("model")), hashlib.sha256(), 0
            if store:
                with closing(opened()) as responses:
                    for key in responses.keys(role, model):
                        digest.update(f"{key}\n".encode())
                        count += 1
            yield Answers(role, model, given.get("base_url"), count, digest.hexdigest() if count else "")


def _compared(found: Lineage) -> str:
    if found.differ is None:
        return "no commit here to compare them with"
    commit = "that commit" if found.recorded else "HEAD"
    if not found.differ:
        return f"all as in {commit}"
    named = ", ".join(found.differ[:_SHOWN]) + (", .." if len(found.differ) > _SHOWN else "")
    return f"{len(found.differ)} not as in {commit}: {named}"


def _size(locked: Locked) -> str:
    size = f"{locked.size / 1e6:,.1f} MB" if locked.size >= 1e5 else f"{locked.size:,} bytes"
    return size if locked.files == 1 else f"{locked.files} files, {size}"


def _told(counts: Mapping[str, int] | None, path: Path) -> str:
    if counts is None:
        return f"{path} of that run is not in DVC's cache here; `dvc pull`, at that commit, brings it"
    return f"{sum(counts.values()):,}: " + ", ".join(f"{n:,} {name}" for name, n in counts.items())
