"""The response store: nothing finished is asked twice, whoever dies, and replay needs nobody but it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_openai import FakeServer, params_of, serving
from helpers.llm import chat_about
from helpers.projects import ROOT

from synthagent.errors import ReplayError, StoreError
from synthagent.llm.cache import export_store, import_store
from synthagent.llm.client import Llm, Request
from synthagent.llm.ordered import ordered
from synthagent.llm.store import FILE, Reply, ResponseStore, canonical, key_of

ITEMS = 120
CHILD = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from helpers.fake_openai import params_of
from synthagent.llm.client import Llm, Request
from synthagent.llm.ordered import ordered
llm = Llm(params_of(sys.argv[1], {"max_concurrency": 8}), Path(sys.argv[2]))
async def work(item):
    return (await llm.chat("teacher", Request(({"role": "user", "content": f"item {item}"},), "v"))).text
texts = list(ordered(work, range(120), 8, llm.close))
assert texts == [f"item {item}!" for item in range(120)], texts
"""


def child(server: FakeServer, folder: Path) -> subprocess.Popen[bytes]:
    """A process that asks for all items, eight at a time."""
    command = [sys.executable, "-c", CHILD, server.base_url, str(folder), str(ROOT / "tests"), str(ROOT)]
    return subprocess.Popen(command)


def slow_echo(body: dict[str, Any]) -> str:
    time.sleep(0.005)
    return f"{body['messages'][-1]['content']}!"


def asked(server: FakeServer) -> Counter[str]:
    return Counter(body["messages"][-1]["content"] for body in server.requests)


def kept(folder: Path) -> set[str]:
    with closing(ResponseStore(folder)) as store:
        return {entry["identity"]["messages"][0]["content"] for entry in store.entries()}


def test_a_process_that_is_killed_and_started_again_makes_no_finished_call_twice(tmp_path: Path) -> None:
    halfway = threading.Event()

    def reply(body: dict[str, Any]) -> str:
        if len(server.requests) >= ITEMS // 2:
            halfway.set()
        return slow_echo(body)

    with serving(reply) as server:
        process = child(server, tmp_path)
        assert halfway.wait(timeout=120)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        done, before = kept(tmp_path), asked(server)
        assert ITEMS // 2 - 8 <= len(done) < ITEMS
        assert len(before.keys() - done) <= 8  # those under way
        assert child(server, tmp_path).wait() == 0
        again = asked(server) - before
    assert not again.keys() & done
    assert set(again.values()) == {1}
    assert len(kept(tmp_path)) == ITEMS


def test_processes_share_a_store(tmp_path: Path) -> None:
    with serving(slow_echo) as server:
        processes = [child(server, tmp_path) for _ in range(3)]
        assert [process.wait() for process in processes] == [0, 0, 0]
    assert len(kept(tmp_path)) == ITEMS


def test_the_first_answer_stays_the_answer(tmp_path: Path) -> None:
    with closing(ResponseStore(tmp_path)) as store:
        identity = canonical({"a": 1})
        assert store.put("teacher", "m", identity, None, Reply(text="one")).text == "one"
        assert store.put("teacher", "m", identity, None, Reply(text="two")).text == "one"
        for statement in ("UPDATE replies SET reply = 'x'", "DELETE FROM replies"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                store._db.execute(statement)
        assert store.get(key_of(identity)) == Reply(text="one")


def test_replay_answers_from_the_store_alone_failures_included(tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> Any:
        return {"no": "completion", "tool_calls": 5} if body["messages"][-1]["content"] == "2" else "fine"

    with serving(reply) as server:
        first = chat_about(params_of(server.base_url), tmp_path / "a")
    assert [came for came in first if isinstance(came, str)] == [first[2]]
    assert str(first[2]).startswith("malformed")
    export_store(tmp_path / "file.gz", tmp_path / "a")
    import_store(tmp_path / "file.gz", tmp_path / "b")
    nobody = params_of("http://127.0.0.1:9/v1", {"replay": "only"}, api_key_env="SYNTHAGENT_NO_SUCH_KEY")
    assert chat_about(nobody, tmp_path / "b") == first


def test_a_miss_in_replay_says_what_to_do_and_calls_nobody(tmp_path: Path) -> None:
    with serving(lambda body: "x") as server:
        with pytest.raises(ReplayError, match="synthagent cache import") as error:
            chat_about(params_of(server.base_url, {"replay": "only"}), tmp_path)
        assert server.requests == []
    assert len(str(error.value).splitlines()) == 1


def test_an_answer_takes_the_place_of_a_failure_and_of_failures_the_last_stands(tmp_path: Path) -> None:
    identity = canonical({"a": 1})
    with closing(ResponseStore(tmp_path)) as store:
        store.put_failure("teacher", "m", identity, None, "timeout", "no answer")
        store.put_failure("teacher", "m", identity, None, "http_500", "oh\nno")
        assert store.failure(key_of(identity)) == ("http_500", "oh\nno")
        assert [entry["reply"]["finish"] for entry in store.entries()] == ["failed"]
        store.put("teacher", "m", identity, None, Reply(text="x"))
        assert [entry["reply"]["text"] for entry in store.entries()] == ["x"]
        assert [(c.replies, c.failures) for c in store.counts()] == [(1, 0)]


def test_a_file_that_is_no_store_or_of_a_later_version_is_a_message(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"hello" * 1000)
    with pytest.raises(StoreError, match="move the file away"):
        ResponseStore(tmp_path)
    (tmp_path / FILE).unlink()
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="later version"):
        ResponseStore(tmp_path)


def test_a_store_that_breaks_on_the_way_ends_the_run_with_a_message(tmp_path: Path) -> None:
    with serving(lambda body: "x") as server:
        llm = Llm(params_of(server.base_url), tmp_path)
        llm._store._db.execute("DROP TRIGGER no_delete")
        llm._store._db.execute("DROP TABLE replies")

        async def work(item: int) -> Reply:
            return await llm.chat("teacher", Request(({"role": "user", "content": f"{item}"},), "v"))

        with pytest.raises(StoreError, match="cannot be used"):
            list(ordered(work, range(20), 2, llm.close))
        assert server.requests == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_a_message(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="writable"):
        ResponseStore(tmp_path / "x")
