"""A response store as one file, and back: `.cache/llm` <-> gzipped JSON lines, so that DVC can version it.

The first line names the format, the last counts the entries and holds their hash: what is not whole is not taken. The
same content gives the same bytes.

Launch: `synthagent cache export FILE`, `synthagent cache import FILE`, `synthagent cache info`.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from synthagent.errors import InputError, StoreError
from synthagent.llm.store import FILE, FOLDER, Entry, ResponseStore, canonical, key_of

_HEADER = canonical({"format": "synthagent responses", "version": 1})
_LONGEST_LINE = 64_000_000


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did. `differing`: entries that this store answers otherwise, which stays so."""

    new: int
    differing: int


def opened(folder: Path = FOLDER) -> ResponseStore:
    """The store in `folder`, which must be there.

    Raises:
        StoreError: there is none.
    """
    if not (folder / FILE).exists():
        raise StoreError(f"{folder}: there is no response store here; run a stage with an openai role first")
    return ResponseStore(folder)


def export_store(path: Path, folder: Path = FOLDER) -> int:
    """Write the whole store to a file; return how many entries.

    Raises:
        InputError: the file is there, and no export of a store.
        StoreError: there is no store, or the disk refuses.
    """
    if path.exists() and not _is_export(path):
        raise InputError(f"{path}: is there, and was not written by `cache export`; give a new file")
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with closing(opened(folder)) as store:
            path.parent.mkdir(parents=True, exist_ok=True)
            count, digest = 0, hashlib.sha256()
            with temporary.open("wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
                packed.write(f"{_HEADER}\n".encode())
                for entry in store.entries():
                    line = f"{canonical(entry)}\n".encode()
                    packed.write(line)
                    digest.update(line)
                    count += 1
                packed.write(f"{_trailer(count, digest.hexdigest())}\n".encode())
        temporary.replace(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}; name another file, or make room") from None
    finally:
        temporary.unlink(missing_ok=True)
    return count


def _is_export(path: Path) -> bool:
    try:
        with gzip.open(path) as packed:
            return packed.readline(len(_HEADER) + 1) == f"{_HEADER}\n".encode()
    except (OSError, EOFError, zlib.error):
        return False


def info(folder: Path = FOLDER) -> Iterator[str]:
    """A table of the store, line by line.

    Raises:
        StoreError: there is no store, or it cannot be read.
    """
    with closing(opened(folder)) as store:
        yield (
            f"{'role':<9} {'model':<40} {'replies':>9} {'imported':>9} {'failures':>9} {'prompt tokens':>14} "
            f"{'completion tokens':>18}"
        )
        for c in store.counts():
            yield (
                f"{c.role:<9} {c.model:<40} {c.replies:>9,} {c.imported:>9,} {c.failures:>9,} {c.prompt_tokens:>14,} "
                f"{c.completion_tokens:>18,}"
            )


def import_store(path: Path, folder: Path = FOLDER) -> Imported:
    """Add an exported file to the store, all or nothing; what is there already stays.

    Raises:
        InputError: no such file, not an export, altered or cut off. Nothing was imported.
    """
    for _ in _entries(path):
        pass  # the store is not touched before the file has proved whole
    with closing(ResponseStore(folder)) as store:
        return Imported(*store.add(_entries(path)))


def _entries(path: Path) -> Iterator[Entry]:
    """The entries of an exported file; the last comes only if the file is whole."""
    count, digest, last = 0, hashlib.sha256(), ""
    for number, line in enumerate(_lines(path), 1):
        if number == 1:
            if line != _HEADER:
                raise _no_export(path, "its first line names another format")
            continue
        if last:
            entry = _entry(path, number - 1, last)
            digest.update(f"{last}\n".encode())
            count += 1
            yield entry
        last = line
    if not last or last != _trailer(count, digest.hexdigest()):
        raise _no_export(path, "it was altered, or cut off")


def _trailer(count: int, digest: str) -> str:
    return canonical({"entries": count, "sha256": digest})


def _lines(path: Path) -> Iterator[str]:
    try:
        with gzip.open(path, "rb") as file:
            while line := file.readline(_LONGEST_LINE):
                yield line.decode("utf-8").removesuffix("\n")
    except OSError as error:
        raise _no_export(path, error.strerror or "it is not gzipped") from None
    except (EOFError, zlib.error, UnicodeDecodeError):
        raise _no_export(path, "it was altered, or cut off") from None


def _entry(path: Path, number: int, line: str) -> Entry:
    try:
        entry = Entry.model_validate(json.loads(line))
    except (ValidationError, ValueError, RecursionError):
        raise _no_export(path, f"line {number} is no entry") from None
    if entry.key != key_of(canonical(entry.identity)):
        raise _no_export(path, f"the key in line {number} is not the hash of its request")
    return entry


def _no_export(path: Path, why: str) -> InputError:
    return InputError(f"{path}: cannot be imported: {why}; give a file that `synthagent cache export` wrote, whole")
