"""One file moves a response store: it is imported whole or not at all, and what is there stays."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_openai import params_of, serving
from helpers.llm import chat_about
from helpers.projects import assert_one_message, synthagent
from hypothesis import given
from hypothesis import strategies as st

from synthagent.errors import InputError
from synthagent.llm.cache import Imported, export_store, import_store
from synthagent.llm.store import Reply, ResponseStore, canonical

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
        chat_about(params_of(server.base_url), tmp_path / "made")
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
        mine = chat_about(params_of(server.base_url), tmp_path / "b", items=2)
        assert import_store(exported, tmp_path / "b") == Imported(new=4, differing=2)
        assert chat_about(params_of(server.base_url), tmp_path / "b", items=2) == mine
        assert len(server.requests) == 2


def test_what_was_imported_was_not_paid_for_here(exported: Path, tmp_path: Path) -> None:
    import_store(exported, tmp_path / "b")
    with closing(ResponseStore(tmp_path / "b")) as store:
        assert store.paid() == {}
        (count,) = store.counts()
    assert (count.role, count.model, count.replies, count.imported) == ("teacher", "m", 6, 6)
    assert (count.prompt_tokens, count.completion_tokens) == (60, 30)


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


@pytest.mark.parametrize("content", [b"# Mine\n", b"", gzip.compress(b"# Mine\n", mtime=0), b"\x1f\x8b broken"])
def test_an_export_of_the_store_replaces_only_one_of_its_kind(exported: Path, content: bytes) -> None:
    made = exported.parent / "made"
    assert export_store(exported, made) == 6
    mine = exported.with_name("README.md")
    mine.write_bytes(content)
    with pytest.raises(InputError, match=r"README\.md: is there, and was not written by `cache export`"):
        export_store(mine, made)
    assert mine.read_bytes() == content
