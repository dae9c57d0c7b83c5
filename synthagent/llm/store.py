"""What endpoints have answered, kept for ever: request -> reply, in `.cache/llm/responses.sqlite`.

Append-only: the first answer to a request stays the answer. A key is the hash of everything that decides the answer, so
a stage that was killed resumes without repeating a finished call, and others can reproduce a dataset without a key.

Launch: `synthagent cache export FILE`, `synthagent cache import FILE`, `synthagent cache info`.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from synthagent.errors import InputError, StoreError
from synthagent.records import Json, Record
from synthagent.stage import CACHE

FOLDER = CACHE / "llm"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS replies (
    key TEXT PRIMARY KEY, role TEXT NOT NULL, model TEXT NOT NULL, identity TEXT NOT NULL, sent TEXT NOT NULL,
    reply TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, imported INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS no_update BEFORE UPDATE ON replies BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER IF NOT EXISTS no_delete BEFORE DELETE ON replies BEGIN SELECT RAISE(ABORT, 'append-only'); END;
"""


class Reply(Record):
    """What a model answered. Tokens are those of the call that was paid for, also when it comes from the store."""

    text: str
    tool_calls: tuple[dict[str, Json], ...] = Field(default=(), description="as in an OpenAI message")
    finish: str = Field(default="stop", description="stop | length | tool_calls | refusal ..")
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Paid:
    """Tokens that were paid for here (imported answers cost nothing)."""

    prompt: int
    completion: int


class Entry(Record):
    """One line of an exported store. `identity` is what was hashed; `sent` what else went with it."""

    key: str
    role: str
    model: str
    identity: Json
    sent: Json
    reply: Reply


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def key_of(identity: Mapping[str, Any]) -> str:
    """The key under which the answer to a request is kept."""
    return hashlib.sha256(canonical(identity).encode("utf-8", "surrogatepass")).hexdigest()


class ResponseStore:
    """The store in `folder`. Safe to share between processes; a killed writer loses nothing that was put.

    Raises:
        StoreError: the folder cannot be written, or the file is no store.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self.path = folder / "responses.sqlite"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # WAL survives the death of the process after each statement, and readers do not wait for writers.
            self._db = sqlite3.connect(self.path, isolation_level=None, timeout=60, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"{self.path}: cannot be used: {error}; make the folder writable, or remove the file"
            ) from None

    def get(self, key: str) -> Reply | None:
        """The answer kept under `key`."""
        row = self._db.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
        return Reply.model_validate_json(row[0]) if row else None

    def put(self, role: str, model: str, identity: Mapping[str, Any], sent: Any, reply: Reply) -> Reply:
        """Keep an answer; return the one that stands, which is the first."""
        return self._insert(
            Entry(key=key_of(identity), role=role, model=model, identity=identity, sent=sent, reply=reply), 0
        )

    def paid(self) -> dict[str, Paid]:
        """What was paid for here, by model."""
        rows = self._db.execute(
            "SELECT model, sum(prompt_tokens), sum(completion_tokens) FROM replies WHERE imported = 0 GROUP BY model"
        )
        return {model: Paid(prompt, completion) for model, prompt, completion in rows}

    def entries(self) -> Iterator[Entry]:
        """Everything, in the order of the keys."""
        rows = self._db.execute("SELECT key, role, model, identity, sent, reply FROM replies ORDER BY key")
        for key, role, model, identity, sent, reply in rows:
            yield Entry(
                key=key,
                role=role,
                model=model,
                identity=json.loads(identity),
                sent=json.loads(sent),
                reply=Reply.model_validate_json(reply),
            )

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM replies").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _insert(self, entry: Entry, imported: int) -> Reply:
        row = (
            *(entry.key, entry.role, entry.model, canonical(entry.identity), canonical(entry.sent)),
            *(entry.reply.model_dump_json(), entry.reply.prompt_tokens, entry.reply.completion_tokens, imported),
        )
        try:
            done = self._db.execute(f"INSERT OR IGNORE INTO replies VALUES ({','.join('?' * len(row))})", row)
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: cannot be written: {error}; make room, or the folder writable") from None
        return entry.reply if done.rowcount else (self.get(entry.key) or entry.reply)


def export_store(path: Path, folder: Path = FOLDER) -> int:
    """Write the whole store as one file of gzipped JSON lines, the same bytes for the same content; return how many.

    Raises:
        StoreError: there is no store, or the disk refuses.
    """
    if not (folder / "responses.sqlite").exists():
        raise StoreError(f"{folder}: there is no response store here; run a stage with an openai role first")
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(ResponseStore(folder)) as store, temporary.open("wb") as raw:
            count = 0
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
                for entry in store.entries():
                    packed.write(f"{canonical(entry.model_dump(mode='json'))}\n".encode())
                    count += 1
        temporary.replace(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)
    return count


def import_store(path: Path, folder: Path = FOLDER) -> int:
    """Add an exported file to the store, all or nothing; what is there already stays. Return how many were new.

    Raises:
        InputError: no such file, not an export, or a line whose key is not the hash of its request.
    """
    with closing(ResponseStore(folder)) as store:
        before = len(store)
        store._db.execute("BEGIN")
        try:
            for number, line in enumerate(_lines(path), 1):
                store._insert(_entry(path, number, line), imported=1)
        except BaseException:
            store._db.execute("ROLLBACK")
            raise
        store._db.execute("COMMIT")
        return len(store) - before


def _lines(path: Path) -> Iterator[str]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            yield from file
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot be read as an exported store: {error}; give a file of `cache export`"
        ) from None


def _entry(path: Path, number: int, line: str) -> Entry:
    try:
        entry = Entry.model_validate_json(line)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"])) or "the line"
        raise InputError(f"{path}:{number}: {place}: {fault['msg']}; give a file of `cache export`") from None
    if entry.key != key_of(entry.identity):
        raise InputError(f"{path}:{number}: the key is not the hash of its request; the file was altered")
    return entry
