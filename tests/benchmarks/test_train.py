"""`make bench-train`, a few steps of it: every table is printed, and both sides do the same."""

from __future__ import annotations

import re

import pytest


@pytest.mark.slow
def test_every_table_is_printed_and_sides_write_the_same_tokens(capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks import train  # trl takes seconds: not where the tests are only collected

    assert train.main(["--quick"]) == 0
    told = capsys.readouterr().out
    for title in ("a. SFT", "b. GRPO", "c. Episodes", "d. On a GPU"):
        assert title in told
    written = re.search(r"(\d+) and (\d+)", told)
    assert written is not None
    assert len(set(written.groups())) == 1
    assert "100%" in told
