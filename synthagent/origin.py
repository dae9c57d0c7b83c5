"""Where and of which commit a stage ran: for `data/timings/<stage>.json`, since it differs from run to run."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from synthagent.history import revision, uncommitted


def origin() -> dict[str, Any]:
    """The time, the commit (null outside of git; `uncommitted`: files that differ from it) and the machine."""
    commit = revision()
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.commit if commit else None,
        "uncommitted": uncommitted(),
        "machine": machine(),
    }


def machine() -> str:
    """Processor, cores, memory, GPU and system, on one line."""
    memory = f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB" if _posix() else ""
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores of {_processor()}{memory}{_gpu()}, {system}"


def _posix() -> bool:
    return "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {})


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _gpu() -> str:
    """A GPU, where the stage has loaded torch; no stage waits for it otherwise."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return ""
    return f", {torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
