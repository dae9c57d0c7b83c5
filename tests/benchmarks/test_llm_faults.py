"""Every fault of an endpoint: an item's is a rejected row, the endpoint's ends the run; nothing paid for is lost."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from benchmarks.llm_faults import BAD_ITEMS, FAULTS, ITEMS, KEY, Fault, row_of

REJECTED = {
    "400, some items": "bad_request",
    "500, some items": "http_500",
    "closes mid-body, some items": "connection",
    "hangs, some items": "timeout",
    "no HTTP at all, some items": "connection",
    "invalid JSON, some items": "malformed",
    "JSON of the wrong shape": "malformed",
    "JSON that is null": "malformed",
    "JSON nested 100,000 deep": "malformed",
    "empty choices": "malformed",
    "a refusal": "refusal",
    "finish_reason length": "truncated",
    "text without JSON": "no_json",
    "JSON of another shape in the text": "wrong_shape",
    "2 MB of text": "truncated",
    "a body of 20 MB": "too_large",
}
ENDS = {
    "400, all": "bad_request",
    "401, all": "check the key in $SYNTHAGENT_FAULT_KEY",
    "404, all (model not served)": "does not serve 'm'",
    "429, all, for an hour": "3600 s",
    "503, all": "http_503",
    "hangs, all": "timeout",
    "a web page, all": "malformed",
    "key variable is not set": "SYNTHAGENT_NO_SUCH_KEY",
    "base_url: refused connection": "cannot be reached",
    "base_url: wrong path": "base_url should end in /v1",
    "base_url: no URL": "is no URL",
    "base_url: no such host": "cannot be reached",
}


def keep_from(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_of_every_fault_nothing_is_lost_or_repeated_and_the_key_is_nowhere(
    fault: Fault, tmp_path: Path, no_waiting: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        row = row_of(fault, tmp_path)
    assert (row.lost, row.repeated) == (0, 0)
    if reason := REJECTED.get(fault.name):
        assert row.first.error == ""
        assert {item: text.partition(":")[0] for item, text in row.first.rejected.items()} == dict.fromkeys(
            BAD_ITEMS, reason
        )
    elif part := ENDS.get(fault.name):
        assert part in row.first.error
        assert len(row.first.error.splitlines()) == 1
        assert len(row.first.values) < ITEMS
    else:
        assert len(row.first.values) == ITEMS
    for text in (str(row), caplog.text, *(str(path) for path in tmp_path.iterdir())):
        assert KEY not in text
    assert KEY.encode() not in keep_from(tmp_path)


def test_the_tables_above_speak_of_faults_that_there_are() -> None:
    assert (REJECTED.keys() | ENDS.keys()) < {fault.name for fault in FAULTS}
