"""The response store: nothing finished is asked twice, whoever dies; one file moves it, which is taken whole or not."""

from __future__ import annotations

import gzip
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_openai import FakeServer, params_of, serving
from helpers.projects import ROOT, assert_one_message, synthagent
from hypothesis import given
from hypothesis import strategies as st

from synthagent.errors import BadReplyError, InputError, ReplayError, StoreError
from synthagent.llm.cache import Imported, export_store, import_store
from synthagent.llm.client import Llm, Request
from synthagent.llm.ordered import ordered
from synthagent.llm.store import FILE, Reply, ResponseStore, canonical, key_of
from synthagent.params import Params

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


def run(params: Params, folder: Path, items: int = 6) -> list[Reply | str]:
    """What each item comes to: a reply, or the fault."""
    llm = Llm(params, folder)

    async def work(item: int) -> Reply | str:
        try:
            return await llm.chat("teacher", Request(({"role": "user", "content": f"{item}"},), "v"))
        except BadReplyError as fault:
            return str(fault)

    return list(ordered(work, range(items), 2, llm.close))


def test_replay_answers_from_the_store_alone_failures_included(tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> Any:
        return {"no": "completion", "tool_calls": 5} if body["messages"][-1]["content"] == "2" else "fine"

    with serving(reply) as server:
        first = run(params_of(server.base_url), tmp_path / "a")
    assert [came for came in first if isinstance(came, str)] == [first[2]]
    assert str(first[2]).startswith("malformed")
    export_store(tmp_path / "file.gz", tmp_path / "a")
    import_store(tmp_path / "file.gz", tmp_path / "b")
    nobody = params_of("http://127.0.0.1:9/v1", {"replay": "only"}, api_key_env="SYNTHAGENT_NO_SUCH_KEY")
    assert run(nobody, tmp_path / "b") == first


def test_a_miss_in_replay_says_what_to_do_and_calls_nobody(tmp_path: Path) -> None:
    with serving(lambda body: "x") as server:
        with pytest.raises(ReplayError, match="synthagent cache import") as error:
            run(params_of(server.base_url, {"replay": "only"}), tmp_path)
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


texts = st.text(alphabet=st.characters(), max_size=20)  # lone surrogates and NUL among them
identities = st.dictionaries(texts, st.none() | st.integers() | st.floats(allow_nan=False) | texts, max_size=4)


@given(st.lists(identities, max_size=5))
def test_export_and_import_give_the_same_bytes(contents: list[dict[str, Any]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with closing(ResponseStore(folder / "a")) as store:
            for number, content in enumerate(contents):
                reply = Reply(text=f"é {number}", prompt_tokens=number, tool_calls=({"x": [1.5]},))
                store.put("teacher", "m", canonical(content), [content], reply)
            store.put_failure("user", "n", canonical({"failed": 1}), None, "timeout", "x")
        export_store(folder / "a.gz", folder / "a")
        import_store(folder / "a.gz", folder / "b")
        export_store(folder / "b.gz", folder / "b")
        assert (folder / "a.gz").read_bytes() == (folder / "b.gz").read_bytes()
        count = export_store(folder / "a.gz", folder / "b")
        assert import_store(folder / "a.gz", folder / "b") == Imported(0, 0)
        assert count == len({canonical(content) for content in contents}) + 1


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """An exported store of six entries."""
    with serving(lambda body: f"answer {body['messages'][-1]['content']}") as server:
        run(params_of(server.base_url), tmp_path / "made")
    export_store(tmp_path / "file.gz", tmp_path / "made")
    return tmp_path / "file.gz"


def again(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    """Pack an exported file again with its lines changed."""
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in change(lines)).encode()))


def altered_identity(lines: list[str]) -> list[str]:
    entry = json.loads(lines[2])
    entry["identity"]["seed"] += 1
    return [*lines[:2], canonical(entry), *lines[3:]]


SPOILERS: dict[str, Callable[[Path], object]] = {
    "is not there": lambda path: path.unlink(),
    "is a folder": lambda path: (path.unlink(), path.mkdir()),
    "is empty": lambda path: path.write_bytes(b""),
    "is not gzipped": lambda path: path.write_text("hello"),
    "is cut off": lambda path: path.write_bytes(path.read_bytes()[:-30]),
    "has a flipped byte": lambda path: path.write_bytes(
        path.read_bytes()[:100] + bytes([path.read_bytes()[100] ^ 255]) + path.read_bytes()[101:]
    ),
    "lacks its last line": lambda path: again(path, lambda lines: lines[:-1]),
    "lacks an entry": lambda path: again(path, lambda lines: lines[:2] + lines[3:]),
    "has another answer": lambda path: again(
        path, lambda lines: [line.replace("answer 3", "answer 4") for line in lines]
    ),
    "has another request": lambda path: again(path, altered_identity),
    "has other tokens": lambda path: again(path, lambda lines: [line.replace(":10", ":11") for line in lines]),
    "goes on after its end": lambda path: again(path, lambda lines: [*lines, lines[1]]),
    "is another file": lambda path: path.write_bytes(gzip.compress(b'{"a": 1}\n')),
    "is no text": lambda path: path.write_bytes(gzip.compress(b"\xff\xfe\n")),
    "is of a later version": lambda path: again(path, lambda lines: [lines[0].replace("1", "2"), *lines[1:]]),
}


@pytest.mark.parametrize("spoil", SPOILERS.values(), ids=SPOILERS.keys())
def test_a_file_that_is_not_whole_is_refused_and_the_store_stays_as_it_was(
    spoil: Callable[[Path], object], exported: Path, tmp_path: Path
) -> None:
    with closing(ResponseStore(tmp_path / "b")) as store:
        store.put("teacher", "m", canonical({"a": 1}), None, Reply(text="mine"))
        before = list(store.entries())
    spoil(exported)
    with pytest.raises(InputError, match="synthagent cache export") as error:
        import_store(exported, tmp_path / "b")
    assert len(str(error.value).splitlines()) == 1
    with closing(ResponseStore(tmp_path / "b")) as store:
        assert list(store.entries()) == before


def test_an_import_leaves_what_is_there_and_counts_what_differs(exported: Path, tmp_path: Path) -> None:
    with serving(lambda body: "another answer") as server:
        mine = run(params_of(server.base_url), tmp_path / "b", items=2)
        assert import_store(exported, tmp_path / "b") == Imported(new=4, differing=2)
        assert run(params_of(server.base_url), tmp_path / "b", items=2) == mine
        assert len(server.requests) == 2


def test_what_was_imported_was_not_paid_for_here(exported: Path, tmp_path: Path) -> None:
    import_store(exported, tmp_path / "b")
    with closing(ResponseStore(tmp_path / "b")) as store:
        assert store.paid() == {}
        (count,) = store.counts()
    assert (count.role, count.model, count.replies, count.imported) == ("teacher", "m", 6, 6)
    assert (count.prompt_tokens, count.completion_tokens) == (60, 30)


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


def test_the_sub_commands_move_and_count_a_store(exported: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    assert_one_message(synthagent("cache", "info", cwd=project), "no response store")
    assert_one_message(synthagent("cache", "export", "x.gz", cwd=project), "no response store")
    assert not list(project.iterdir())
    done = synthagent("cache", "import", str(exported), cwd=project)
    assert (done.returncode, done.stderr) == (0, "")
    assert "6 entries were new" in done.stdout
    table = synthagent("cache", "info", cwd=project).stdout.splitlines()
    assert table[1].split() == ["teacher", "m", "6", "6", "0", "60", "30"]
    assert synthagent("cache", "export", "out/mine.gz", cwd=project).returncode == 0
    assert (project / "out/mine.gz").read_bytes() == exported.read_bytes()
    exported.write_text("no")
    assert_one_message(synthagent("cache", "import", str(exported), cwd=project), "cannot be imported")
    assert "dvc add" in " ".join(synthagent("cache", "--help", cwd=project).stdout.split())
