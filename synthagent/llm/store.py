"""What endpoints have answered, kept for ever: request -> reply, in `.cache/llm/responses.sqlite`.

Append-only: the first answer to a request stays the answer. A key is the hash of everything that decides the answer, so
a stage that was killed resumes without repeating a finished call. A request that came to nothing is noted too: it is
asked again, unless `llm.replay` is `only`.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock
from pydantic import Field, ValidationError

from synthagent.errors import StoreError
from synthagent.frozen import Json, Record
from synthagent.stage import CACHE

FOLDER = CACHE / "llm"
FILE = "responses.sqlite"
FAILED = "failed"
_VERSION = 1
_COLUMNS = """(
    key TEXT NOT NULL UNIQUE, role TEXT NOT NULL, model TEXT NOT NULL, identity TEXT NOT NULL, sent TEXT NOT NULL,
    reply TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, imported INTEGER NOT NULL
)"""
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS replies {_COLUMNS};
CREATE TABLE IF NOT EXISTS failures {_COLUMNS};
CREATE TRIGGER IF NOT EXISTS no_update BEFORE UPDATE ON replies BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER IF NOT EXISTS no_delete BEFORE DELETE ON replies BEGIN SELECT RAISE(ABORT, 'append-only'); END;
PRAGMA user_version = {_VERSION};
"""
_VALUES = "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_FIELDS = "key, role, model, identity, sent, reply"
_EVERYTHING = (
    f"SELECT {_FIELDS} FROM replies UNION ALL "
    f"SELECT {_FIELDS} FROM failures WHERE key NOT IN (SELECT key FROM replies) ORDER BY key"
)


class Reply(Record):
    """What a model answered. Tokens are those of the call that was paid for, also when it comes from the store."""

    text: str
    tool_calls: tuple[dict[str, Json], ...] = Field(default=(), description="as in an OpenAI message")
    finish: str = Field(default="stop", description="stop | length | tool_calls | content_filter | refusal")
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


class NewReply(NamedTuple):
    """What is put: a reply and whose it is. `key`: of `identity`, which is canonical JSON; `sent`: as in `Entry`."""

    key: str
    role: str
    model: str
    identity: str
    sent: Any
    reply: Reply


@dataclass(frozen=True, slots=True)
class Paid:
    """Tokens that were paid for here (imported answers cost nothing)."""

    prompt: int
    completion: int


@dataclass(frozen=True, slots=True)
class StoreCount:
    """What the store holds of one role and model. Tokens are those of its replies."""

    role: str
    model: str
    replies: int
    imported: int
    failures: int
    prompt_tokens: int
    completion_tokens: int


class Entry(Record):
    """A request and what came of it. `identity` is what was hashed; `sent` what else went with it.

    The reply of a failure has the finish `failed`, and the reason and what is wrong, a line each, for a text.
    """

    key: str
    role: str
    model: str
    identity: Json
    sent: Json
    reply: Reply


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, halves of characters replaced."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _text(sent: Any) -> str:
    return "null" if sent is None else canonical(sent)


def key_of(identity: str) -> str:
    """The key under which the answer to a request is kept. `identity`: its canonical JSON."""
    return hashlib.sha256(identity.encode()).hexdigest()


