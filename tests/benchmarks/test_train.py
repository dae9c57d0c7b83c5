"""`make bench-train`, a few steps of it: every table is printed, and both sides do the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from helpers.projects import ROOT


@pytest.mark.slow
def test_every_table_is_printed_and_sides_write_the_same_tokens() -> None:
    """A process of its own: it takes all cores, by idle threads that sleep, which is decided when torch is loaded."""
    command = [sys.executable, "-m", "benchmarks.train", "--quick"]
    env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    ran = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=1_800)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = ran.stdout
    for title in ("a. SFT", "b. GRPO", "c. Episodes", "d. On a GPU"):
        assert title in told
    written = re.search(r"(\d+) and (\d+)", told)
    assert written is not None
    assert len(set(written.groups())) == 1
    assert "100%" in told
