"""Personas come from a file or the built-in list; a bad file is told by name and line, and changes nothing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from helpers.projects import ROOT, assert_one_message, figures_in, files_under, synthagent, write_params

from synthagent.errors import InputError
from synthagent.records import Persona
from synthagent.stages.personas import MOST_CHARACTERS, built_in, from_file
from synthagent.store import read_records

REAL = ROOT.parent / "shared" / "data" / "personas.jsonl"


def a_file(tmp_path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path = tmp_path / "personas.jsonl"
    path.write_bytes("\n".join(lines).encode(encoding))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as raised:
        list(from_file(path))
    return str(raised.value)


# --- files that are fine --------------------------------------------------------------------------------------------


def test_the_built_in_list_has_at_least_a_hundred_personas_of_different_text() -> None:
    personas = list(built_in())
    assert len(personas) >= 100
    assert len({persona.text for persona in personas}) == len(personas)
    assert [persona.id for persona in personas] == sorted(persona.id for persona in personas)


def test_a_line_may_say_text_or_persona_and_need_not_have_an_id(tmp_path: Path) -> None:
    path = a_file(tmp_path, '{"text": " a baker "}', "", '{"persona": "a cook", "id": 7}', '{"text": "x", "id": "q"}')
    assert list(from_file(path)) == [
        Persona(id="line-000001", text="a baker", source="personas.jsonl"),
        Persona(id="7", text="a cook", source="personas.jsonl"),
        Persona(id="q", text="x", source="personas.jsonl"),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("text", ["Zoë 北京", "a\u2028b", "👩\u200d💻", "no\u00a0break", "\u200f"])
def test_any_script_is_welcome(text: str, encoding: str, tmp_path: Path) -> None:
    path = a_file(tmp_path, json.dumps({"text": text}, ensure_ascii=False), encoding=encoding)
    assert [persona.text for persona in from_file(path)] == [text]


def test_windows_line_ends_do_not_matter(tmp_path: Path) -> None:
    path = a_file(tmp_path, '{"text": "a"}\r', '{"text": "b"}\r', "")
    assert [persona.text for persona in from_file(path)] == ["a", "b"]


@pytest.mark.skipif(not REAL.exists(), reason="no file of real personas beside the checkout")
def test_a_file_of_real_personas_is_read_whole() -> None:
    lines = [line for line in REAL.read_text().splitlines() if line.strip()]
    assert len(list(from_file(REAL))) == len(lines)


# --- files that are not ---------------------------------------------------------------------------------------------

BAD_LINES = {
    "not JSON": ("{text: a}", "not JSON"),
    "cut off": ('{"text": "a"', "not JSON"),
    "deep": ("[" * 100_000, "not JSON"),
    "a list": ('["a"]', "not a JSON object"),
    "null": ("null", "not a JSON object"),
    "no text": ('{"name": "a"}', "`text` (or `persona`)"),
    "empty text": ('{"text": "  "}', "`text` (or `persona`)"),
    "text is a number": ('{"text": 3}', "`text` (or `persona`)"),
    "text is deep": ('{"text": ' + "[" * 600 + "]" * 600 + "}", "`text` (or `persona`)"),
    "too long": (json.dumps({"text": "a" * 50_000}), "50,000 characters"),
    "escape sequence": ('{"text": "\\u001b[2J"}', "control characters"),
    "half a character": ('{"text": "\\ud800"}', "control characters"),
    "half a character in the id": ('{"text": "a", "id": "\\ud800"}', "control characters"),
    "empty id": ('{"text": "a", "id": ""}', "`id`"),
    "id is a list": ('{"text": "a", "id": []}', "`id`"),
    "long id": (json.dumps({"text": "a", "id": "x" * 50_000}), "`id`"),
    "id twice": ('{"text": "b", "id": "first"}', "already in line 1"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_is_told_by_file_and_number(name: str, tmp_path: Path) -> None:
    line, said = BAD_LINES[name]
    path = a_file(tmp_path, '{"text": "a", "id": "first"}', "", line, '{"text": "c"}')
    message = refusal(path)
    assert message.startswith(f"{path}:3: ")
    assert said in message
    assert len(message) < 500
    assert message.isprintable()


def test_the_longest_text_allowed_is_allowed(tmp_path: Path) -> None:
    assert len(list(from_file(a_file(tmp_path, json.dumps({"text": "a" * MOST_CHARACTERS}))))) == 1
    refusal(a_file(tmp_path, json.dumps({"text": "a" * (MOST_CHARACTERS + 1)})))


# --- through the command --------------------------------------------------------------------------------------------


def run_on(folder: Path, content: bytes | None) -> subprocess.CompletedProcess[str]:
    """Run the stage on a file of this content (None: no file)."""
    write_params(folder, {"personas.path": "mine.jsonl"})
    if content is not None:
        (folder / "mine.jsonl").write_bytes(content)
    return synthagent("personas", cwd=folder)


def test_a_good_file_is_written_sorted_and_cut_to_the_count(tmp_path: Path) -> None:
    write_params(tmp_path, {"personas.path": "mine.jsonl", "personas.count": 2})
    lines = ['{"text": "1", "id": "c"}', '{"text": "2", "id": "a"}', '{"text": "3", "id": "b"}']
    (tmp_path / "mine.jsonl").write_text("\n".join(lines))
    finished = synthagent("personas", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert [p.id for p in read_records(tmp_path / "data" / "personas.parquet", Persona)] == ["a", "c"]
    assert figures_in(tmp_path, "personas")["personas"] == 2


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (None, ("mine.jsonl", "No such file")),
        (b"", ("mine.jsonl", "no persona in it")),
        (b"\n \n", ("mine.jsonl", "no persona in it")),
        (b'{"text": "a"}\n{"text"', ("mine.jsonl:2", "not JSON")),
        (b'{"text": "a", "id": 1}\n{"text": "b", "id": "1"}', ("mine.jsonl:2", "'1'", "line 1")),
        (b'{"text": "' + b"a" * 50_000 + b'"}', ("mine.jsonl:1", "50,000 characters")),
        (b'{"text": "\xff\xfe"}', ("mine.jsonl", "not UTF-8 text at byte 10")),
        (bytes(range(256)) * 40, ("mine.jsonl", "not UTF-8")),
    ],
    ids=["missing", "empty", "blank", "malformed", "duplicate", "too long", "not UTF-8", "binary"],
)
def test_a_bad_file_gives_one_message_and_leaves_the_last_outs_in_place(
    content: bytes | None, parts: tuple[str, ...], project: Path
) -> None:
    before = files_under(project / "data")
    assert project / "data" / "personas.parquet" in before
    assert_one_message(run_on(project, content), *parts)
    assert files_under(project / "data") == before


def test_a_folder_in_place_of_the_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").mkdir()
    assert_one_message(run_on(tmp_path, None), "mine.jsonl", "Is a directory")
