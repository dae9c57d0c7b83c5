"""People's labels: read as spreadsheets write them; a bad row is named by its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthagent.errors import InputError
from synthagent.judging.agreement import Place
from synthagent.judging.labels import read_labels


def labels_of(tmp_path: Path, text: str | bytes) -> dict[Place, bool]:
    path = tmp_path / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_labels(path)


def test_labels_are_read_as_spreadsheets_write_them(tmp_path: Path) -> None:
    text = '\ufeffpassed,who,trajectory_id,criterion\r\nTRUE,a,t1,s1\r\n no ,b,"t,2",s2\r\n1,c,t1,s2\r\nyes,d,t1,s2\r\n'
    assert labels_of(tmp_path, text) == {Place("t1", "s1"): True, Place("t,2", "s2"): False, Place("t1", "s2"): True}


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        ("t1,s1,maybe\n", ["line 2", "'maybe'"]),
        ("t1,s1,true\nt2,,true\n", ["line 3", "empty"]),
        ("t1,s1,true\nt1,s1,no\n", ["line 3", "contradicts"]),
        ("t1,s1\n", ["line 2", "passed"]),
        ("".join(f"t{n},s1,x\n" for n in range(9)), ["line 2", "line 3", "line 4", "and 6 more"]),
        ("", ["no label"]),
    ],
)
def test_bad_rows_are_named_by_their_lines(tmp_path: Path, rows: str, parts: list[str]) -> None:
    with pytest.raises(InputError) as told:
        labels_of(tmp_path, f"trajectory_id,criterion,passed\n{rows}")
    for part in (*parts, "labels.csv"):
        assert part in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "", b"\xff\xfe\x00", 'trajectory_id,criterion,passed\n"t1,s1\n'])
def test_a_file_that_is_no_such_table_is_refused(tmp_path: Path, content: str | bytes) -> None:
    with pytest.raises(InputError, match=r"labels\.csv"):
        labels_of(tmp_path, content)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give a CSV file"):
        read_labels(tmp_path / "none.csv")