class ResponseStore:
    """The store in `folder`. Safe to share between processes; a killed writer loses nothing that was put.

    Raises:
        StoreError: here or in any method: the folder cannot be read or written, or the file is no store.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self.path = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / "responses.lock", timeout=60):  # two that switch to WAL at once would fail
                # WAL survives the death of the process after each statement; readers do not wait for writers.
                self._db = sqlite3.connect(self.path, isolation_level=None, timeout=60, check_same_thread=False)
                version = self._db.execute("PRAGMA user_version").fetchone()[0]
                if version > _VERSION:
                    raise StoreError(f"{self.path}: written by a later version of synthagent; update it")
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=NORMAL")
                if version < _VERSION:
                    self._db.executescript(_SCHEMA)
            self._failures = bool(self._db.execute("SELECT EXISTS (SELECT 1 FROM failures)").fetchone()[0])
        except (OSError, sqlite3.Error) as error:
            raise self._fault(error) from None

    def get(self, key: str) -> Reply | None:
        """The answer kept under `key`."""
        return self._reply("replies", key)

    def failure(self, key: str) -> tuple[str, str] | None:
        """Why the request `key` came to nothing when it was last asked: reason and what was wrong."""
        reply = self._reply("failures", key) if self._failures else None
        if reply is None:
            return None
        reason, _, detail = reply.text.partition("\n")
        return reason, detail

    def put(self, role: str, model: str, identity: str, sent: Any, reply: Reply) -> Reply:
        """Keep an answer; return the one that stands, which is the first. `identity`: canonical JSON."""
        return self.put_all([NewReply(key_of(identity), role, model, identity, sent, reply)])[0]

    def put_all(self, answers: Sequence[NewReply]) -> list[Reply]:
        """As `put`, many at once, all or none."""
        rows = [self._row(a.key, a.role, a.model, a.identity, _text(a.sent), a.reply, imported=0) for a in answers]
        try:
            if len(rows) == 1:
                new = [self._insert(rows[0])]  # a transaction of its own
            else:
                with self._transaction():
                    new = [self._insert(row) for row in rows]
        except sqlite3.Error as error:
            raise self._fault(error) from None
        return [a.reply if fresh else (self.get(a.key) or a.reply) for a, fresh in zip(answers, new, strict=True)]

    def put_failure(self, role: str, model: str, identity: str, sent: Any, reason: str, detail: str) -> None:
        """Note that a request came to nothing; the last such note stands, until there is an answer."""
        reply = Reply(text=f"{reason}\n{detail}", finish=FAILED)
        row = self._row(key_of(identity), role, model, identity, _text(sent), reply, imported=0)
        try:
            self._db.execute(f"INSERT OR REPLACE INTO failures {_VALUES}", row)
            self._failures = True
        except sqlite3.Error as error:
            raise self._fault(error) from None

    def add(self, entries: Iterable[Entry]) -> tuple[int, int]:
        """Add entries of another store, all or none; what is there already stays.

        Return how many were new, and how many of the others are answered differently here.
        """
        new = differing = 0
        try:
            with self._transaction():
                for entry in entries:
                    failed = entry.reply.finish == FAILED
                    table = "failures" if failed else "replies"
                    texts = (canonical(entry.identity), canonical(entry.sent))
                    row = self._row(entry.key, entry.role, entry.model, *texts, entry.reply, imported=1)
                    added = self._insert(row, table)
                    new += added
                    differing += not added and self._reply(table, entry.key) != entry.reply
        except sqlite3.Error as error:
            raise self._fault(error) from None
        return new, differing

    def paid(self) -> dict[str, Paid]:
        """What was paid for here, by model."""
        rows = self._rows(
            "SELECT model, sum(prompt_tokens), sum(completion_tokens) FROM replies WHERE imported = 0 GROUP BY model"
        )
        return {model: Paid(prompt, completion) for model, prompt, completion in rows}

    def counts(self) -> list[StoreCount]:
        """What is here, by role and model."""
        each = "role, model, imported, prompt_tokens AS prompt, completion_tokens AS completion"
        rows = self._rows(
            "SELECT role, model, sum(1 - failed), sum(imported * (1 - failed)), sum(failed), sum(prompt), "
            f"sum(completion) FROM (SELECT {each}, 0 AS failed FROM replies UNION ALL SELECT {each}, 1 FROM failures "
            "WHERE key NOT IN (SELECT key FROM replies)) GROUP BY role, model ORDER BY role, model"
        )
        return [StoreCount(*row) for row in rows]

    def keys(self, role: str, model: str) -> Iterator[str]:
        """The keys of all replies of a model in a role, in order."""
        query = "SELECT key FROM replies WHERE role = ? AND model = ? ORDER BY key"
        yield from (key for (key,) in self._rows(query, (role, model)))

    def entries(self) -> Iterator[dict[str, Json]]:
        """Everything, in the order of the keys, as `Entry` has it."""
        for key, role, model, identity, sent, reply in self._rows(_EVERYTHING):
            texts = {"identity": identity, "sent": sent, "reply": reply}
            yield {"key": key, "role": role, "model": model} | {k: json.loads(text) for k, text in texts.items()}

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # SQLite itself ends it where the disk is full
                self._db.execute("ROLLBACK")
            raise

    def _insert(self, row: tuple[Any, ...], table: str = "replies") -> int:
        """Whether it is new: 1 or 0."""
        return self._db.execute(f"INSERT OR IGNORE INTO {table} {_VALUES}", row).rowcount

    def _rows(self, query: str, values: tuple[str, ...] = ()) -> Iterator[Any]:
        try:
            yield from self._db.execute(query, values)
        except sqlite3.Error as error:
            raise self._fault(error) from None

    def _reply(self, table: str, key: str) -> Reply | None:
        try:
            row = self._db.execute(f"SELECT reply FROM {table} WHERE key = ?", (key,)).fetchone()
            return Reply.model_validate_json(row[0]) if row else None
        except (sqlite3.Error, ValidationError) as error:
            raise self._fault(error) from None

    @staticmethod
    def _row(
        key: str, role: str, model: str, identity: str, sent: str, reply: Reply, *, imported: int
    ) -> tuple[Any, ...]:
        text, tokens = reply.model_dump_json(), (reply.prompt_tokens, reply.completion_tokens)
        return (key, role, model, identity, sent, text, *tokens, imported)

    def _fault(self, error: Exception) -> StoreError:
        said = " ".join(str(error).split())[:200]
        return StoreError(
            f"{self.path}: cannot be used: {said}; make room, make the folder writable, or move the file away"
        )
