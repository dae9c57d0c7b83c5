"""The search tool: a query -> passages, from a corpus of the user's or from a web API (`reasoning.search` in params).

A corpus is a JSON lines file of `{"text": .., "title": .., "id": ..}`, title and id optional; BM25 weighs words. Its
index is kept in `.cache/search`, by the corpus's bytes, and read from there without loading it. A web API is asked
as Tavily's: `POST {"query": .., "max_results": ..}` with the key as a bearer token, answered by `{"results": [{"title",
"url", "content", "score"}, ..]}`; its answers are kept as well. What is found is untrusted text.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock
from pydantic import ConfigDict, Field, ValidationError

from synthagent.errors import EndpointError, InputError, ParamsError
from synthagent.frozen import Record
from synthagent.params_reasoning import SearchParams
from synthagent.stage import CACHE
from synthagent.store import directory_written_atomically, write_text

FOLDER = CACHE / "search"
_VERSION = 1  # of how text is cut into words, and of what is kept
_WORD = r"\w+"
_MOST_QUERY = 1_000  # characters
_MOST_PASSAGE = 100_000
_MOST_ANSWER = 4_000_000  # bytes of a web API's answer
_TIMEOUT_S = 30.0
_PAUSES_S = (1.0, 4.0)  # before what has failed is asked again


class FoundPassage(Record):
    """Something that was found. `score`: comparable within one answer only."""

    id: str
    title: str
    text: str
    score: float


class Search(Protocol):
    """Finds passages."""

    def find(self, query: str, top: int) -> list[FoundPassage]:
        """The best passages, at most `top`, the best one first; none if nothing fits.

        Raises:
            EndpointError: a web API does not answer as it should.
        """


def open_search(params: SearchParams, folder: Path = FOLDER) -> Search | None:
    """The search that params describe, or none. An index that is not there yet is made.

    Raises:
        ParamsError: both a corpus and a web API, or no key in the variable that is named.
        InputError: the corpus is missing, empty or malformed.
    """
    if params.corpus is not None and params.url is not None:
        raise ParamsError("params.yaml: reasoning.search: must have `corpus` or `url`, but it has both; leave one null")
    if params.corpus is not None:
        return Corpus(Path(params.corpus), folder)
    if params.url is None:
        return None
    return WebApi(params.url, _key(params.api_key_env), folder / "web")


class Corpus:
    """Passages of a file, by BM25."""

    def __init__(self, path: Path, folder: Path) -> None:
        import bm25s
        import numpy

        index = _index_of(path, folder)
        self._bm25 = bm25s.BM25.load(index, mmap=True)
        self._starts = numpy.load(index / "starts.npy", mmap_mode="r")
        self._path, self._file = path, path.open("rb")

    def find(self, query: str, top: int) -> list[FoundPassage]:
        import numpy

        words = [word for word in _words([query[:_MOST_QUERY]])[0] if word in self._bm25.vocab_dict]
        if not words:
            return []
        scores = self._bm25.get_scores(words)
        top = min(top, len(scores))
        least = numpy.partition(scores, len(scores) - top)[len(scores) - top]
        among = numpy.flatnonzero((scores >= least) & (scores > 0))
        best = among[numpy.argsort(-scores[among], kind="stable")][:top]  # of equal ones the first in the file
        return [self._passage(int(number), float(scores[number])) for number in best]

    def _passage(self, number: int, score: float) -> FoundPassage:
        start, end, line = (int(value) for value in self._starts[number])
        entry = _Entry.model_validate_json(os.pread(self._file.fileno(), end - start, start))
        return FoundPassage(id=entry.id or str(line), title=entry.title, text=entry.text, score=round(score, 4))


class WebApi:
    """A search engine behind HTTP. An answer is kept, so that a stage that was stopped does not pay for it twice."""

    def __init__(self, url: str, key: str | None, folder: Path) -> None:
        self._url, self._key, self._folder = url, key, folder

    def find(self, query: str, top: int) -> list[FoundPassage]:
        query = query[:_MOST_QUERY]
        asked = json.dumps([_VERSION, self._url, query, top])
        kept = self._folder / f"{hashlib.sha256(asked.encode()).hexdigest()}.json"
        try:
            return self._passages(kept.read_bytes())[:top]
        except OSError:
            body = self._asked({"query": query, "max_results": top})
        found = self._passages(body)[:top]
        write_text(kept, body.decode())
        return found

    def _asked(self, content: dict[str, Any]) -> bytes:
        import httpx2

        fault = ""
        with httpx2.Client(timeout=_TIMEOUT_S) as client:
            for pause in (*_PAUSES_S, None):
                try:
                    return self._answer(client, content)
                except httpx2.HTTPStatusError as error:
                    status = error.response.status_code
                    if status != 429 and status < 500:
                        raise self._error(f"answers {status}", "check the address and the key") from None
                    fault = f"answers {status}"
                except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
                    raise self._error("is no address", "give one such as https://api.tavily.com/search") from None
                except httpx2.TransportError as error:
                    fault = f"does not answer ({type(error).__name__})"
                if pause is not None:
                    time.sleep(pause)
        raise self._error(fault, "run again later: what was found is kept")

    def _answer(self, client: Any, content: dict[str, Any]) -> bytes:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        with client.stream("POST", self._url, json=content, headers=headers) as response:
            response.raise_for_status()
            body = b""
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > _MOST_ANSWER:
                    raise self._error(f"answers more than {_MOST_ANSWER:,} bytes", "use one that takes `max_results`")
            return body

    def _passages(self, body: bytes) -> list[FoundPassage]:
        try:
            results = _Results.model_validate_json(body).results
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the answer"
            rule = 'must be {"results": [{"title": .., "url": .., "content": .., "score": ..}, ..]}'
            raise self._error(f"{rule}, but {where}: {first['msg']}", "put what translates it in between") from None
        return [
            FoundPassage(id=one.url, title=one.title, text=one.content[:_MOST_PASSAGE], score=one.score)
            for one in results
        ]

    def _error(self, rule: str, remedy: str) -> EndpointError:
        return EndpointError(f"search: {self._url}: {rule}; {remedy}")


class _Entry(Record):
    """A line of a corpus."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    id: str = Field(default="", coerce_numbers_to_str=True)
    title: str = ""
    text: str = Field(min_length=1, max_length=_MOST_PASSAGE)


