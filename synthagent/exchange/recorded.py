"""Episodes that others played -> a file of JSON lines, a `Trajectory` each, appended as they end."""

from __future__ import annotations

import json
from pathlib import Path

from synthagent.errors import StoreError
from synthagent.exchange.files import replaceable_lines
from synthagent.records import Trajectory


class RecordFile:
    """A file of trajectories that grows. What it holds already stays."""

    def __init__(self, path: Path) -> None:
        """Open nothing yet; but see that the file is new, empty, or of trajectories.

        Raises:
            InputError: it holds something else.
        """
        self.path = replaceable_lines(path, Trajectory.model_fields)

    def next_sample(self, task_id: str, policy: str) -> int:
        """The first number that no episode of this policy on the task has."""
        if not self.path.exists():
            return 0
        with self.path.open("rb") as file:
            rows = (json.loads(line) for line in file if line.endswith(b"\n"))
            taken = (row["sample"] for row in rows if (row["task_id"], row["policy"]) == (task_id, policy))
            return max(taken, default=-1) + 1

    def add(self, trajectory: Trajectory) -> None:
        """Append a row.

        Raises:
            StoreError: the disk refuses.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(trajectory.model_dump_json().encode() + b"\n")
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be written: {error.strerror}; make room, or give another") from None
