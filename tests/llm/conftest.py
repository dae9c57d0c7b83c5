"""The key that a server with a fault is asked with."""

from __future__ import annotations

import pytest

from benchmarks.llm_faults import KEY


@pytest.fixture
def fault_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is in the environment, where the params of a server with a fault say it is."""
    monkeypatch.setenv("SYNTHAGENT_FAULT_KEY", KEY)
