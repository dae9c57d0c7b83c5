"""Moves a trained checkpoint to where DVC expects it. Imports nothing heavy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from synthagent.store import directory_written_atomically

LOG = "log.json"


def take_checkpoint(trained: Path, out: Path) -> list[Any]:
    """Put the checkpoint that a training job left in `trained` in the place of `out`; return the job's log."""
    with directory_written_atomically(out) as directory:
        for file in sorted(trained.iterdir()):
            if file.is_file() and file.name not in (LOG, "training_args.bin", "README.md"):
                shutil.move(file, directory / file.name)
    log: list[Any] = json.loads((trained / LOG).read_text())
    return log