class _Result(Record):
    model_config = ConfigDict(frozen=True, extra="ignore")
    title: str = ""
    url: str = ""
    content: str
    score: float = 0.0


class _Results(Record):
    model_config = ConfigDict(frozen=True, extra="ignore")
    results: tuple[_Result, ...]


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise ParamsError(
            f"params.yaml: reasoning.search.api_key_env: {variable} is not set; export it, or name another variable"
        )
    return key


def _words(texts: list[str]) -> list[list[str]]:
    import bm25s

    words: list[list[str]] = bm25s.tokenize(
        texts, token_pattern=_WORD, stopwords="en", return_ids=False, show_progress=False
    )
    return words


def _index_of(path: Path, folder: Path) -> Path:
    """The folder of a corpus's index, made if it is not there."""
    import bm25s

    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(
            f"params.yaml: reasoning.search.corpus: {path}: {error.strerror}; name a JSON lines file"
        ) from None
    key = hashlib.sha256(f"{_VERSION} {bm25s.__version__} {digest}".encode()).hexdigest()
    index = folder / key
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not index.exists():
            with directory_written_atomically(index) as made:
                _make_index(path, made)
    return index


def _make_index(path: Path, folder: Path) -> None:
    import bm25s
    import numpy

    starts: list[tuple[int, int, int]] = []
    texts: list[str] = []
    for start, end, number, entry in _entries(path):
        starts.append((start, end, number))
        texts.append(f"{entry.title}\n{entry.text}")
    if not texts:
        raise InputError(f'{path}: no passage in it; give lines such as {{"title": "Leap year", "text": "A year .."}}')
    words = _words(texts)
    if not any(words):
        raise InputError(f"{path}: no word in it that could be searched for; give passages of text")
    bm25 = bm25s.BM25()
    bm25.index(words, show_progress=False)
    bm25.save(folder, show_progress=False)
    numpy.save(folder / "starts.npy", numpy.array(starts, dtype=numpy.int64))


def _entries(path: Path) -> Iterator[tuple[int, int, int, _Entry]]:
    """Each passage with where its line starts and ends, and the line's number."""
    remedy = 'give a JSON object such as {"id": "7", "title": "Leap year", "text": "A year .."}, or leave the line out'
    end = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            start, end = end, end + len(line)
            if not line.strip():
                continue
            try:
                entry = _Entry.model_validate_json(line)
            except ValidationError as error:
                first = error.errors()[0]
                where = f"{first['loc'][0]}: " if first["loc"] else ""
                raise InputError(f"{path}: line {number}: {where}{_plain(first['msg'])}; {remedy}") from None
            yield start, end, number, entry


def _plain(said: str) -> str:
    """What pydantic says of a value, as our messages begin."""
    return said[:1].lower() + said[1:]
