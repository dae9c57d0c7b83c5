"""The search tool finds the passage that has the words, says what is wrong with a corpus, and pays a web API once."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from synthagent import search
from synthagent.errors import EndpointError, InputError, ParamsError
from synthagent.params_reasoning import SearchParams
from synthagent.search import Search, open_search

NONE: dict[str, Any] = {"corpus": None, "url": None, "api_key_env": None, "top": 3}
CORPUS = [
    {"id": "leap", "title": "Leap year", "text": "A year of 366 days, such as 2024."},
    {"title": "Ruhr", "text": "The Möhne is a river of 65 km in Germany.", "more": [1]},
    {"id": 7, "text": "Rivers and years have nothing in common."},
]


def written(path: Path, lines: list[Any]) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    return path


def opened(folder: Path, **given: Any) -> Search:
    found = open_search(SearchParams.model_validate(NONE | given), folder / "index")
    assert found is not None
    return found


def over(path: Path, folder: Path) -> Search:
    return opened(folder, corpus=str(path))


def test_the_passage_with_the_rare_words_comes_first_whole(tmp_path: Path) -> None:
    corpus = over(written(tmp_path / "c.jsonl", CORPUS), tmp_path)
    best, *_ = corpus.find("How long is the river MÖHNE?", 3)
    assert (best.id, best.title, best.text) == ("2", "Ruhr", "The Möhne is a river of 65 km in Germany.")
    assert [one.id for one in corpus.find("366", 3)] == ["leap"]
    assert len(corpus.find("years leap year river", 1)) == 1


@pytest.mark.parametrize("query", ["", "   ", "zebra", "the of a", "?!", "\ud800 \0", "x" * 100_000])
def test_a_query_that_fits_nothing_finds_nothing(tmp_path: Path, query: str) -> None:
    assert over(written(tmp_path / "c.jsonl", CORPUS), tmp_path).find(query, 3) == []


def test_of_equal_passages_the_first_in_the_file_comes_first(tmp_path: Path) -> None:
    lines = [{"id": str(number), "text": f"zebra {'stripe' if number % 2 else 'horse'}"} for number in range(200)]
    found = over(written(tmp_path / "c.jsonl", lines), tmp_path).find("zebra", 5)
    assert [one.id for one in found] == ["0", "1", "2", "3", "4"]


def test_an_index_is_made_once_for_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = over(written(tmp_path / "c.jsonl", CORPUS), tmp_path).find("river year", 3)
    monkeypatch.setattr(search, "_make_index", None)
    assert over(written(tmp_path / "other.jsonl", CORPUS), tmp_path).find("river year", 3) == first
    monkeypatch.undo()
    assert over(written(tmp_path / "c.jsonl", CORPUS[:1]), tmp_path).find("river", 3) == []


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ('{"text": "a"', "invalid JSON"),
        ("[1]", "should be an object"),
        ('{"title": "a"}', "text: field required"),
        ('{"text": ""}', "text: string should have at least 1 character"),
        ('{"text": 5}', "text: input should be a valid string"),
        ('{"text": "a", "title": null}', "title: input should be a valid string"),
        ('{"text": "' + "a" * 100_001 + '"}', "text: string should have at most 100000 characters"),
        ("[" * 100_000, "line 3"),
        (b"\xff\xfe", "line 3"),
    ],
)
def test_a_malformed_line_is_told_in_one_line(tmp_path: Path, line: str | bytes, rule: str) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b'{"text": "a"}\n\n' + (line.encode() if isinstance(line, str) else line) + b"\n")
    with pytest.raises(InputError) as told:
        over(path, tmp_path)
    message = str(told.value)
    assert message.startswith(f"{path}: line 3: ")
    assert rule in message
    assert "leave the line out" in message
    assert "\n" not in message
    assert not list((tmp_path / "index").glob("*/*"))


@pytest.mark.parametrize(
    ("content", "rule"), [("", "no passage"), ("\n\n", "no passage"), ('{"text": "!"}', "no word")]
)
def test_a_corpus_without_anything_to_find_is_told(tmp_path: Path, content: str, rule: str) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(content)
    with pytest.raises(InputError, match=rule):
        over(path, tmp_path)


def test_params_that_cannot_be_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_search(SearchParams.model_validate(NONE), tmp_path) is None
    with pytest.raises(InputError, match=r"reasoning\.search\.corpus: .*: No such file"):
        over(tmp_path / "none", tmp_path)
    with pytest.raises(ParamsError, match="both"):
        opened(tmp_path, corpus="a", url="http://b")
    monkeypatch.delenv("SEARCH_KEY", raising=False)
    with pytest.raises(ParamsError, match="SEARCH_KEY is not set"):
        opened(tmp_path, url="http://b", api_key_env="SEARCH_KEY")


@contextmanager
def serving(answers: Callable[[int], tuple[int, bytes]]) -> Iterator[tuple[str, list[tuple[Any, str | None]]]]:
    """A web API: the number of a request -> status and body; and what it was sent."""
    asked: list[tuple[Any, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            asked.append((body, self.headers["authorization"]))
            status, content = answers(len(asked))
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/search", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


FOUND = json.dumps(
    {"query": "x", "results": [{"title": "T", "url": "u", "content": "c", "score": 0.5}, {"content": "d"}]}
).encode()


def test_a_web_api_is_asked_once_for_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEARCH_KEY", "secret")
    with serving(lambda number: (200, FOUND)) as (url, asked):
        web = opened(tmp_path, url=url, api_key_env="SEARCH_KEY")
        first = web.find("leap year", 2)
        assert [one.model_dump() for one in first] == [
            {"id": "u", "title": "T", "text": "c", "score": 0.5},
            {"id": "", "title": "", "text": "d", "score": 0.0},
        ]
        assert opened(tmp_path, url=url).find("leap year", 2) == first
        assert asked == [({"query": "leap year", "max_results": 2}, "Bearer secret")]
        assert len(web.find("leap year", 1)) == 1
        assert len(asked) == 2
    assert not any(b"secret" in path.read_bytes() for path in (tmp_path / "index").rglob("*") if path.is_file())


def test_a_web_api_that_fails_for_a_while_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_PAUSES_S", (0.0, 0.0))
    with serving(lambda number: (200, FOUND) if number == 3 else (500 + number, b"")) as (url, asked):
        assert len(opened(tmp_path, url=url).find("a", 3)) == 2
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("status", "body", "rule", "times"),
    [
        (401, b"", "answers 401; check the address and the key", 1),
        (302, b"", "answers 302", 1),
        (503, b"", "answers 503; run again later", 3),
        (200, b"<html>", "the answer: Invalid JSON", 1),
        (200, b'{"results": [{"content": 5}]}', r"results\.0\.content", 1),
        (200, b"\xff" * 4_000_001, "answers more than 4,000,000 bytes", 1),
    ],
)
def test_a_web_api_that_does_not_answer_as_it_should_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, rule: str, times: int
) -> None:
    monkeypatch.setattr(search, "_PAUSES_S", (0.0, 0.0))
    with serving(lambda number: (status, body)) as (url, asked):
        with pytest.raises(EndpointError, match=rule) as told:
            opened(tmp_path, url=url).find("a", 3)
        assert str(told.value).startswith(f"search: {url}: ")
        assert len(asked) == times
    assert not list((tmp_path / "index").rglob("*.json"))


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "ftp://a", "nonsense", "http://[x"])
def test_an_address_where_nobody_answers_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(search, "_PAUSES_S", ())
    with pytest.raises(EndpointError, match=r"is no address|does not answer"):
        opened(tmp_path, url=url).find("a", 3)
